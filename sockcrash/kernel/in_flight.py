# SPDX-License-Identifier: LGPL-2.1-or-later
"""What waits in the queues of UNIX sockets: files in flight (SCM_RIGHTS), and clients to be accepted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.bulk import read_many
from sockcrash.kernel.fields import row
from sockcrash.kernel.fields_queue import QUEUES
from sockcrash.kernel.layout import Group
from sockcrash.kernel.skbuff import descriptors
from sockcrash.kernel.tables_other import array_sockets, unix_sockets
from sockcrash.kernel.unix_queue import messages

if TYPE_CHECKING:
    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.view import Kernel

__all__ = ("Queued", "in_unix_queues")

# include/net/scm.h
_FILES = Group("scm_fp_list_files", (row("fp", "struct scm_fp_list"),))
_STATE = Group("unix_state", (row("skc_state", "struct sock_common"),))
_MAX_FILES = 253  # SCM_MAX_FD


@dataclass(frozen=True, slots=True)
class Queued:
    """``files``: by ``struct file *`` the sockets in whose queues it is; ``clients``: the listener of each embryo."""

    files: dict[int, list[int]] = field(default_factory=dict)
    clients: dict[int, int] = field(default_factory=dict)


def in_unix_queues(kernel: Kernel, complain: Complain) -> Queued:
    """Look through the receive queues of all UNIX sockets (net/unix/af_unix.c, net/core/scm.c)."""
    found = Queued()
    sockets = [one.address for one in unix_sockets(kernel, complain)]
    sockets += [one.address for one in array_sockets(kernel, complain) if one.kinds == ("unix",)]
    for socket, state in _with_messages(kernel, sockets, complain):
        try:
            for message in messages(kernel, socket, complain):
                if state == uapi.LISTEN and message.sk:
                    found.clients[message.sk] = socket
                for file in _files(kernel, message.files) if message.files else ():
                    found.files.setdefault(file, []).append(socket)
        except drgn.FaultError as error:
            complain(f"the receive queue of the UNIX socket at {socket:#x} is unreadable: {error}")
    return found


def _with_messages(kernel: Kernel, sockets: list[int], complain: Complain) -> Iterator[tuple[int, int]]:
    """Those sockets whose receive queue is not empty, and their states."""
    queue = kernel.offsets(QUEUES)["receive"]
    state = kernel.offsets(_STATE)["skc_state"]
    unpack = struct.Struct(kernel.byte_order + "Q").unpack_from
    for socket, content in read_many(kernel, sockets, queue + 8):
        if content is None:
            complain(f"the UNIX socket at {socket:#x} is unreadable")
        elif unpack(content, queue)[0] != socket + queue:
            yield socket, content[state]


def _files(kernel: Kernel, list_: int) -> tuple[int, ...]:
    """The ``struct file *`` of a ``struct scm_fp_list *``. Raises drgn.FaultError."""
    count = descriptors(kernel, list_)
    if not 0 <= count <= _MAX_FILES:
        return ()
    raw = kernel.read(list_ + kernel.offsets(_FILES)["fp"], count * 8)
    return struct.unpack(f"{kernel.byte_order}{count}Q", raw)
