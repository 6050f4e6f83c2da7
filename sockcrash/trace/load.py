# SPDX-License-Identifier: LGPL-2.1-or-later
"""How busy the traced calls are: above some rate their values are left out, so that the callers are slowed less."""

from __future__ import annotations

from sockcrash.model import Absent, Reason

__all__ = ("MOST_CALLS", "SHED", "Load")

MOST_CALLS = 20_000
"""Calls a second, of all traced threads together, above which values are not fetched."""

_FEW_CALLS = MOST_CALLS // 4
_WINDOW_NS = 100_000_000  # a burst that is over sooner than it is told does not count
_CALM_NS = 1_000_000_000

SHED = Absent(Reason.UNREADABLE, f"not fetched: more than {MOST_CALLS} calls a second")
"""The value of a call that was seen by the light event."""


class Load:
    """Counts calls from ``now`` on (ns of any clock that goes forward)."""

    def __init__(self, now: int) -> None:
        self.is_high = False
        self._since = self._busy = now
        self._calls = 0

    def add(self, now: int, calls: int) -> bool:
        """Take the number of calls since the last time; whether values are to be left out from now on.

        That begins after a tenth of a second of more than MOST_CALLS a second, and ends after a second of less than a
        quarter of that.
        """
        self._calls += calls
        span = now - self._since
        if span < _WINDOW_NS:
            return self.is_high
        rate = self._calls * 1_000_000_000 / span
        if rate >= _FEW_CALLS:
            self._busy = now
        self.is_high = rate > MOST_CALLS or (self.is_high and now - self._busy < _CALM_NS)
        self._since, self._calls = now, 0
        return self.is_high
