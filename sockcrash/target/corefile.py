# SPDX-License-Identifier: LGPL-2.1-or-later
"""What kind of file is this, and can it be a vmcore? Answered from its headers alone, before drgn tries."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from sockcrash.errors import TargetError
from sockcrash.target import elf, kdump

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_SIZE = 1024
FLATTENED_MAGIC = b"makedumpfile\0\0\0\0"
FLATTENED_END = b"\xff" * 16

MACHINES = {
    2: "sparc",
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    43: "sparc64",
    50: "ia64",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}
TRANSLATED_MACHINES = ("x86_64", "aarch64", "ppc64", "s390x", "arm")
"""The machines whose page tables drgn can walk."""

USER_NOTES = (3, 6, 0x46494C45)
"""NT_PRPSINFO, NT_AUXV, NT_FILE: the "CORE" notes that only the dump of a process has."""

COMPRESSED = (
    (b"\x1f\x8b", "gzip", "gunzip -k"),
    (b"\xfd7zXZ\0", "xz", "unxz -k"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"BZh", "bzip2", "bunzip2 -k"),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
)
FOREIGN = (
    (
        b"QEVM",
        "a saved QEMU machine state",
        "dump the guest's memory instead: dump-guest-memory in QEMU's monitor",
    ),
    (
        b"LibvirtQemudSave",
        "a guest saved by libvirt",
        "dump it instead: virsh dump --memory-only DOMAIN FILE",
    ),
    (b"EMiL", "a LiME memory image", "drgn opens ELF and kdump vmcores only"),
    (b"\xd2\xbe\xd2\xbe", "a VMware snapshot", "convert it to an ELF vmcore with vmss2core -N6"),
    (b"\xd0\xbe\xd2\xbe", "a VMware snapshot", "convert it to an ELF vmcore with vmss2core -N6"),
    (b"PAGEDU", "a Windows crash dump", None),
)


class Refusal(NamedTuple):
    """Why a file won't do, and what to do about it."""

    message: str
    hint: str | None


def is_file(path: str) -> bool:
    """Whether ``path`` is a regular file; never blocks."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False


def looks_like_core(path: str) -> bool:
    """Whether ``path`` is a file that begins as a core dump does."""
    if not is_file(path):
        return False
    try:
        with Path(path).open("rb") as file:
            header = elf.read_header(file)
            file.seek(0)
            return bool(header and header.type == elf.ET_CORE) or file.read(len(FLATTENED_MAGIC)).startswith(
                (kdump.MAGIC, FLATTENED_MAGIC)
            )
    except OSError:
        return False


def open_regular(path: str, what: str) -> BinaryIO:
    """Open a file that a user named; TargetError if it isn't a readable regular file. Never blocks.

    ``what`` says in messages what the file should be.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
        if stat.S_ISREG(mode):
            return Path(path).open("rb")
    except FileNotFoundError:
        raise TargetError(f"{path}: no such file", hint=f"give the path of {what}") from None
    except PermissionError as error:
        raise TargetError(
            f"{path}: {error.strerror}", hint="run as a user who may read it, or as root"
        ) from None
    except (OSError, ValueError) as error:
        raise TargetError(f"{path}: {error}") from None
    if stat.S_ISDIR(mode):
        raise TargetError(f"{path} is a directory", hint=f"give the path of {what}")
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise TargetError(
            f"{path} is a {'pipe' if stat.S_ISFIFO(mode) else 'socket'}, which can't be read at any offset",
            hint="save it to a file first" if stat.S_ISFIFO(mode) else "for QEMU's QMP socket use --qemu",
        )
    raise TargetError(f"{path} is a device", hint=f"give {what}; for the running kernel use -k")


def check_core(path: str, *, vmcoreinfo_given: bool) -> str | None:
    """Look at a dump's headers; return what it lacks, as a message, if it can be opened all the same.

    TargetError: it can't be opened as a vmcore. ``vmcoreinfo_given``: --vmcoreinfo is there.
    """
    with open_regular(path, "a vmcore") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(HEAD_SIZE)
        if not head:
            raise TargetError(
                f"{path} is empty",
                hint="the dump was not written; look for errors of kdump in that boot's log",
            )
        if head.startswith(kdump.MAGIC):
            return kdump.check(path, file, size)
        if head.startswith(FLATTENED_MAGIC):
            _check_flattened(path, file)
            return None
        header = elf.read_header(file)
        try:
            if header and header.type == elf.ET_CORE:
                return _check_elf_core(path, file, header, size, vmcoreinfo_given)
            refusal = _not_a_core_elf(path, file, header) if header else _not_elf(path, head)
        except ValueError as error:
            raise _damaged(path, error, size) from None
    raise TargetError(refusal.message, hint=refusal.hint)


