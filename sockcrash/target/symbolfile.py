# SPDX-License-Identifier: LGPL-2.1-or-later
"""Is this the debug file of that kernel, and if not, what is it? Asked of the files that -s names."""

from __future__ import annotations

import re
from typing import BinaryIO

from sockcrash.errors import TargetError
from sockcrash.target import elf, kdump
from sockcrash.target.corefile import (
    COMPRESSED,
    FLATTENED_MAGIC,
    HEAD_SIZE,
    is_text,
    is_vmlinux,
    open_regular,
)

WHAT = "a vmlinux or module file with debug information"
RODATA_LIMIT = 64 << 20


def check_symbol_file(path: str) -> None:
    """Raise TargetError if ``path`` can't be a file of debug information, whatever the kernel is.

    Compressed modules and boot images pass: drgn unpacks them and decides.
    """
    with open_regular(path, WHAT) as file:
        head = file.read(HEAD_SIZE)
        header = elf.read_header(file)
    if (header and header.type == elf.ET_CORE) or head.startswith((kdump.MAGIC, FLATTENED_MAGIC)):
        raise TargetError(f"-s {path}: this is a core dump", hint=f"did you mean -c {path}?")
    if not header and is_text(head):
        hint = (
            f"did you mean --system-map {path}?"
            if re.match(rb"[0-9a-f]{8,16} [A-Za-z] \w", head)
            else f"give {WHAT}"
        )
        raise TargetError(f"-s {path}: this is {'an empty' if not head else 'a text'} file", hint=hint)


def explain_unused(path: str, kernel_build_id: bytes | None, release: str) -> TargetError:
    """Why drgn found no use for ``path`` in a kernel with this build id and release."""
    with open_regular(path, WHAT) as file:
        head = file.read(HEAD_SIZE)
        header = elf.read_header(file)
        if header is None:
            return TargetError(f"-s {path}: this is {_packed(head)}", hint=f"give {WHAT}")
        try:
            names = {part.name for part in elf.sections(file, header)}
            own = elf.build_id(file, header)
            own_release = _linux_release(file, header)
        except elf.CutShortError as error:
            return TargetError(f"-s {path}: the file is cut short; {error}", hint="copy it again")
        except ValueError as error:
            return TargetError(f"-s {path}: the file is damaged: {error}", hint="copy it again")
    if own is not None and own == kernel_build_id and names & {".debug_info", ".zdebug_info"}:
        return TargetError(f"-s {path}: another file serves as vmlinux already", hint="give one of them")
    if own is not None and own == kernel_build_id:
        return TargetError(
            f"-s {path}: this is the kernel's own image, but without debug information (.debug_info)",
            hint="the file of the debug package is needed; without -s, BTF is used",
        )
    if not is_vmlinux(names):
        is_module = ".modinfo" in names
        what = "a module that is not loaded there, or of another build" if is_module else "another program"
        return TargetError(
            f"-s {path}: this belongs to no part of kernel {release}; it is {what}", hint=f"give {WHAT}"
        )
    return TargetError(
        f"-s {path}: this vmlinux is of another build: {_hex(own)}{own_release and f' ({own_release})'}, "
        f"the kernel is {_hex(kernel_build_id)} ({release})",
        hint="give the vmlinux of just that build; without -s, the BTF in the kernel itself is used",
    )


def _hex(build_id: bytes | None) -> str:
    return f"build id {build_id.hex()}" if build_id else "without build id"


def _packed(head: bytes) -> str:
    for magic, name, _command in COMPRESSED:
        if head.startswith(magic):
            return f"a file compressed with {name} that matches nothing in this kernel"
    if head[0x202:0x206] == b"HdrS":
        return "a boot image (vmlinuz), which carries no debug information"
    return "no ELF file"


def _linux_release(file: BinaryIO, header: elf.ElfHeader) -> str:
    """The release in a vmlinux's ``linux_banner``, "" if it is not there."""
    for part in elf.sections(file, header):
        if part.name == ".rodata" and part.type != elf.SHT_NOBITS:
            text = elf.read_at(file, part.offset, min(part.size, RODATA_LIMIT))
            found = re.search(rb"Linux version ([!-~]{1,64}) ", text)
            return found[1].decode() if found else ""
    return ""
