# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values that are computed from several members of a section, added behind them; absent if a member is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Reason, Section

if TYPE_CHECKING:
    from sockcrash.kernel.clock import Clock

__all__ = ("Computed", "amend", "extend", "pointer_text")

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


def amend(section: Section, added: Mapping[str, Any], without: Iterable[str] = ()) -> Section:
    """``section`` with ``added`` values, which replace those of the same name, and ``without`` some."""
    values = {name: value for name, value in section.items() if name not in without} | dict(added)
    return Section({name: number for number, name in enumerate(values)}, tuple(values.values()))


def pointer_text(value: int | Absent) -> str | Absent:
    """A pointer as the hexadecimal string that a user can give to look at what it points to."""
    if isinstance(value, Absent):
        return value
    return f"{value:#x}" if value else NULL


NULL = Absent(Reason.NOT_APPLICABLE, "NULL pointer")


def _absent(values: list[Any]) -> Absent | None:
    return next((value for value in values if isinstance(value, Absent)), None)
