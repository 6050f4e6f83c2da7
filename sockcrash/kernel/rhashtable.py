# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is in a resizable hash table (lib/rhashtable.c), while it grows, too."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.chains import MAX_BUCKETS, Complain, follow
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("entries",)

_T = "struct bucket_table"
_RHASHTABLE = Group("rhashtable", (row("tbl", "struct rhashtable"),))
_TABLE = Group("bucket_table", (row("size", _T), row("nest", _T), row("future_tbl", _T)))
_BUCKETS = Group("bucket_table_buckets", (row("buckets", _T),))
_MAX_RESIZES = 64
_PER_PAGE = 4096 // 8  # a nested table is made of pages of pointers (nested_table_alloc)


def entries(kernel: Kernel, table: int, node: int, complain: Complain) -> Iterator[int]:
    """Objects in the ``struct rhashtable`` at ``table``, whose ``struct rhash_head`` is at offset ``node``.

    An object that is being moved to the next table may come twice.
    """
    try:
        (found,) = kernel.reader(_RHASHTABLE).sections(table)
        following = found["tbl"]
        for _ in range(_MAX_RESIZES):
            if not following:
                return
            address = following
            (section,) = kernel.reader(_TABLE).sections(address)
            yield from _of_table(kernel, address, section["size"], section["nest"], node, complain)
            following = section["future_tbl"]
    except drgn.FaultError as error:
        complain(f"the hash table at {table:#x} is unreadable: {error}")
        return
    complain(f"the hash table at {table:#x} is resized without end: cut there")


def _of_table(
    kernel: Kernel, table: int, size: int, nest: int, node: int, complain: Complain
) -> Iterator[int]:
    if not 0 < size <= MAX_BUCKETS:
        complain(f"a hash table of {size} buckets at {table:#x} can't be right: left out")
        return
    buckets = table + kernel.offsets(_BUCKETS)["buckets"]
    found = (
        _nested(kernel, buckets, size, nest, complain) if nest else _pointers(kernel, buckets, size, complain)
    )
    for first in found:
        # The lowest bit of a bucket is its lock; a chain ends with an odd pointer.
        yield from follow(kernel, first & ~1, node, complain)


def _nested(kernel: Kernel, buckets: int, size: int, nest: int, complain: Complain) -> Iterator[int]:
    """Buckets of a table whose memory could not be had in one piece: 2**nest pages of pages of pointers."""
    if not 0 < nest <= 9:
        complain(f"a hash table nested {nest} bits deep at {buckets:#x} can't be right: left out")
        return
    for top in _pointers(kernel, buckets, 1, complain):
        level = list(_pointers(kernel, top, 1 << nest, complain))
        rest = size >> nest
        while rest > _PER_PAGE:
            level = [below for page in level for below in _pointers(kernel, page, _PER_PAGE, complain)]
            rest //= _PER_PAGE
        for page in level:
            yield from _pointers(kernel, page, rest, complain)


def _pointers(kernel: Kernel, address: int, count: int, complain: Complain) -> Iterator[int]:
    """The pointers of an array that are not NULL."""
    try:
        raw = kernel.read(address, count * 8)
    except drgn.FaultError as error:
        complain(f"{count} buckets of a hash table at {address:#x} are unreadable: {error}")
        return
    yield from (pointer for pointer in struct.unpack(f"{kernel.byte_order}{count}Q", raw) if pointer & ~1)
