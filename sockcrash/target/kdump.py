# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the header of a kdump-compressed vmcore (makedumpfile's diskdump format) says of the dump."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from sockcrash.errors import TargetError

MAGIC = b"KDUMP   "
STATUS_AT = 424
"""Offset of ``status`` in struct disk_dump_header of a 64-bit kernel: behind a signature, a version, a
new_utsname of 390 bytes, padding and a timeval."""

SPLIT_AT = 12
"""Offset of ``split`` in struct kdump_sub_header, which is the block behind the header."""

COMPRESSION = {0x1: "zlib", 0x2: "lzo", 0x4: "snappy", 0x20: "zstd"}
INCOMPLETE = 0x8
_STATUS = struct.Struct("<IiiI")
PAGE_DESCRIPTOR = struct.Struct("<QIIQ")
BITMAP_LIMIT = 256 << 20
LAST_PAGES = 4096
BLOCK_SIZES = tuple(1 << bits for bits in range(9, 17))


class Header(NamedTuple):
    """Where things are, of struct disk_dump_header. Sizes are in blocks of ``block_size`` bytes."""

    status: int
    block_size: int
    sub_header_blocks: int
    bitmap_blocks: int

    @property
    def descriptors_at(self) -> int:
        """Where the table of page descriptors begins, in bytes."""
        return (1 + self.sub_header_blocks + self.bitmap_blocks) * self.block_size


def read_header(file: BinaryIO) -> Header | None:
    """The header of a little-endian 64-bit dump, or None if it is of another kind."""
    file.seek(STATUS_AT)
    data = file.read(_STATUS.size)
    if len(data) < _STATUS.size:
        return None
    header = Header(*_STATUS.unpack(data))
    return header if header.block_size in BLOCK_SIZES and 0 < header.sub_header_blocks < 1 << 16 else None


def compression(file: BinaryIO) -> str | None:
    """The name of the algorithm that the dump's pages are compressed with, None if none or unknown."""
    header = read_header(file)
    return next((name for bit, name in COMPRESSION.items() if header and header.status & bit), None)


def check(path: str, file: BinaryIO, size: int) -> str | None:
    """What the dump lacks, as a message, if it can be opened all the same. TargetError: it can't."""
    header = read_header(file)
    if header is None and size >= STATUS_AT + _STATUS.size:
        return None
    if header is None or size < (1 + header.sub_header_blocks) * header.block_size:
        raise TargetError(
            f"{path} is cut short within its headers ({size} bytes)", hint="copy the dump again"
        )
    file.seek(header.block_size + SPLIT_AT)
    if int.from_bytes(file.read(4), "little"):
        raise TargetError(
            f"{path} is one part of a split dump",
            hint="join the parts: makedumpfile --reassemble PART... OUT",
        )
    end = _end_of_pages(file, header, size)
    if end > size:
        return f"{path} is cut short: at least {end - size} bytes are missing"
    return f"{path} is incomplete, as makedumpfile noted in it" if header.status & INCOMPLETE else None


def _end_of_pages(file: BinaryIO, header: Header, size: int) -> int:
    """Where the last pages' data end; the second half of the bitmaps has a bit for each page in the dump."""
    bitmap_size = header.bitmap_blocks * header.block_size // 2
    if header.descriptors_at > size or bitmap_size > BITMAP_LIMIT:
        return header.descriptors_at
    file.seek(header.descriptors_at - bitmap_size)
    pages = int.from_bytes(file.read(bitmap_size), "little").bit_count()
    table_end = header.descriptors_at + pages * PAGE_DESCRIPTOR.size
    if table_end > size:
        return table_end
    last = min(pages, LAST_PAGES)
    file.seek(table_end - last * PAGE_DESCRIPTOR.size)
    rows = PAGE_DESCRIPTOR.iter_unpack(file.read(last * PAGE_DESCRIPTOR.size))
    return max((offset + length for offset, length, _flags, _page_flags in rows), default=table_end)
