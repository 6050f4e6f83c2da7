# SPDX-License-Identifier: LGPL-2.1-or-later
"""How to read many small objects: in order of address, near ones together."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import drgn

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("read_many", "read_pointers")

# A read costs about as much as copying 16 KiB: objects of a slab lie closer than this.
_GAP = 1 << 13
_RUN = 1 << 16


def read_many(kernel: Kernel, addresses: Collection[int], size: int) -> Iterator[tuple[int, bytes | None]]:
    """``size`` bytes at each address, in order of address; None where they are unreadable."""
    for start, run, block in _blocks(kernel, addresses, size):
        if block:
            end = size - start
            yield from zip(run, [block[address - start : address + end] for address in run], strict=True)
        else:
            yield from ((address, _read_one(kernel, address, size)) for address in run)


def read_pointers(
    kernel: Kernel, addresses: Collection[int], offsets: Sequence[int]
) -> Iterator[tuple[int, tuple[int, ...] | None]]:
    """As ``read_many``: the pointers that lie at these ascending offsets of each object."""
    gaps = [offset - end for offset, end in zip(offsets, (0, *(one + 8 for one in offsets)), strict=False)]
    structure = struct.Struct(kernel.byte_order + "".join(f"{gap}xQ" for gap in gaps))
    unpack, size = structure.unpack_from, structure.size
    for start, run, block in _blocks(kernel, addresses, size):
        if block:
            yield from zip(run, [unpack(block, address - start) for address in run], strict=True)
            continue
        for address in run:
            content = _read_one(kernel, address, size)
            yield address, None if content is None else unpack(content)


def _blocks(kernel: Kernel, addresses: Collection[int], size: int) -> Iterator[tuple[int, list[int], bytes]]:
    """Addresses that are read together: where they begin, themselves, and their block, empty if it is unreadable."""
    ordered = sorted(set(addresses))
    for first, last in _runs(ordered, size):
        run = ordered[first:last]
        try:
            yield run[0], run, kernel.read(run[0], run[-1] + size - run[0])
        except drgn.FaultError:
            yield run[0], run, b""


def _runs(ordered: list[int], size: int) -> Iterator[tuple[int, int]]:
    """Where in the sorted addresses each group that is read together begins and ends."""
    if not ordered:
        return
    first, before, farthest = 0, ordered[0], ordered[0] + _RUN - size
    for number, address in enumerate(ordered):
        if number and (address - before > _GAP + size or address > farthest):
            yield first, number
            first, farthest = number, address + _RUN - size
        before = address
    yield first, len(ordered)


def _read_one(kernel: Kernel, address: int, size: int) -> bytes | None:
    try:
        return kernel.read(address, size)
    except drgn.FaultError:
        return None
