# SPDX-License-Identifier: LGPL-2.1-or-later
"""The account of a trace: how many calls each process made of each option, how many failed, how long they took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sockcrash.trace.load import SHED

if TYPE_CHECKING:
    from sockcrash.trace.call import Call

__all__ = ("Line", "Summary")


@dataclass(slots=True)
class Line:
    """Calls of one process with one option. ``ns``: of the ``timed`` calls whose end was seen."""

    calls: int = 0
    failed: int = 0
    unfinished: int = 0
    ns: int = 0
    timed: int = 0


@dataclass(slots=True)
class Summary:
    """All calls, by (comm, PID, level, option). ``command_status`` is that of the program that was run, if one was.

    ``shed``: calls whose value was not fetched because there were too many calls.
    """

    lines: dict[tuple[str, int | None, str, str], Line] = field(default_factory=dict)
    shed: int = 0
    lost_events: int = 0
    missed_probes: int = 0
    command_status: int | None = None

    def add(self, call: Call) -> None:
        """Count a call."""
        line = self.lines.setdefault((call.comm, call.pid, call.level, call.name), Line())
        line.calls += 1
        self.shed += call.value == SHED
        line.failed += call.result is not None and call.result < 0
        line.unfinished += call.result is None
        if call.ns is not None:
            line.ns += call.ns
            line.timed += 1

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return sum(line.calls for line in self.lines.values())
