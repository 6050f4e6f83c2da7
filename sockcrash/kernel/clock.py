# SPDX-License-Identifier: LGPL-2.1-or-later
"""What time is it in that kernel: HZ, jiffies and CLOCK_MONOTONIC, found in the kernel itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from drgn import Object, Program

__all__ = ("Clock", "read_clock", "timekeeper")


@dataclass(frozen=True, slots=True)
class Clock:
    """The kernel's now, at the last tick. ``lost`` says why it is not known, where its memory is unreadable.

    ``rate`` is HZ, or 0 if that is lost as well.
    """

    rate: int
    ticks: int
    monotonic: int
    lost: Absent | None = None
    ulong_max: int = 0xFFFFFFFFFFFFFFFF

    @property
    def hz(self) -> int:
        """Jiffies per second; FaultError when even that is lost."""
        return self.rate or self._known(0)

    @property
    def jiffies(self) -> int:
        """The 64-bit counter; FaultError when the clock is lost."""
        return self._known(self.ticks)

    @property
    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC in nanoseconds; FaultError when the clock is lost."""
        return self._known(self.monotonic)

    def _known(self, value: int) -> int:
        if self.lost is not None:
            raise drgn.FaultError(self.lost.detail, 0)
        return value


def read_clock(prog: Program, hz: int) -> Clock:
    """What time it is; ``hz`` is 0 if it is not known yet."""
    try:
        keeper = timekeeper(prog)
        hz = hz or _hz_of_clocksource(prog) or _hz_of_tick(keeper)
        return Clock(hz, int(prog["jiffies_64"]), _monotonic_ns(keeper))
    except drgn.FaultError as error:
        lost = Absent(Reason.UNREADABLE, f"the kernel's clock: no memory at {error.address:#x}")
        return Clock(hz or _hz_of_clocksource(prog), 0, 0, lost)


def _hz_of_clocksource(prog: Program) -> int:
    """HZ as the jiffies clocksource was set up with (kernel/time/jiffies.c); 0 where that is unreadable."""
    try:
        source = prog["clocksource_jiffies"].read_()
    except drgn.FaultError:
        return 0
    return round(1_000_000_000 / (int(source.mult) >> int(source.shift)))


def _hz_of_tick(keeper: Object) -> int:
    """HZ by the length of a tick in nanoseconds, which is kept times 2^32 (kernel/time/ntp.c)."""
    return round(1_000_000_000 * (1 << 32) / int(keeper.ntp_tick))


def timekeeper(prog: Program) -> Object:
    """The core ``struct timekeeper``: ``timekeeper_data[0]`` since v6.17, else ``tk_core``."""
    try:
        return prog["timekeeper_data"][0].timekeeper
    except KeyError:
        return prog["tk_core"].timekeeper


def _monotonic_ns(keeper: Object) -> int:
    """CLOCK_MONOTONIC in nanoseconds at the last tick (``timekeeping_get_ns`` without the cycles since)."""
    base = keeper.tkr_mono.read_()
    return int(base.base) + (int(base.xtime_nsec) >> int(base.shift))
