# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door to memory *under* a drgn Program: note every read (for snapshots), serve noted ranges, inject faults.

A Program made here reads through one function, so that the reads of drgn's own helpers go the same way as ours.
The ordinary path does not use this module and pays nothing for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import drgn

if TYPE_CHECKING:
    from drgn import Program

__all__ = ("Ranges", "Read", "Recorder", "faulty", "merged", "program_over")

# read(address, count) -> bytes; raises drgn.FaultError
Read = Callable[[int, int], bytes]

PAGE = 4096


def program_over(read: Read, vmcoreinfo: bytes, platform: drgn.Platform, *, live: bool) -> Program:
    """A Program of a Linux kernel whose whole virtual memory is read by ``read``."""
    prog = drgn.Program(platform)

    def passed(address: int, count: int, offset: int, physical: bool) -> bytes:
        del offset, physical
        return read(address, count)

    prog.set_linux_kernel_custom(vmcoreinfo, live)
    prog.add_memory_segment(0, 0xFFFFFFFFFFFFFFFF, passed, False)
    return prog


class Recorder:
    """A door that notes what is read."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._noted: dict[tuple[int, int], bytes] = {}

    def read(self, address: int, count: int) -> bytes:
        """Pass a read through and note it; a later read of the same bytes replaces the earlier."""
        data = self._read(address, count)
        self._noted[address, count] = data
        return data

    def ranges(self) -> Ranges:
        """What was noted."""
        return Ranges((address, data) for (address, _), data in self._noted.items())


class Ranges:
    """Disjoint, sorted ranges of memory with their bytes."""

    def __init__(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        spans = list(pieces)
        self._starts: list[int] = []
        self._data: list[bytearray] = []
        for start, length in merged((address, len(data)) for address, data in spans):
            self._starts.append(start)
            self._data.append(bytearray(length))
        for address, data in spans:
            if data:
                self._put(address, data)

    def _put(self, address: int, data: bytes | bytearray) -> None:
        number = bisect_right(self._starts, address) - 1
        offset = address - self._starts[number]
        self._data[number][offset : offset + len(data)] = data

    def __iter__(self) -> Iterator[tuple[int, bytearray]]:
        return zip(self._starts, self._data, strict=True)

    def read(self, address: int, count: int) -> bytes:
        """Bytes that are wholly inside a range; FaultError otherwise."""
        number = bisect_right(self._starts, address) - 1
        if number >= 0:
            offset = address - self._starts[number]
            if offset + count <= len(self._data[number]):
                return bytes(self._data[number][offset : offset + count])
        raise drgn.FaultError("not in the snapshot", address)

    def without(self, holes: Iterable[tuple[int, int]]) -> Ranges:
        """These ranges with holes (start, length) cut out."""
        pieces = [(start, bytes(data)) for start, data in self]
        for hole, length in holes:
            cut: list[tuple[int, bytes]] = []
            for start, data in pieces:
                before, after = hole - start, hole + length - start
                if after <= 0 or before >= len(data):
                    cut.append((start, data))
                    continue
                cut += [(start, data[: max(before, 0)]), (start + after, data[after:])]
            pieces = [(start, data) for start, data in cut if data]
        return Ranges(pieces)

    def pages(self) -> list[tuple[int, bytearray]]:
        """Runs of whole pages that hold the ranges, zeroes around them."""
        spans = [(start & -PAGE, (start % PAGE + len(data) + PAGE - 1) & -PAGE) for start, data in self]
        runs = Ranges((start, bytes(length)) for start, length in merged(spans))
        for start, data in self:
            runs._put(start, data)
        return list(runs)


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping and touching spans (start, length) as one each."""
    merged: list[tuple[int, int]] = []
    for start, length in sorted(spans):
        if merged and start <= merged[-1][0] + merged[-1][1]:
            begin, size = merged[-1]
            merged[-1] = (begin, max(size, start + length - begin))
        elif length:
            merged.append((start, length))
    return merged


def faulty(read: Read, holes: Sequence[tuple[int, int]]) -> Read:
    """``read`` with holes (start, end) that fault, as a filtered or damaged dump has them (for tests)."""

    def reading(address: int, count: int) -> bytes:
        for start, end in holes:
            if address < end and start < address + count:
                raise drgn.FaultError("injected fault", max(address, start))
        return read(address, count)

    return reading
