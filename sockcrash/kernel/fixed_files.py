# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which files an io_uring holds without a descriptor (IORING_REGISTER_FILES; io_uring/rsrc.c, filetable.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from sockcrash.kernel.bulk import read_many
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place

if TYPE_CHECKING:
    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.view import Kernel

__all__ = ("fixed_files", "own_socket")

_R = "struct io_ring_ctx"
_TABLE = Group(
    "io_file_table",
    (
        # Since v6.13 all slots are pointers to nodes.
        row("nodes", _R, Place("file_table.data.nodes", since="v6.13")),
        row("count", _R, Place("file_table.data.nr", since="v6.13"), "nr_user_files"),
        row("files", _R, Place("file_table.files"), "file_table->files"),
    ),
)
_NODE = Group("io_rsrc_node", (row("file_ptr", "struct io_rsrc_node", Place("file_ptr", since="v6.13")),))
# Until v6.7 a ring kept its files in a UNIX socket of its own, for the garbage collector to find them.
_SOCKET = Group("io_ring_socket", (row("sk", _R, "ring_sock->sk"),))
_FLAGS = 7  # kept in the low bits of file_ptr (FFS_NOWAIT and the like)
_MAX_FILES = 1 << 20


def fixed_files(kernel: Kernel, ring: int, complain: Complain) -> list[int]:
    """The ``struct file *`` that the ``struct io_ring_ctx *`` holds. Raises drgn.FaultError."""
    (table,) = kernel.reader(_TABLE).sections(ring)
    count = table["count"]
    if not isinstance(count, int) or not 0 < count <= _MAX_FILES:
        return []
    start = table["nodes"] if isinstance(table["nodes"], int) else table["files"]
    if not isinstance(start, int) or not start:
        return []
    slots = struct.unpack(f"{kernel.byte_order}{count}Q", kernel.read(start, count * 8))
    if not isinstance(table["nodes"], int):
        return [slot & ~_FLAGS for slot in slots if slot & ~_FLAGS]
    offset = kernel.offsets(_NODE)["file_ptr"]
    nodes = read_many(kernel, [slot for slot in slots if slot], offset + 8)
    unpack = struct.Struct(kernel.byte_order + "Q").unpack_from
    found = []
    for node, content in nodes:
        if content is None:
            complain(f"a file of the io_uring at {ring:#x} is unreadable: {node:#x}")
        else:
            found.append(unpack(content, offset)[0] & ~_FLAGS)
    return found


def own_socket(kernel: Kernel, ring: int) -> int:
    """The ``struct sock *`` of a ring's own UNIX socket, 0 if it has none. Raises drgn.FaultError."""
    (section,) = kernel.reader(_SOCKET).sections(ring)
    return section["sk"] if isinstance(section["sk"], int) else 0
