# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumps with holes: an ELF vmcore whose program headers leave out pages, or that ends too early."""

from __future__ import annotations

import os
import shutil
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ("PAGE", "Damaged")

PAGE = 4096
PT_LOAD = 1
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")


@dataclass(frozen=True)
class _Segment:
    kind: int
    flags: int
    offset: int
    virtual: int
    physical: int
    stored: int
    size: int
    align: int


class Damaged:
    """A copy of an ELF vmcore (64-bit, little-endian) that can be damaged again and again."""

    def __init__(self, core: Path, copy: Path) -> None:
        shutil.copyfile(core, copy)
        self.path = copy
        self._length = copy.stat().st_size
        with copy.open("rb") as file:
            self._start = file.read(_HEADER.size)
            self._header = _HEADER.unpack(self._start)
            file.seek(self._header[5])
            self._segments = [
                _Segment(*_SEGMENT.unpack(file.read(_SEGMENT.size))) for _ in range(self._header[10])
            ]

    @property
    def pages(self) -> list[int]:
        """Physical addresses of every page that is stored."""
        return [
            address
            for one in self._segments
            if one.kind == PT_LOAD
            for address in range(one.physical, one.physical + one.stored, PAGE)
        ]

    def with_holes(self, missing: Iterable[int]) -> Path:
        """Leave out the pages at these physical addresses: new program headers stand behind the old end."""
        gone = {address // PAGE for address in missing}
        segments = [piece for one in self._segments for piece in _without(one, gone)]
        table = b"".join(
            _SEGMENT.pack(
                one.kind, one.flags, one.offset, one.virtual, one.physical, one.stored, one.size, one.align
            )
            for one in segments
        )
        header = list(self._header)
        header[5], header[10] = self._length, len(segments)
        assert len(segments) < 0xFFFF
        self._write(_HEADER.pack(*header), table)
        return self.path

    @contextmanager
    def zeroed(self, pages: Iterable[int]) -> Iterator[Path]:
        """With zeros in the pages at these physical addresses, as a copy that went wrong has them."""
        self._write(self._start, b"")
        with self.path.open("r+b", buffering=0) as file:
            kept = {}
            for offset in map(self._offset, pages):
                file.seek(offset)
                kept[offset] = file.read(PAGE)
                file.seek(offset)
                file.write(bytes(PAGE))
            try:
                yield self.path
            finally:
                for offset, content in kept.items():
                    file.seek(offset)
                    file.write(content)

    def _offset(self, page: int) -> int:
        """Where the page at a physical address is stored."""
        return next(
            one.offset + page - one.physical
            for one in self._segments
            if one.kind == PT_LOAD and 0 <= page - one.physical < one.stored
        )

    def with_zeroed_headers(self) -> Path:
        """Program headers that store nothing of the memory."""
        segments = [
            _SEGMENT.pack(one.kind, one.flags, one.offset, one.virtual, one.physical, 0, one.size, one.align)
            if one.kind == PT_LOAD
            else _SEGMENT.pack(
                one.kind, one.flags, one.offset, one.virtual, one.physical, one.stored, one.size, one.align
            )
            for one in self._segments
        ]
        header = list(self._header)
        header[5] = self._length
        self._write(_HEADER.pack(*header), b"".join(segments))
        return self.path

    def cut(self, length: int) -> Path:
        """End it early; lengths must shrink from call to call."""
        self._write(self._start, b"")
        os.truncate(self.path, length)
        return self.path

    def _write(self, header: bytes, end: bytes) -> None:
        with self.path.open("r+b") as file:
            file.write(header)
            file.truncate(self._length)
            file.seek(self._length)
            file.write(end)


def _without(one: _Segment, gone: set[int]) -> list[_Segment]:
    """What is left of a segment: a piece for each run of pages."""
    if one.kind != PT_LOAD:
        return [one]
    pieces: list[_Segment] = []
    start = None
    for distance in range(0, one.stored + PAGE, PAGE):
        there = distance < one.stored and (one.physical + distance) // PAGE not in gone
        if there and start is None:
            start = distance
        elif not there and start is not None:
            length = min(distance, one.stored) - start
            pieces.append(
                _Segment(
                    one.kind, one.flags, one.offset + start, one.virtual and one.virtual + start,
                    one.physical + start, length, length, one.align,
                )
            )  # fmt: skip
            start = None
    return pieces
