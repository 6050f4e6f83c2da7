# SPDX-License-Identifier: LGPL-2.1-or-later
"""One socket as sockcrash shows it against what ss printed just before and just after: key by key, with a verdict."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from oracle.clock import LAG, SLACK, Fit, Looks, Window, age, never, timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ("Compared", "Sample", "Verdict", "compare", "summary")

AGES = frozenset({"lastsnd", "lastrcv", "lastack"})
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Verdict(Enum):
    """How a key fared. AGED: equal once the time between the two looks was added; LATE: jiffies lagged in one look."""

    EQUAL = "equal"
    AGED = "aged"
    LATE = "late"
    MOVED = "moved"
    SKIPPED = "skipped"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Sample:
    """What ss printed of a socket, and when."""

    keys: Mapping[str, str]
    when: Window


@dataclass(frozen=True, slots=True)
class Compared:
    """One key of one socket."""

    who: str
    key: str
    verdict: Verdict
    ours: str | None
    before: str | None
    after: str | None
    why: str = ""

    def __str__(self) -> str:
        values = f"ours {self.ours!r}, ss before {self.before!r}, after {self.after!r}"
        return f"{self.who} {self.key}: {values} {self.why}".rstrip()


def compare(
    who: str,
    ours: Mapping[str, str | None],
    before: Sample,
    after: Sample | None,
    at: Window,
    ages: frozenset[str] = AGES,
    flickering: frozenset[str] = frozenset(),
    skipped: Mapping[str, str] = {},
) -> list[Compared]:
    """Every key that any of the three has. ``at``: when our memory was read.

    Without ``after`` (the kernel crashed) the last look is taken to have stayed true, but for what passes with time.

    Keys that are ``flickering`` may differ from two equal looks if the socket was at work between them; ``skipped``
    says why a key is not compared.
    """
    if after is None:
        after = Sample(
            {key: _passed(ours.get(key), told, key, ages) for key, told in before.keys.items()}, at
        )
    names = dict.fromkeys([*before.keys, *after.keys, *ours])
    found = [
        Compared(
            who,
            name,
            Verdict.SKIPPED,
            ours.get(name),
            before.keys.get(name),
            after.keys.get(name),
            skipped[name],
        )
        if name in skipped
        else _one(who, name, ours, before, after, at, ages)
        for name in names
    ]
    if not any(one.verdict is Verdict.MOVED for one in found):
        return found
    return [
        replace(one, verdict=Verdict.SKIPPED, why="went and came back between two looks")
        if one.key in flickering and one.verdict is Verdict.WRONG
        else one
        for one in found
    ]


def _passed(mine: str | None, told: str, key: str, ages: frozenset[str]) -> str:
    """What a look at the very moment of ours would have shown of what passes with time; else what was told before."""
    return mine if mine is not None and (key in ages or key == "timer") else told


def _one(
    who: str,
    name: str,
    ours: Mapping[str, str | None],
    before: Sample,
    after: Sample,
    at: Window,
    ages: frozenset[str],
) -> Compared:
    mine, early, late = ours.get(name), before.keys.get(name), after.keys.get(name)
    if mine == early == late == "0":
        verdict = Verdict.EQUAL
    elif name in ages and name in ours and mine is None:
        counted = never(int(early or 0), before.when) and never(int(late or 0), after.when)
        verdict = Verdict.AGED if counted else Verdict.WRONG
    elif name in ages:
        verdict = _timed(age, int(mine or 0), int(early or 0), int(late or 0), before.when, after.when, at)
    elif name == "timer":
        verdict = (
            Verdict.EQUAL
            if mine == early == late
            else _timed(timer, mine, early, late, before.when, after.when, at)
        )
    elif early == late:
        verdict = Verdict.EQUAL if mine == early else Verdict.WRONG
    else:
        verdict = Verdict.MOVED if _between(mine, early, late) else Verdict.WRONG
    return Compared(who, name, verdict, mine, early, late)


def _timed(
    rule: Callable[[Any, Any, Any, Looks, float], Fit], mine: Any, early: Any, late: Any, *windows: Window
) -> Verdict:
    """What passes with time: as exactly as ticks allow, else as the late jiffies of a busy host allow."""
    looks = Looks(*windows)
    strict = rule(mine, early, late, looks, SLACK)
    if strict is not Fit.NEITHER:
        return Verdict.AGED if strict is Fit.BOTH else Verdict.MOVED
    return {Fit.BOTH: Verdict.LATE, Fit.CHANGED: Verdict.MOVED, Fit.NEITHER: Verdict.WRONG}[
        rule(mine, early, late, looks, LAG)
    ]


def _between(mine: str | None, early: str | None, late: str | None) -> bool:
    """Whether each number of ours lies between those of ss, and the words around them are those of either."""
    if mine in (early, late):
        return True
    present = [text for text in (mine, early, late) if text is not None]
    frames = {NUMBER.sub("#", text) for text in present}
    if len(frames) > 1 or not NUMBER.search(present[0]):
        return False
    ranks = [_numbers(text, len(NUMBER.findall(present[0]))) for text in (mine, early, late)]
    return all(min(a, b) <= x <= max(a, b) for x, a, b in zip(*ranks, strict=True))


def _numbers(text: str | None, count: int) -> list[float]:
    """The numbers of a value; ss leaves a key out when they are 0."""
    return [0.0] * count if text is None else [float(number) for number in NUMBER.findall(text)]


def summary(found: Iterable[Compared]) -> tuple[float, str]:
    """The part of all keys that were equal, and a text that says of each key what became of it."""
    counts: dict[str, Counter[Verdict]] = defaultdict(Counter)
    reasons: dict[str, str] = {}
    for one in found:
        counts[one.key][one.verdict] += 1
        reasons[one.key] = one.why or reasons.get(one.key, "")
    total = sum((Counter(row) for row in counts.values()), Counter[Verdict]())
    equal = total[Verdict.EQUAL] + total[Verdict.AGED]
    share = equal / total.total()
    lines = [
        f"{total.total()} fields: {equal} equal ({share:.2%}; {total[Verdict.AGED]} of them after adding the time "
        f"between), {total[Verdict.LATE]} within the lag of jiffies, {total[Verdict.MOVED]} moved and lie between, "
        f"{total[Verdict.SKIPPED]} not compared, "
        f"{total[Verdict.WRONG]} wrong"
    ]
    for key, row in sorted(counts.items()):
        others = [
            f"{row[verdict]} {verdict.value}"
            for verdict in Verdict
            if row[verdict] and verdict != Verdict.EQUAL
        ]
        if others:
            lines.append(f"  {key}: {row[Verdict.EQUAL]} equal, {', '.join(others)} {reasons[key]}".rstrip())
    return share, "\n".join(lines)
