# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a vmcore: refused with a reason, or opened with remarks on what it lacks."""

from __future__ import annotations

import drgn

from sockcrash.errors import TargetError
from sockcrash.kernel import vmcoreinfo
from sockcrash.target import kdump
from sockcrash.target.corefile import FLATTENED_MAGIC, check_core, open_regular

PROBED_SYMBOLS = 16


def open_dump(prog: drgn.Program, path: str, *, vmcoreinfo_given: bool) -> list[str]:
    """Open a vmcore; return what is wrong with it but bearable. TargetError: why not, and what to do."""
    notes = check_core(path, vmcoreinfo_given=vmcoreinfo_given)
    try:
        prog.set_core_dump(path)
    except Exception as error:
        raise _refusal(path, error) from error
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise TargetError(f"{path} is not the dump of a Linux kernel", hint="give the path of a vmcore")
    _check_compression(prog, path)
    return notes


def _refusal(path: str, error: Exception) -> TargetError:
    with open_regular(path, "a vmcore") as file:
        flattened = file.read(len(FLATTENED_MAGIC)) == FLATTENED_MAGIC
    if flattened:
        return TargetError(
            f"{path} is in makedumpfile's flattened format, and drgn can't open it as it is ({error})",
            hint=f"put it in order: makedumpfile -R {path}.vmcore < {path}; a dump that QEMU or virsh makes "
            "should be of the format elf",
        )
    return TargetError(
        f"drgn can't open {path}: {error}", hint="run with --log-level debug to see how far it came"
    )


def _check_compression(prog: drgn.Program, path: str) -> None:
    """Read some pages, to learn now rather than at each field that drgn can't unpack any."""
    with open_regular(path, "a vmcore") as file:
        algorithm = kdump.compression(file) if file.read(len(kdump.MAGIC)) == kdump.MAGIC else None
    if algorithm is None:
        return
    failures = []
    for address in list(vmcoreinfo.of(prog).symbols.values())[:PROBED_SYMBOLS]:
        try:
            prog.read(address, 8)
        except drgn.FaultError as error:
            failures.append(str(error))
        else:
            return
    if failures and all("ompress" in failure for failure in failures):
        raise TargetError(
            f"{path} is compressed with {algorithm}, which this drgn does not unpack ({failures[0]})",
            hint="install drgn with pip (its wheels read all of them), or write the dump anew with zlib: "
            "makedumpfile -c DUMP OUT",
        )
