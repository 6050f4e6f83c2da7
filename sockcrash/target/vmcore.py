# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a vmcore: refused with a reason, or opened with remarks on what it lacks."""

from __future__ import annotations

import drgn

from sockcrash.errors import TargetError
from sockcrash.kernel import vmcoreinfo
from sockcrash.target import kdump
from sockcrash.target.corefile import FLATTENED_MAGIC, check_core, open_regular

PROBED_SYMBOLS = 16
UNPACKING = "ompres"
"""Common to libkdumpfile's messages of pages that it can't unpack: it spells decompression two ways."""


def open_dump(prog: drgn.Program, path: str, *, vmcoreinfo_given: bool) -> list[str]:
    """Open a vmcore; return what is wrong with it but bearable. TargetError: why not, and what to do."""
    lack = check_core(path, vmcoreinfo_given=vmcoreinfo_given)
    try:
        prog.set_core_dump(path)
        _read_something(prog)
    except Exception as error:
        if lack:
            raise TargetError(
                f"{lack}; drgn can't open what is left ({error})", hint="copy or make the dump again"
            ) from error
        raise _refusal(path, error) from error
    return [f"{lack}; what lies in the missing part shows as unreadable"] if lack else []


def _read_something(prog: drgn.Program) -> None:
    """FaultError if no page that VMCOREINFO names can be unpacked: better now than at each field."""
    failure: drgn.FaultError | None = None
    for address in list(vmcoreinfo.of(prog).symbols.values())[:PROBED_SYMBOLS]:
        try:
            prog.read(address, 1)
        except drgn.FaultError as error:
            failure = error
        else:
            return
    if failure and UNPACKING in str(failure):
        raise failure


def _refusal(path: str, error: Exception) -> TargetError:
    with open_regular(path, "a vmcore") as file:
        head = file.read(len(FLATTENED_MAGIC))
        algorithm = kdump.compression(file) if head.startswith(kdump.MAGIC) else None
    if "ARCH_NAME" in str(error):
        return TargetError(
            f"{path} does not say of which architecture it is (QEMU's kdump formats don't)",
            hint="add --architecture x86_64, or whatever that machine was",
        )
    if head == FLATTENED_MAGIC:
        return TargetError(
            f"{path} is in makedumpfile's flattened format, unreadable to drgn ({error})",
            hint=f"put it in order: makedumpfile -R {path}.vmcore < {path}",
        )
    if algorithm and UNPACKING in str(error):
        return TargetError(
            f"drgn can't unpack {path}, which is compressed with {algorithm}: {error}",
            hint="if this drgn was built without it, install drgn with pip, or write the dump anew: "
            f"makedumpfile -c {path} OUT (zlib); else the dump is damaged",
        )
    return TargetError(f"drgn can't open {path}: {error}", hint="--log-level debug shows how far it came")
