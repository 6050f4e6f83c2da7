# SPDX-License-Identifier: LGPL-2.1-or-later
"""What passes with time: whether an age or a timer in our memory fits those that ss saw before and after.

The kernel counts in jiffies, which lag behind CLOCK_MONOTONIC while a processor idles or, emulated, waits for its
host; looks are dated by CLOCK_MONOTONIC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

__all__ = ("LAG", "SLACK", "Fit", "Looks", "Window", "age", "never", "timer")

TICK = 4  # ms: HZ is 250 in all of them
SLACK = 5 * TICK  # ms
LAG = 350  # ms that jiffies were seen to lag behind
LOST_AT_BOOT = 1000  # ms that they may have lost while the machine came up
JIFFIES_AHEAD = 300_000  # ms: INITIAL_JIFFIES
LONG = 1000  # ms: in a look that took longer a timer may have fired more than once
LEFT = re.compile(r"(?:(\d+)min)?(?:(\d+)sec|(\d+)\.(\d{3})ms|(\d{3})ms)?")


class Fit(Enum):
    """BOTH looks fit ours, or it CHANGED between them in a way that fits, or NEITHER."""

    BOTH = 2
    CHANGED = 1
    NEITHER = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Milliseconds of CLOCK_MONOTONIC between which something was looked at."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Looks:
    """When the kernel was asked before and after, and when ``at`` our memory was read."""

    before: Window
    after: Window
    at: Window


def never(milliseconds: int, when: Window) -> bool:
    """Whether the kernel counted from 0, not from an event: its jiffies start at -300 s."""
    first, last = when.start - LOST_AT_BOOT, when.end + SLACK
    start, end = ((moment - JIFFIES_AHEAD) % (1 << 32) for moment in (first, last))
    return start <= milliseconds <= end


def age(mine: int, early: int, late: int, looks: Looks, slack: float) -> Fit:
    """Ages grow with the clock until what they count from happens again."""
    before, after, at = looks.before, looks.after, looks.at
    fits_before = at.start - before.end - slack <= mine - early <= at.end - before.start + slack
    fits_after = after.start - at.end - slack <= late - mine <= after.end - at.start + slack
    if fits_before and fits_after:
        return Fit.BOTH
    happened_again = late - early < after.start - before.end - slack
    since_before = mine <= at.end - before.start + slack
    return Fit.CHANGED if happened_again and (fits_before or fits_after or since_before) else Fit.NEITHER


def timer(mine: str | None, early: str | None, late: str | None, looks: Looks, slack: float) -> Fit:
    """``(name,left,count)``: what is left shrinks with the clock; a timer may fire and start anew in between."""
    ours, first, last = (_parts(text) for text in (mine, early, late))
    fits_before = _runs_on(first, ours, looks.before, looks.at, slack)
    fits_after = _runs_on(ours, last, looks.at, looks.after, slack)
    if fits_before and fits_after:
        return Fit.BOTH
    changed = not _runs_on(first, last, looks.before, looks.after, slack)
    often = looks.at.end - looks.at.start > LONG
    return Fit.CHANGED if changed and (fits_before or fits_after or often) else Fit.NEITHER


Parts = tuple[str, int, int, int]


def _parts(text: str | None) -> Parts:
    """Name, count, and what is left (at least, at most: ms)."""
    if text is None:
        return "", 0, 0, 0
    name, left, count = text.strip("()").split(",")
    match = LEFT.fullmatch(left)
    assert match, f"a time that ss was not known to print: {left!r}"
    minutes, seconds, whole, thousandths, milliseconds = (int(part or 0) for part in match.groups())
    low = minutes * 60_000 + (seconds + whole) * 1000 + thousandths + milliseconds
    grain = 60_000 if minutes > 9 else 1000 if minutes or seconds > 9 else TICK
    return name, int(count), low, low + grain


def _runs_on(first: Parts, then: Parts, at: Window, later: Window, slack: float) -> bool:
    """Whether it is the same timer, and what is left shrank by what passed from ``at`` to ``later``."""
    shortest, longest = later.start - at.end, later.end - at.start
    low, high = max(0, first[2] - longest) - slack, max(0, first[3] - shortest) + slack
    return first[:2] == then[:2] and low <= then[3] and then[2] <= high
