# SPDX-License-Identifier: LGPL-2.1-or-later
"""One socket as sockcrash shows it against what ss printed just before and just after: key by key, with a verdict."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ("Compared", "Sample", "Verdict", "Window", "compare", "summary")

AGES = frozenset({"lastsnd", "lastrcv", "lastack"})
TICK = 4  # ms: HZ is 250 in all of them
SLACK = 15 * TICK  # ms: an emulated processor gets its ticks late
JIFFIES_AHEAD = 300_000  # ms: INITIAL_JIFFIES
LAG = 1000  # ms that jiffies may have lost while the machine came up
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
LEFT = re.compile(r"(?:(\d+)min)?(?:(\d+)sec|(\d+)\.(\d{3})ms|(\d{3})ms)?")


class Verdict(Enum):
    """How a key fared. AGED: equal once the time between the two looks was added."""

    EQUAL = "equal"
    AGED = "aged"
    MOVED = "moved"
    SKIPPED = "skipped"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Window:
    """Milliseconds of CLOCK_MONOTONIC between which something was looked at."""

    start: float
    end: float


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
    after: Sample,
    at: Window,
    ages: frozenset[str] = AGES,
    flickering: frozenset[str] = frozenset(),
    skipped: Mapping[str, str] = {},
) -> list[Compared]:
    """Every key that any of the three has. ``at``: when our memory was read.

    Keys that are ``flickering`` may differ from two equal looks if the socket was at work between them; ``skipped``
    says why a key is not compared.
    """
    names = dict.fromkeys([*before.keys, *after.keys, *ours])
    found = [
        Compared(who, name, Verdict.SKIPPED, ours.get(name), before.keys.get(name), after.keys.get(name), skipped[name])
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


def _one(
    who: str, name: str, ours: Mapping[str, str | None], before: Sample, after: Sample, at: Window, ages: frozenset[str]
) -> Compared:
    mine, early, late = ours.get(name), before.keys.get(name), after.keys.get(name)
    if mine == early == late == "0":
        verdict = Verdict.EQUAL
    elif name in ages and name in ours and mine is None:
        verdict = Verdict.AGED if _never(early, before.when) and _never(late, after.when) else Verdict.WRONG
    elif name in ages:
        verdict = _aged(int(mine or 0), int(early or 0), int(late or 0), before.when, after.when, at)
    elif name == "timer":
        verdict = _timer(mine, early, late, before.when, after.when, at)
    elif early == late:
        verdict = Verdict.EQUAL if mine == early else Verdict.WRONG
    else:
        verdict = Verdict.MOVED if _between(mine, early, late) else Verdict.WRONG
    return Compared(who, name, verdict, mine, early, late)


def _never(age: str | None, when: Window) -> bool:
    """Whether the kernel counted from 0, not from an event: jiffies start at -300 s, and lag behind a little."""
    start, end = ((moment - JIFFIES_AHEAD) % (1 << 32) for moment in (when.start - LAG, when.end + SLACK))
    return start <= int(age or 0) <= end


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


def _aged(mine: int, early: int, late: int, before: Window, after: Window, at: Window) -> Verdict:
    """Ages grow with the clock until what they count from happens again."""
    fits_before = at.start - before.end - SLACK <= mine - early <= at.end - before.start + SLACK
    fits_after = after.start - at.end - SLACK <= late - mine <= after.end - at.start + SLACK
    if fits_before and fits_after:
        return Verdict.AGED
    happened_again = late - early < after.start - before.end - SLACK
    since_before = mine <= at.end - before.start + SLACK
    return Verdict.MOVED if happened_again and (fits_before or fits_after or since_before) else Verdict.WRONG


def _timer(
    mine: str | None, early: str | None, late: str | None, before: Window, after: Window, at: Window
) -> Verdict:
    """``(name,left,count)``: what is left shrinks with the clock; a timer may fire and start anew in between."""
    if mine == early == late:
        return Verdict.EQUAL
    parts = [_timer_parts(text) for text in (mine, early, late)]
    same, first, last = parts
    fits_before = first[0::2] == same[0::2] and _left_fits(first[1], same[1], before, at)
    fits_after = last[0::2] == same[0::2] and _left_fits(same[1], last[1], at, after)
    if fits_before and fits_after:
        return Verdict.AGED
    changed = first[0::2] != last[0::2] or not _left_fits(first[1], last[1], before, after)
    return Verdict.MOVED if changed and (fits_before or fits_after) else Verdict.WRONG


def _timer_parts(text: str | None) -> tuple[str, tuple[int, int], int]:
    """Name, what is left (at least, at most: ms), count."""
    if text is None:
        return "", (0, 0), 0
    name, left, count = text.strip("()").split(",")
    match = LEFT.fullmatch(left)
    assert match, f"a time that ss was not known to print: {left!r}"
    minutes, seconds, whole, thousandths, milliseconds = (int(part or 0) for part in match.groups())
    low = minutes * 60_000 + (seconds + whole) * 1000 + thousandths + milliseconds
    grain = 60_000 if minutes > 9 else 1000 if minutes or seconds > 9 else TICK
    return name, (low, low + grain), int(count)


def _left_fits(first: tuple[int, int], then: tuple[int, int], at: Window, later: Window) -> bool:
    """Whether the time left shrank by what passed from ``at`` to ``later``."""
    shortest, longest = later.start - at.end, later.end - at.start
    return max(0, first[0] - longest) - SLACK <= then[1] and then[0] <= max(0, first[1] - shortest) + SLACK


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
        f"between), {total[Verdict.MOVED]} moved and lie between, {total[Verdict.SKIPPED]} not compared, "
        f"{total[Verdict.WRONG]} wrong"
    ]
    for key, row in sorted(counts.items()):
        others = [f"{row[verdict]} {verdict.value}" for verdict in Verdict if row[verdict] and verdict != Verdict.EQUAL]
        if others:
            lines.append(f"  {key}: {row[Verdict.EQUAL]} equal, {', '.join(others)} {reasons[key]}".rstrip())
    return share, "\n".join(lines)
