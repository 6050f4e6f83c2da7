# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values that are computed from several members of a section, added behind them; absent if a member is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Section

if TYPE_CHECKING:
    from sockcrash.kernel.clock import Clock

__all__ = ("Computed", "extend")

# name, the members it is made of, a function of the clock and their values
Computed = tuple[tuple[str, tuple[str, ...], Callable[..., Any]], ...]


def extend(section: Section, computed: Computed, clock: Clock, *, instead: Absent | None = None) -> Section:
    """``section`` with computed values; all of them are ``instead`` if that is given."""
    added: dict[str, Any] = {}
    for name, inputs, function in computed:
        values = [section[member] for member in inputs]
        missing = instead if instead is not None else _absent(values)
        added[name] = function(clock, *values) if missing is None else missing
    names = {name: number for number, name in enumerate((*section, *added))}
    return Section(names, (*section.values(), *added.values()))


def _absent(values: list[Any]) -> Absent | None:
    return next((value for value in values if isinstance(value, Absent)), None)
