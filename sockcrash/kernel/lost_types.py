# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a type that is not known was lost with memory that can't be read, or was never there to be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from drgn import Program

__all__ = ("no_types", "types_are_lost")

_LOST = "sockcrash.types-lost"


def types_are_lost(prog: Program) -> None:
    """Remember that the types of some module can't be read: any that is not found from now on may have been there."""
    prog.cache[_LOST] = True


def no_types(prog: Program, detail: str) -> Absent:
    """Why what needs a type is absent that is not known."""
    return Absent(Reason.UNREADABLE if prog.cache.get(_LOST) else Reason.NO_TYPE_INFO, detail)
