# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where does the kernel's BTF come from, and is it of this kernel?

From a file that the user names, from sysfs for the running kernel, else from the kernel's own memory.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import TargetError
from sockcrash.kernel.btf import HEADER_SIZE, LONG_HEADER_SIZE, MAGIC, MAX_BLOB, read_header
from sockcrash.kernel.btf_modules import SYSFS
from sockcrash.kernel.kallsyms_find import MAX_CANDIDATES, MAX_IMAGE, byteorder_of, search

if TYPE_CHECKING:
    from pathlib import Path

    from sockcrash.kernel.btf_types import BtfTypes
    from sockcrash.kernel.vmcoreinfo import VmcoreInfo

__all__ = ("byteorder_of", "check_against_kernel", "from_file", "from_memory", "from_sysfs")

_OTHER_WAYS = "give it with --btf FILE, or debug information with -s VMLINUX"
_SMALLEST = 1 << 18  # bytes of types of a kernel; those of a BPF program have less
_MAX_NAMES = 16 << 20
_ELF = b"\x7fELF"
_ELF64_HEADER = {"<": struct.Struct("<40xQ10xHHH"), ">": struct.Struct(">40xQ10xHHH")}
_ELF64_SECTION = {"<": struct.Struct("<IIQQQQIIQQ"), ">": struct.Struct(">IIQQQQIIQQ")}


def from_file(path: Path) -> bytes:
    """The blob in a file: raw, or the .BTF section of an ELF file such as vmlinux. Raises TargetError."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if head.startswith(_ELF):
                return _section(path, b".BTF")
            file.seek(0)
            blob = file.read(MAX_BLOB + 1)
    except OSError as error:
        raise TargetError(f"--btf {path} can't be read: {error.strerror}") from error
    if MAGIC not in (int.from_bytes(blob[:2], "little"), int.from_bytes(blob[:2], "big")):
        raise TargetError(
            f"--btf {path} is neither BTF nor an ELF file with a .BTF section",
            hint="give a copy of that kernel's /sys/kernel/btf/vmlinux, or its vmlinux",
        )
    return blob


def _section(path: Path, wanted: bytes) -> bytes:
    with path.open("rb") as file:
        head = file.read(64)
        try:
            order = "<" if head[5] == 1 else ">"
            table, stride, count, names_index = _ELF64_HEADER[order].unpack(head)
            layout = _ELF64_SECTION[order]
            file.seek(table)
            raw = file.read(stride * count) if stride == layout.size else b""
            rows = list(layout.iter_unpack(raw))
            file.seek(rows[names_index][4])
            names = file.read(min(rows[names_index][5], _MAX_NAMES))
            for row in rows:
                if names[row[0] : names.index(b"\0", row[0])] == wanted:
                    file.seek(row[4])
                    return file.read(min(row[5], MAX_BLOB))
        except (struct.error, IndexError, ValueError) as error:
            raise TargetError(f"--btf {path} is a damaged ELF file, or not of 64 bits") from error
    raise TargetError(
        f"--btf {path} has no section {wanted.decode()}", hint="it is built without CONFIG_DEBUG_INFO_BTF"
    )


def from_sysfs() -> bytes | None:
    """The running kernel's blob, None if it shows none."""
    try:
        return (SYSFS / "vmlinux").read_bytes()
    except OSError:
        return None


def from_memory(prog: drgn.Program, start: int | None, info: VmcoreInfo) -> bytes:
    """The blob in the kernel's memory, where ``__start_BTF`` stands (None: not known).

    Raises TargetError if there is none or it was left out of the dump.
    """
    place = start or _search(prog, info)
    if place is None:
        raise TargetError(
            "the kernel has no BTF (CONFIG_DEBUG_INFO_BTF), or the dump leaves it out", hint=_OTHER_WAYS
        )
    try:
        size = read_header(prog.read(place, LONG_HEADER_SIZE), "vmlinux", byteorder_of(prog)).end
        if size > MAX_BLOB:
            raise TargetError(f"the kernel's BTF is damaged: it has {size} bytes", hint=_OTHER_WAYS)
        blob: bytes = prog.read(place, size)
    except drgn.FaultError as error:
        raise TargetError(
            f"the kernel's BTF can't be read: no memory at {error.address:#x}", hint=_OTHER_WAYS
        ) from error
    return blob


def _search(prog: drgn.Program, info: VmcoreInfo) -> int | None:
    """Where in the kernel image a blob begins that is as large as a kernel's."""
    image = info.symbols.get("_stext")
    if image is None:
        return None
    byteorder = byteorder_of(prog)
    magic = MAGIC.to_bytes(2, "little" if byteorder == "little" else "big") + b"\x01\0"
    for address in islice(search(prog, magic, image, image + MAX_IMAGE), MAX_CANDIDATES):
        try:
            header = read_header(prog.read(address, LONG_HEADER_SIZE), "vmlinux", byteorder)
        except (drgn.FaultError, TargetError):
            continue
        (start, size), (strings, _), _ = header
        if start in (HEADER_SIZE, LONG_HEADER_SIZE) and strings == start + size and size >= _SMALLEST:
            return address
    return None


def check_against_kernel(prog: drgn.Program, types: BtfTypes, start: int | None, info: VmcoreInfo) -> None:
    """Raise TargetError if these types are another kernel's.

    They are compared with the sizes and offsets of VMCOREINFO, and with the header of the kernel's own BTF at
    ``start`` (``__start_BTF``; None: not known).
    """
    if start:
        try:
            header = read_header(prog.read(start, LONG_HEADER_SIZE), "vmlinux", byteorder_of(prog))
        except (drgn.FaultError, TargetError):
            header = None
        if header and header != types.btf.header:
            raise types.btf.bad(f"it has {types.btf.header.end} bytes, the kernel's own {header.end}")
    for what, expected in info.sizes.items():
        ctype = _named(types, what)
        if ctype is not None and ctype.size != expected:
            raise types.btf.bad(f"{what} has {ctype.size} bytes, but VMCOREINFO says {expected}")
    for what, expected in info.offsets.items():
        owner, _, member = what.partition(".")
        found = _offset(_named(types, owner), member)
        if found not in (None, expected):
            raise types.btf.bad(f"{what} is at byte {found}, but VMCOREINFO says {expected}")


def _named(types: BtfTypes, name: str) -> drgn.Type | None:
    """The struct that VMCOREINFO calls by this name, which may be a typedef's; None for others and incomplete
    ones.
    """
    ctype = types.find([drgn.TypeKind.STRUCT], name) or types.find([drgn.TypeKind.TYPEDEF], name)
    while ctype is not None and ctype.kind == drgn.TypeKind.TYPEDEF:
        ctype = ctype.type
    return ctype if ctype is not None and ctype.kind == drgn.TypeKind.STRUCT and ctype.is_complete() else None


def _offset(ctype: drgn.Type | None, member: str) -> int | None:
    if ctype is None:
        return None
    try:
        offset: int = drgn.offsetof(ctype, member)
    except LookupError:
        return None
    return offset
