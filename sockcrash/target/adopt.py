# SPDX-License-Identifier: LGPL-2.1-or-later
"""Making a Program that somebody else opened, as drgn's own command line does, fit for everything here."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.kernel import nodebug
from sockcrash.kernel.carried import Kept, carried_finders
from sockcrash.kernel.offer import NO_BTF, offer, vmlinux_has_dwarf
from sockcrash.kernel.view import Kernel, kernel_of
from sockcrash.target.debuginfo import is_running_kernel
from sockcrash.target.snapshot import is_snapshot_file, read_snapshot, set_index, types_of

if TYPE_CHECKING:
    from drgn import Program

    from sockcrash.kernel.offer import Finders

__all__ = ("adopt", "finders_for")

logger = logging.getLogger("sockcrash")

ADOPTED = "sockcrash.adopted"


def adopt(prog: Program) -> Kernel:
    """The Kernel of any Program of a Linux kernel, with the types that can be had; made once.

    DWARF serves if there is some, and BTF the modules without a debug file; else BTF and kallsyms serve, or what a
    snapshot carries. Raises TargetError if a snapshot's types or index can't be had.
    """
    if ADOPTED not in prog.cache:
        prog.cache[ADOPTED] = True
        if nodebug.TYPE_FINDER not in prog.registered_type_finders():
            _serve(prog)
    return kernel_of(prog)


def _serve(prog: Program) -> None:
    path = _snapshot_of(prog)
    if path is not None:
        set_index(prog, path, read_snapshot(str(path)))
    if not vmlinux_has_dwarf(prog):
        offer(prog, finders_for)
    elif NO_BTF not in os.environ:
        nodebug.attach_modules(prog, live=is_running_kernel(prog))


def finders_for(prog: Program) -> Finders:
    """What serves a kernel without debug files: what its snapshot carries, else its own BTF and kallsyms."""
    path = _snapshot_of(prog)
    if path is not None:
        snapshot = read_snapshot(str(path))
        return carried_finders(prog, types_of(path, snapshot), Kept(snapshot.meta["symbols"]))
    finders, attached = nodebug.make(prog, live=is_running_kernel(prog))
    for note in attached.notes:
        logger.info("%s", note)
    return finders


def _snapshot_of(prog: Program) -> Path | None:
    """The snapshot that a Program was opened on, None if it is anything else."""
    path = prog.core_dump_path
    return Path(path) if path and is_snapshot_file(path) else None
