# SPDX-License-Identifier: LGPL-2.1-or-later
"""What time is it in that kernel: HZ, jiffies and CLOCK_MONOTONIC, found in the kernel itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import TargetError
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from drgn import Object, Program

__all__ = ("Clock", "read_clock", "timekeeper")


@dataclass(frozen=True, slots=True)
class Clock:
    """The kernel's now, at the last tick. ``lost`` says why it is not known, where its memory is unreadable."""

    hz: int
    ticks: int
    monotonic: int
    lost: Absent | None = None
    ulong_max: int = 0xFFFFFFFFFFFFFFFF

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


def read_clock(prog: Program, hz: int | None) -> Clock:
    """What time it is; ``hz`` if it is known already."""
    try:
        keeper = timekeeper(prog)
        hz = hz or _find_hz(prog, keeper)
        return Clock(hz, int(prog["jiffies_64"]), _monotonic_ns(keeper))
    except drgn.FaultError as error:
        if hz is None:
            hz = _find_hz(prog, None)
        return Clock(
            hz, 0, 0, Absent(Reason.UNREADABLE, f"the kernel's clock: no memory at {error.address:#x}")
        )


def _find_hz(prog: Program, keeper: Object | None) -> int:
    """HZ as the jiffies clocksource was set up with (kernel/time/jiffies.c), else by the length of a tick."""
    try:
        source = prog["clocksource_jiffies"].read_()
        return round(1_000_000_000 / (int(source.mult) >> int(source.shift)))
    except drgn.FaultError as error:
        if keeper is None:
            raise TargetError(
                f"HZ can't be found: {error}", hint="the dump lacks the kernel's own data"
            ) from None
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
