# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a drgn session has of sockcrash without asking: the commands %sock, %socks and %sockopts, types from BTF.

drgn imports this module at its start, before any program is open, so it imports nothing that costs.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.offer import NO_BTF, offer

if TYPE_CHECKING:
    from sockcrash.kernel.offer import Finders

__all__ = ("drgn_prog_set",)

logger = logging.getLogger("sockcrash")


def drgn_prog_set(prog: drgn.Program) -> None:
    """drgn's hook: a Program has got its memory. Never raises; nothing is done with a user-space program.

    Types and symbols from the kernel's BTF and kallsyms are offered behind all other finders, so that DWARF wins
    whenever it is loaded; the environment variable SOCKCRASH_NO_BTF forbids that.
    """
    try:
        if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
            return
        if NO_BTF not in os.environ:
            offer(prog, _finders)
        from sockcrash.plugin import commands  # noqa: F401 - importing it registers them
    except Exception as error:
        logger.warning("sockcrash stays out of this session: %s", error)


def _finders(prog: drgn.Program) -> Finders:
    from sockcrash.target.adopt import finders_for

    return finders_for(prog)
