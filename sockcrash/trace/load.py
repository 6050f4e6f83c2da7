# SPDX-License-Identifier: LGPL-2.1-or-later
"""How busy the traced calls are: above some rate less of them is fetched, so that the callers are slowed less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("MOST_CALLS", "SHED", "Load")

MOST_CALLS = 10_000
"""Calls a second, of all traced threads together, above which values and ends of sockets are not fetched: by then these
calls cost a tenth of a CPU."""

_TENTH_NS = 100_000_000
_MOST_IN_TENTH = MOST_CALLS // 10
_FEW_IN_TENTH = _MOST_IN_TENTH // 4
_CALM_NS = 1_000_000_000

SHED = Absent(Reason.UNREADABLE, f"not fetched: more than {MOST_CALLS} calls a second")
"""What is missing of a call that was seen by the light events."""


class Load:
    """Looks at when calls began, and says whether less is to be fetched."""

    def __init__(self) -> None:
        self.is_high = False
        self._times: list[int] = []
        self._busy = 0

    def add(self, now: int, times: Sequence[int], *, behind: bool = False) -> bool:
        """Take the times of calls since the last time (ns, of the clock that says ``now``), in any order.

        Less is fetched from a tenth of a second of more than MOST_CALLS a second on, if it is not over already,
        until for a second no tenth has had more than a quarter of that. ``behind``: there is more that was not read
        yet, so that nobody knows whether it is over.
        """
        found = self._times = [*self._times, *sorted(times)]
        self._busy = max(self._busy, _last(found, _FEW_IN_TENTH))
        if self.is_high:
            self.is_high = behind or now - self._busy < _CALM_NS
        else:
            peak = _last(found, _MOST_IN_TENTH)
            self.is_high = bool(peak) and (behind or now - peak < _TENTH_NS)
        self._times = found[-_MOST_IN_TENTH:]
        return self.is_high


def _last(times: list[int], number: int) -> int:
    """When there last were more than ``number`` calls within a tenth of a second; 0 if there never were."""
    return max(
        (end for begin, end in zip(times, times[number:], strict=False) if end - begin < _TENTH_NS), default=0
    )
