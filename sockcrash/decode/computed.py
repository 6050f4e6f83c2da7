# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values that are computed from several members of a section, added behind them; absent if a member is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Names, Reason, Section

if TYPE_CHECKING:
    from sockcrash.kernel.clock import Clock
    from sockcrash.kernel.layout import Group
    from sockcrash.kernel.view import Kernel

__all__ = ("Computed", "Extension", "amend", "append", "computed_values", "extension", "pointer")

# name, the members it is made of, a function of the clock and their values
Computed = tuple[tuple[str, tuple[str, ...], Callable[..., Any]], ...]


class Extension:
    """Computed values behind the sections that one reader makes of a group; ``lost`` are rows that the kernel lacks."""

    def __init__(self, index: Mapping[str, int], computed: Computed, lost: Mapping[str, Absent]) -> None:
        self._computed = computed
        added = [name for name, _, _ in computed]
        self._index = _longer(index, added)
        self._count = len(computed)
        used = {member for _, inputs, _ in computed if _missing(inputs, lost) is None for member in inputs}
        self._used = _picker(sorted(index[member] for member in used))
        self._values = _compiled(index, computed, lost)

    def of(self, section: Section, clock: Clock, *, instead: Absent | None = None) -> Section:
        """``section`` with the computed values; all of them are ``instead`` if that is given."""
        values = section.unpacked
        if instead is not None:
            return Section(self._index, (*values, *(instead,) * self._count), section.holes)
        if Absent in map(type, self._used(values)):
            added = computed_values(section, self._computed, clock)
            return Section(self._index, (*values, *added.values()), section.holes)
        return Section(self._index, self._values(values, clock), section.holes)


def _missing(inputs: Iterable[str], lost: Mapping[str, Absent]) -> Absent | None:
    return next((lost[member] for member in inputs if member in lost), None)


def _compiled(
    index: Mapping[str, int], computed: Computed, lost: Mapping[str, Absent]
) -> Callable[[tuple[Any, ...], Clock], tuple[Any, ...]]:
    """One function that puts all computed values behind the others; what is ``lost`` to it is constant."""
    scope: dict[str, Any] = {}
    made: list[str] = []
    for number, (_, inputs, function) in enumerate(computed):
        missing = _missing(inputs, lost)
        scope[f"f{number}"] = function if missing is None else missing
        arguments = "".join(f", v[{index[member]}]" for member in inputs) if missing is None else ""
        made.append(f"f{number}(c{arguments})" if missing is None else f"f{number}")
    exec(f"def compute(v, c):\n  return (*v, {', '.join(made)}{',' if made else ''})\n", scope)
    compute: Callable[[tuple[Any, ...], Clock], tuple[Any, ...]] = scope["compute"]
    return compute


def _longer(index: Mapping[str, int], added: Iterable[str]) -> Names:
    """The names of a section with some more behind them, which may be absent."""
    more = list(added)
    fixed = index.fixed if isinstance(index, Names) else {}
    maybe = [name for name, _ in index.maybe] if isinstance(index, Names) else list(index)
    return Names([*index, *more], fixed, [*maybe, *more])


def extension(kernel: Kernel, section: Section, group: Group, computed: Computed) -> Extension:
    """The Extension of sections of ``group`` that come from the same reader as ``section``; made once."""
    memo: dict[int, tuple[Mapping[str, int], Extension]] = kernel.cache.setdefault("extensions", {})
    index = section.index
    if id(index) not in memo:
        lost = {bound.field.name: bound.absent for bound in kernel.bounds(group) if bound.absent is not None}
        memo[id(index)] = (index, Extension(index, computed, lost))
    return memo[id(index)][1]


def computed_values(known: Mapping[str, Any], computed: Computed, clock: Clock) -> dict[str, Any]:
    """The computed values alone, by name."""
    added: dict[str, Any] = {}
    for name, inputs, function in computed:
        values = [known[member] for member in inputs]
        missing = next((value for value in values if isinstance(value, Absent)), None)
        added[name] = function(clock, *values) if missing is None else missing
    return added


def _picker(places: list[int]) -> Callable[[Any], tuple[Any, ...]]:
    if len(places) == 1:
        return lambda values: (values[places[0]],)
    return itemgetter(*places) if places else lambda _: ()


def append(kernel: Kernel, section: Section, added: Mapping[str, Any]) -> Section:
    """``section`` with ``added`` values behind it; its new index is made once for each reader."""
    memo: dict[Any, tuple[Mapping[str, int], Names]] = kernel.cache.setdefault("appended", {})
    key = (id(section.index), *added)
    if key not in memo:
        memo[key] = (section.index, _longer(section.index, added))
    return Section(memo[key][1], (*section.unpacked, *added.values()), section.holes)


def amend(section: Section, added: Mapping[str, Any], without: Iterable[str] = ()) -> Section:
    """``section`` with ``added`` values, which replace those of the same name, and ``without`` some."""
    values = {name: value for name, value in section.items() if name not in without} | dict(added)
    return Section({name: number for number, name in enumerate(values)}, tuple(values.values()))


def pointer(value: int | Absent) -> int | Absent:
    """A pointer, absent when it is NULL."""
    return value if isinstance(value, Absent) else value or _NULL


_NULL = Absent(Reason.NOT_APPLICABLE, "NULL pointer")
