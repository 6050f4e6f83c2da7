# SPDX-License-Identifier: LGPL-2.1-or-later
"""The events of a trace: what is defined, and by which filters the kernel itself leaves calls out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockcrash.kernel.options.given import FETCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockcrash.kernel.probes import Place

__all__ = ("Event", "Wanted", "events")

_MAXACTIVE = 256  # calls under way at once before ends of calls are missed


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls are asked for; what is empty asks for all. ``options`` and ``levels`` are numbers."""

    pids: tuple[int, ...] = ()
    comms: tuple[str, ...] = ()
    options: tuple[tuple[int, int], ...] = ()
    levels: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """An event to define: ``definition`` has {group} and {event} in it.

    ``light``: whether it is for times of many calls (True), for other times (False) or for all times (None).
    """

    name: str
    definition: str
    filter: str
    place: Place
    light: bool | None = None


def events(places: Sequence[Place], wanted: Wanted) -> Iterator[Event]:
    """The events of these places for the wanted calls; each that is not needed spares every call its time."""
    for place in places:
        if place.returns:
            yield _event(f"r{_MAXACTIVE}", place.name, place, place.fetch, _ended(wanted))
        elif place.value:
            yield from _begins(place, wanted)
        elif place.head:
            yield from _socket(place, wanted)
        else:
            yield _event("p", place.name, place, place.fetch, _comms(wanted))


def _begins(place: Place, wanted: Wanted) -> Iterator[Event]:
    """``enter`` with the value and ``hidden`` without it share the calls; ``light`` stands for both of them."""
    fetched = _fetched()
    asked = [place.only, *_asked(wanted)]
    shown = [_is_fetched(*one) for one in wanted.options] or [True, False]
    if any(shown):
        yield _event("p", place.name, place, (*place.fetch, *place.value), [*asked, fetched], light=False)
    if not all(shown):
        hidden = place.name.replace("enter", "hidden")
        yield _event("p", hidden, place, place.fetch, [*asked, f"!{fetched}"], light=False)
    yield _event("p", place.name.replace("enter", "light"), place, place.fetch, asked, light=True)


def _socket(place: Place, wanted: Wanted) -> Iterator[Event]:
    """``light_socket`` says which socket it is; that is not enough where ends are asked for."""
    light = None if wanted.ports else False
    yield _event("p", place.name, place, (*place.fetch, *place.head), _comms(wanted), light=light)
    if not wanted.ports:
        yield _event("p", f"light_{place.name}", place, place.fetch, _comms(wanted), light=True)


def _event(
    kind: str,
    name: str,
    place: Place,
    fetch: Sequence[str],
    conditions: Sequence[str],
    *,
    light: bool | None = None,
) -> Event:
    text = " && ".join(one for one in conditions if one)
    return Event(name, f"{kind}:{{group}}/{{event}} {place.function} {' '.join(fetch)}", text, place, light)


def _fetched() -> str:
    """A condition on level and optname: the value is read. Never of options that carry secrets or are unknown.

    In ranges, the lowest first: most calls are through after three comparisons.
    """
    return _any(
        f"(level == {level} && {_any(_range(first, end) for first, end in _between(last, secret))})"
        for level, last, secret in FETCHED
    )


def _is_fetched(level: int, number: int) -> bool:
    """What that condition says of one option."""
    return any(level == one and number <= last and number not in secret for one, last, secret in FETCHED)


def _between(last: int, secret: Sequence[int]) -> Iterator[tuple[int | None, int]]:
    """The ranges of numbers up to ``last`` that no secret is in; the first begins nowhere."""
    first: int | None = None
    for number in (*secret, last + 1):
        if first is None or first < number:
            yield first, number - 1
        first = number + 1


def _range(first: int | None, last: int) -> str:
    return f"optname <= {last}" if first is None else f"(optname >= {first} && optname <= {last})"


def _asked(wanted: Wanted) -> list[str]:
    chosen = [f"(level == {level} && optname == {number})" for level, number in wanted.options]
    return [
        _any(chosen) if chosen else "",
        _any(f"level == {level}" for level in wanted.levels) if wanted.levels else "",
        *_comms(wanted),
    ]


def _comms(wanted: Wanted) -> list[str]:
    return [_any(f'COMM == "{comm}"' for comm in wanted.comms)] if wanted.comms else []


def _ended(wanted: Wanted) -> list[str]:
    return [*_comms(wanted), "ret < 0" if wanted.failed else ""]


def _any(conditions: Iterator[str] | Sequence[str]) -> str:
    found = list(conditions)
    return f"({' || '.join(found)})" if len(found) > 1 or not found[0].startswith("(") else found[0]
