# SPDX-License-Identifier: LGPL-2.1-or-later
"""A text that names sockets, from standard input or a file: ss's output or lines of /proc/net, mixed as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sockcrash.locate import proc_text, ss_text

if TYPE_CHECKING:
    from sockcrash.locate.clue import Clue

__all__ = ("Reading", "line_numbers", "read_text")


@dataclass(slots=True)
class Reading:
    """What was found in a text: clues with the number of their line, and why which lines name nothing."""

    clues: list[tuple[int, Clue]] = field(default_factory=list)
    wrong: dict[str, list[int]] = field(default_factory=dict)

    def refuse(self, line: int, why: str) -> None:
        """A line names nothing."""
        self.wrong.setdefault(why, []).append(line)


@dataclass(slots=True)
class _Record:
    """A record of ss: the number and the text of its first line, what stands below, and why it can't be trusted."""

    number: int
    first: str
    more: list[str] = field(default_factory=list)
    broken: bool = False


def read_text(text: str, byte_order: str = "<") -> Reading:
    """Read all lines; never raises. ``byte_order`` is that of the machine which wrote lines of /proc/net."""
    reading = Reading()
    record: _Record | None = None
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        started = ss_text.STARTS.search(line)
        if record and (started or not line.strip() or proc_text.looks_like(line)):
            _close(reading, record)
            record = None
        if started:
            record = _Record(number, line)
        elif not line.strip() or ss_text.is_header(line) or proc_text.HEADER.match(line):
            continue
        elif proc_text.looks_like(line):
            _add(reading, number, partial(proc_text.clue_of, line, f"/proc/net line {number}", byte_order))
        elif record and line[0].isspace():
            record.more.append(line)
        elif record and ss_text.TAIL.match(line):
            record.broken = True
        else:
            reading.refuse(number, "no socket in it")
    if record:
        _close(reading, record)
    return reading


def _close(reading: Reading, record: _Record) -> None:
    if record.broken:
        reading.refuse(record.number, "a line that was broken in two")
        return
    how = f"ss line {record.number}"
    _add(reading, record.number, partial(ss_text.clue_of, record.first, " ".join(record.more), how))


def _add(reading: Reading, number: int, clue: Callable[[], Clue]) -> None:
    try:
        reading.clues.append((number, clue()))
    except ValueError as error:
        reading.refuse(number, str(error))


def line_numbers(numbers: Iterable[int]) -> str:
    """``line 3`` or ``lines 3, 7-9``, in order."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return f"line{'s' if len(texts) > 1 or '-' in texts[0] else ''} {', '.join(texts)}"
