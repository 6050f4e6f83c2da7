# SPDX-License-Identifier: LGPL-2.1-or-later
"""What time is it in that kernel: HZ, jiffies and CLOCK_MONOTONIC, found in the kernel itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drgn import Object, Program

__all__ = ("Clock", "find_hz", "monotonic_ns")


@dataclass(frozen=True, slots=True)
class Clock:
    """The kernel's now. ``jiffies`` is the 64-bit counter, ``mono_ns`` CLOCK_MONOTONIC at the last tick."""

    hz: int
    jiffies: int
    mono_ns: int
    ulong_max: int = 0xFFFFFFFFFFFFFFFF


def find_hz(prog: Program) -> int:
    """HZ as the jiffies clocksource was set up with (kernel/time/jiffies.c, ``clocksource_jiffies``)."""
    source = prog["clocksource_jiffies"]
    nanoseconds = int(source.mult) >> int(source.shift)
    return round(1_000_000_000 / nanoseconds)


def timekeeper(prog: Program) -> Object:
    """The core ``struct timekeeper``: ``timekeeper_data[0]`` since v6.17, else ``tk_core``."""
    try:
        return prog["timekeeper_data"][0].timekeeper
    except KeyError:
        return prog["tk_core"].timekeeper


def monotonic_ns(keeper: Object) -> int:
    """CLOCK_MONOTONIC in nanoseconds at the last tick (``timekeeping_get_ns`` without the cycles since)."""
    base = keeper.tkr_mono.read_()
    return int(base.base) + (int(base.xtime_nsec) >> int(base.shift))
