# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small ELF and kdump files, made by the formats' definitions (elf(5), makedumpfile's diskdump_mod.h)."""

from __future__ import annotations

import struct

X86_64, RISCV, AARCH64 = 62, 243, 183
ET_REL, ET_EXEC, ET_CORE = 1, 2, 4
KERNEL_RAM = 0xFFFF888000000000
BUILD_ID = bytes(range(20))

VMCOREINFO = (
    b"OSRELEASE=6.1.0-99-amd64\nBUILD-ID=%s\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82612a40\n"
    b"SYMBOL(swapper_pg_dir)=ffffffff8260a000\nSYMBOL(_stext)=ffffffff81000000\nKERNELOFFSET=0\n"
    b"NUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\nCRASHTIME=1700000000\n" % BUILD_ID.hex().encode()
)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def note(name: bytes, kind: int, data: bytes) -> bytes:
    """One ELF note."""
    name += b"\0"
    return struct.pack("<III", len(name), len(data), kind) + _padded(name) + _padded(data)


def _header(kind: int, machine: int, segments: int, sections_at: int = 0, sections: int = 0) -> bytes:
    rest = (1, 0, 64 if segments else 0, sections_at, 0, 64, 56, segments, 64, sections, max(sections - 1, 0))
    return b"\x7fELF\2\1\1" + b"\0" * 9 + struct.pack("<HHIQQQIHHHHHH", kind, machine, *rest)


def core(
    notes: bytes = note(b"VMCOREINFO", 0, VMCOREINFO),
    *,
    ram: int = 8192,
    machine: int = X86_64,
    kind: int = ET_CORE,
) -> bytes:
    """An ELF core with one note segment and one of ``ram`` zero bytes."""
    at = 64 + 2 * 56
    ram_at = at + len(notes)
    headers = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), 0, 4)
    headers += struct.pack("<IIQQQQQQ", 1, 7, ram_at, KERNEL_RAM, 0, ram, ram, 4096)
    return _header(kind, machine, 2) + headers + notes + b"\0" * ram


def with_sections(kind: int, build_id: bytes | None, **contents: bytes) -> bytes:
    """An ELF file without segments, its sections named by keyword."""
    sections = [(name, 1, data) for name, data in contents.items()]
    if build_id is not None:
        sections.append((".note.gnu.build-id", 7, note(b"GNU", 3, build_id)))
    names = b"\0" + b"".join(name.encode() + b"\0" for name, _kind, _data in sections) + b".shstrtab\0"
    sections.append((".shstrtab", 3, names))
    body, rows, at = b"", b"\0" * 64, 64
    for name, section_kind, content in sections:
        data = _padded(content)
        row = (names.index(name.encode() + b"\0"), section_kind, 0, 0, at + len(body), len(data), 0, 0, 4, 0)
        rows += struct.pack("<IIQQQQIIQQ", *row)
        body += data
    return _header(kind, X86_64, 0, at + len(body), len(sections) + 1) + body + rows


def vmlinux(build_id: bytes | None, release: str = "6.1.0-98-amd64") -> bytes:
    """What passes for a kernel image: its sections, its banner, no debug information."""
    banner = f"Linux version {release} (somebody@somewhere)".encode()
    sections = {".init.text": b"\x90" * 8, "__ksymtab": b"\0" * 8, ".rodata": banner}
    return with_sections(ET_EXEC, build_id, **sections)


def kdump(
    *, status: int = 1, split: int = 0, pages: int = 4, page_bytes: int = 100, block: int = 4096
) -> bytes:
    """A kdump file of ``pages`` pages, each ``page_bytes`` bytes of rubbish when packed."""
    head = b"KDUMP   " + struct.pack("<i", 6) + b"\0" * 390 + b"\0" * 6 + b"\0" * 16
    head += struct.pack("<IiiI", status, block, 1, 2)
    sub = struct.pack("<QII", 0, 31, split)
    bitmap = ((1 << pages) - 1).to_bytes(block, "little")
    table_at = block * 5 - block
    data_at = table_at + 24 * pages
    rows = b"".join(struct.pack("<QIIQ", data_at + page_bytes * i, page_bytes, 1, 0) for i in range(pages))
    blocks = head.ljust(block, b"\0") + sub.ljust(block, b"\0") + bitmap + bitmap
    assert len(blocks) == table_at
    return blocks + rows + b"\xaa" * (page_bytes * pages)