def _damaged(path: str, error: ValueError, size: int) -> TargetError:
    if isinstance(error, elf.CutShortError):
        return TargetError(
            f"{path} is cut short: {error}, but it ends at {size}; {error.end - size} bytes are missing",
            hint="copy the dump again",
        )
    return TargetError(f"{path} is damaged: {error}", hint="copy the dump again")


def _check_flattened(path: str, file: BinaryIO) -> None:
    file.seek(-len(FLATTENED_END), os.SEEK_END)
    if file.read() != FLATTENED_END:
        raise TargetError(
            f"{path} is a flattened dump that is cut short: its end mark is missing", hint="copy it again"
        )


def _check_elf_core(
    path: str, file: BinaryIO, header: elf.ElfHeader, size: int, vmcoreinfo_given: bool
) -> str | None:
    parts = elf.segments(file, header)
    notes = list(elf.notes(file, header)) if parts else []
    owners = {note.name for note in notes}
    of_process = any(note.name == b"CORE" and note.type in USER_NOTES for note in notes)
    if of_process and b"VMCOREINFO" not in owners:
        raise TargetError(
            f"{path} is the core dump of a process, not of a kernel",
            hint="gdb opens it; sockcrash needs a vmcore, as kdump or virsh dump --memory-only writes it",
        )
    machine = MACHINES.get(header.machine, f"unknown machine {header.machine}")
    if machine not in TRANSLATED_MACHINES:
        raise TargetError(
            f"{path} is a dump of another architecture ({machine}), whose addresses drgn can't translate",
            hint=f"drgn translates addresses of {', '.join(TRANSLATED_MACHINES)}",
        )
    end = max((part.offset + part.size for part in parts), default=0)
    if b"VMCOREINFO" not in owners and not vmcoreinfo_given:
        raise _without_vmcoreinfo(path, b"QEMU" in owners, end - size)
    if end > size:
        return f"{path} is cut short: {end - size} of {end} bytes ({(end - size) / end:.0%}) are missing"
    return None


def _without_vmcoreinfo(path: str, from_qemu: bool, missing: int) -> TargetError:
    if missing > 0:
        return TargetError(
            f"{path} is cut short: {missing} bytes are missing, with them VMCOREINFO, which names the kernel",
            hint="copy the dump again",
        )
    hint = "give that kernel's VMCOREINFO text with --vmcoreinfo FILE"
    if from_qemu:
        hint += "; for the next dump, run QEMU with -device vmcoreinfo and load qemu_fw_cfg in the guest"
    return TargetError(f"{path} has no VMCOREINFO note, so nothing says what kernel it holds", hint=hint)


def _not_a_core_elf(path: str, file: BinaryIO, header: elf.ElfHeader) -> Refusal:
    names = {part.name for part in elf.sections(file, header)}
    if is_vmlinux(names):
        return Refusal(
            f"{path} is a kernel image (vmlinux), not a dump",
            f"did you mean -s {path}? The dump goes with -c",
        )
    if ".modinfo" in names or ".gnu.linkonce.this_module" in names:
        return Refusal(
            f"{path} is a kernel module, not a dump", f"did you mean -s {path}? The dump goes with -c"
        )
    return Refusal(f"{path} is a program or library, not a dump", "give the path of a vmcore")


def is_vmlinux(section_names: set[str]) -> bool:
    """Whether an ELF file with these sections is a kernel image."""
    return "__ksymtab" in section_names and ".init.text" in section_names and ".modinfo" not in section_names


def _not_elf(path: str, head: bytes) -> Refusal:
    for magic, name, command in COMPRESSED:
        if head.startswith(magic):
            return Refusal(f"{path} is compressed with {name}", f"decompress it first: {command} {path}")
    for magic, name, hint in FOREIGN:
        if head.startswith(magic):
            return Refusal(f"{path} is {name}, not a vmcore that drgn reads", hint)
    if head[0x202:0x206] == b"HdrS":
        return Refusal(f"{path} is a boot image (vmlinuz), not a dump", "give the path of a vmcore")
    if head[257:262] == b"ustar":
        return Refusal(f"{path} is a tar archive", "unpack it first")
    if head.startswith(elf.MAGIC):
        return Refusal(f"{path} is cut short within its ELF header", "copy the dump again")
    kind = "text" if is_text(head) else "neither an ELF nor a kdump file"
    return Refusal(f"{path} is not a vmcore ({kind})", "give the path of a vmcore")


def is_text(head: bytes) -> bool:
    """Whether the beginning of a file is text."""
    printable: Callable[[int], bool] = lambda byte: byte >= 32 or byte in b"\t\n\r\f\x1b"  # noqa: E731
    return all(printable(byte) for byte in head)
