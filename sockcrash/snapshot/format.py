# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a snapshot lies in its file: an ELF core that drgn opens, with notes that make it complete without other files.

Notes: VMCOREINFO as kdump writes it; owner ``SOCKCRASH`` type 1: JSON (what, when, how, the index of sockets, byte
ranges, symbols); owner ``SOCKCRASH`` type 2: one BTF blob, its name first, NUL-terminated ("vmlinux", a module).
Each PT_LOAD is a run of pages at their virtual address; bytes that were never read are zero.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import drgn

from sockcrash.errors import TargetError
from sockcrash.memory import Ranges

__all__ = ("OWNER", "PLATFORM", "PT_NOTE", "Snapshot", "parse", "serialize")

OWNER = b"SOCKCRASH"
PLATFORM = drgn.Platform(drgn.Architecture.X86_64)
META, BTF = 1, 2
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_NHDR = struct.Struct("<III")
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
ET_CORE, EM_X86_64, PT_LOAD, PT_NOTE, PN_XNUM = 4, 62, 1, 4, 0xFFFF
_RWX = 7


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot's content. ``meta`` is the JSON note, ``btf`` maps vmlinux and modules to their BTF."""

    vmcoreinfo: bytes
    meta: dict[str, Any]
    btf: dict[str, bytes]
    ranges: Ranges


def serialize(snapshot: Snapshot) -> bytes:
    """The bytes of the file, uncompressed."""
    runs = snapshot.ranges.pages()
    meta = {**snapshot.meta, "ranges": [[start, len(data)] for start, data in snapshot.ranges]}
    notes = _note(b"VMCOREINFO", 0, snapshot.vmcoreinfo)
    notes += _note(OWNER, META, json.dumps(meta, separators=(",", ":"), sort_keys=True).encode())
    for name, blob in sorted(snapshot.btf.items()):
        notes += _note(OWNER, BTF, name.encode() + b"\0" + blob)
    count = len(runs) + 1
    many = count >= PN_XNUM
    head = _EHDR.size + count * _PHDR.size + (_SHDR.size if many else 0)
    out = bytearray()
    out += _EHDR.pack(
        _IDENT, ET_CORE, EM_X86_64, 1, 0, _EHDR.size, head - _SHDR.size if many else 0, 0,
        _EHDR.size, _PHDR.size, PN_XNUM if many else count, _SHDR.size if many else 0, int(many), 0,
    )  # fmt: skip
    out += _PHDR.pack(PT_NOTE, 0, head, 0, 0, len(notes), len(notes), 4)
    offset = head + len(notes)
    for start, data in runs:
        out += _PHDR.pack(PT_LOAD, _RWX, offset, start, 0, len(data), len(data), 0)
        offset += len(data)
    if many:
        out += _SHDR.pack(0, 0, 0, 0, 0, 1, 0, count, 0, 0)
    out += notes
    for _, data in runs:
        out += data
    return bytes(out)


def _note(owner: bytes, kind: int, data: bytes) -> bytes:
    name = owner + b"\0"
    return _NHDR.pack(len(name), len(data), kind) + _padded(name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def parse(content: bytes) -> Snapshot:
    """Read a snapshot; TargetError when it is damaged."""
    try:
        return _parse(content)
    except (
        struct.error,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        OverflowError,
        drgn.FaultError,
    ) as error:
        raise TargetError(
            f"the snapshot is damaged: {error}", hint="take it again, or copy it again"
        ) from None


def _parse(content: bytes) -> Snapshot:
    vmcoreinfo, meta, btf = b"", None, {}
    for owner, kind, data in _notes(content):
        if owner == b"VMCOREINFO":
            vmcoreinfo = data
        elif owner == OWNER and kind == META:
            meta = json.loads(data)
        elif owner == OWNER and kind == BTF:
            name, _, blob = data.partition(b"\0")
            btf[name.decode()] = blob
    if not isinstance(meta, dict) or not vmcoreinfo:
        raise ValueError("a note is missing")
    loads = Ranges((vaddr, content[offset : offset + size]) for offset, vaddr, size in _loads(content))
    pieces = [(int(start), loads.read(int(start), int(length))) for start, length in meta.pop("ranges")]
    return Snapshot(vmcoreinfo, meta, btf, Ranges(pieces))


def _headers(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(type, offset, vaddr, filesz) of each program header, each inside the file."""
    ident, _, _, _, _, phoff, shoff, _, _, phentsize, phnum, *_ = _EHDR.unpack_from(content)
    if ident[:6] != _IDENT[:6] or phentsize != _PHDR.size:
        raise ValueError("not an ELF file of ours")
    if phnum == PN_XNUM:
        phnum = _SHDR.unpack_from(content, shoff)[7]
    headers = [_PHDR.unpack_from(content, phoff + number * _PHDR.size) for number in range(phnum)]
    end = max((offset + filesz for _, _, offset, _, _, filesz, _, _ in headers), default=0)
    if end > len(content):
        raise ValueError(f"cut short: {end - len(content)} bytes are missing")
    return ((kind, offset, vaddr, filesz) for kind, _, offset, vaddr, _, filesz, _, _ in headers)


def _loads(content: bytes) -> Iterator[tuple[int, int, int]]:
    return ((offset, vaddr, size) for kind, offset, vaddr, size in _headers(content) if kind == PT_LOAD)


def _notes(content: bytes) -> Iterable[tuple[bytes, int, bytes]]:
    for kind, offset, _, size in _headers(content):
        if kind == PT_NOTE:
            yield from _notes_in(content[offset : offset + size])


def _notes_in(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + _NHDR.size <= len(data):
        name_size, size, kind = _NHDR.unpack_from(data, at)
        at += _NHDR.size
        name = data[at : at + name_size].rstrip(b"\0")
        at += name_size + -name_size % 4
        if at + size > len(data):
            raise ValueError("a note is cut short")
        yield name, kind, data[at : at + size]
        at += size + -size % 4
