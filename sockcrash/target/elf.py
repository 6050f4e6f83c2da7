# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an ELF file's headers say: segments, sections, notes and build id, without reading the rest of it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x7fELF"
HEADER_SIZE = 64

ET_CORE = 4
PT_NOTE = 4
SHT_NOTE, SHT_NOBITS = 7, 8
PN_XNUM = 0xFFFF
NT_GNU_BUILD_ID = 3

NOTES_LIMIT = 64 << 20
NAMES_LIMIT = 16 << 20
TABLE_LIMIT = 256 << 20


class Segment(NamedTuple):
    """A program header; offset and size in bytes of the file."""

    type: int
    offset: int
    size: int


class Section(NamedTuple):
    """A section header; offset and size in bytes of the file."""

    name: str
    type: int
    offset: int
    size: int


class Note(NamedTuple):
    """One note: its owner's name, its type in the owner's numbering, and its bytes."""

    name: bytes
    type: int
    data: bytes


class CutShortError(ValueError):
    """The file ends before a table that its header announces; ``end`` is where that table would end."""

    def __init__(self, end: int) -> None:
        super().__init__(f"the headers reach to byte {end}")
        self.end = end


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfHeader:
    """The fixed header; ``order`` is struct's byte order character."""

    order: str
    is_64_bit: bool
    type: int
    machine: int
    segments_at: int
    segment_size: int
    segment_count: int
    sections_at: int
    section_size: int
    section_count: int
    names_index: int


def read_header(file: BinaryIO) -> ElfHeader | None:
    """The header of an ELF file, or None if ``file`` does not begin with one."""
    file.seek(0)
    head = file.read(HEADER_SIZE)
    if head[:4] != MAGIC or len(head) < 52 or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    is_64_bit = head[4] == 2
    if is_64_bit and len(head) < HEADER_SIZE:
        return None
    order = "<" if head[5] == 1 else ">"
    (
        kind,
        machine,
        _version,
        _entry,
        phoff,
        shoff,
        _flags,
        _size,
        phentsize,
        phnum,
        shentsize,
        shnum,
        names,
    ) = struct.unpack_from(order + ("HHIQQQIHHHHHH" if is_64_bit else "HHIIIIIHHHHHH"), head, 16)
    return ElfHeader(
        order=order,
        is_64_bit=is_64_bit,
        type=kind,
        machine=machine,
        segments_at=phoff,
        segment_size=phentsize,
        segment_count=phnum,
        sections_at=shoff,
        section_size=shentsize,
        section_count=shnum,
        names_index=names,
    )


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Up to ``size`` bytes from ``offset`` on; none if a damaged header points beyond the end of the file."""
    if offset >= file.seek(0, os.SEEK_END):
        return b""
    file.seek(offset)
    return file.read(size)


def _table(
    file: BinaryIO, offset: int, entry: struct.Struct, stride: int, count: int
) -> Iterator[tuple[int, ...]]:
    stride = max(stride, entry.size)
    end = offset + stride * count
    if end > file.seek(0, os.SEEK_END):
        raise CutShortError(end)
    if stride * count > TABLE_LIMIT:
        raise ValueError(f"a table of {stride * count} bytes of headers")
    data = read_at(file, offset, stride * count)
    for at in range(0, stride * count, stride):
        yield entry.unpack_from(data, at)


def _section_rows(file: BinaryIO, header: ElfHeader, count: int) -> Iterator[tuple[int, ...]]:
    layout = struct.Struct(header.order + ("IIQQQQIIQQ" if header.is_64_bit else "IIIIIIIIII"))
    return _table(file, header.sections_at, layout, header.section_size, count)


def segments(file: BinaryIO, header: ElfHeader) -> list[Segment]:
    """The program headers. CutShortError: the file ends within them; ValueError: absurd."""
    count = header.segment_count
    if count == PN_XNUM and header.sections_at:
        count = next(_section_rows(file, header, 1))[7]
    layout = struct.Struct(header.order + ("IIQQQQQQ" if header.is_64_bit else "IIIIIIII"))
    rows = _table(file, header.segments_at, layout, header.segment_size, count)
    at, size = (2, 5) if header.is_64_bit else (1, 4)
    return [Segment(row[0], row[at], row[size]) for row in rows]


def sections(file: BinaryIO, header: ElfHeader) -> list[Section]:
    """The section headers, named. CutShortError: the file ends within them; ValueError: absurd."""
    rows = list(_section_rows(file, header, header.section_count))
    if header.names_index >= len(rows):
        return []
    names = read_at(file, rows[header.names_index][4], min(rows[header.names_index][5], NAMES_LIMIT))
    return [
        Section(
            names[row[0] : max(row[0], names.find(b"\0", row[0]))].decode("latin-1"), row[1], row[4], row[5]
        )
        for row in rows
    ]


def notes(file: BinaryIO, header: ElfHeader) -> Iterator[Note]:
    """The notes of all note segments, or of the note sections of a file that has no segments."""
    places = [(part.offset, part.size) for part in segments(file, header) if part.type == PT_NOTE]
    if not places:
        places = [(part.offset, part.size) for part in sections(file, header) if part.type == SHT_NOTE]
    for offset, size in places:
        yield from _parse_notes(read_at(file, offset, min(size, NOTES_LIMIT)), header.order)


def _parse_notes(data: bytes, order: str) -> Iterator[Note]:
    at = 0
    while at + 12 <= len(data):
        name_size, data_size, kind = struct.unpack_from(order + "III", data, at)
        name_at = at + 12
        data_at = name_at + (name_size + 3 & ~3)
        at = data_at + (data_size + 3 & ~3)
        content = data[data_at : data_at + data_size]
        if len(content) == data_size:
            yield Note(data[name_at : name_at + name_size].rstrip(b"\0"), kind, content)


def build_id(file: BinaryIO, header: ElfHeader) -> bytes | None:
    """The GNU build id, or None if the file has none."""
    found = (note.data for note in notes(file, header) if note[:2] == (b"GNU", NT_GNU_BUILD_ID))
    return next(found, None)
