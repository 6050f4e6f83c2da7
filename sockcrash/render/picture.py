# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sequence spaces of a connection, after figures 3 and 4 of RFC 9293, to scale as far as the labels let it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockcrash.model import Absent, Section, SocketRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.model.waiting import Queue, Run

__all__ = ("picture_lines",)

WIDTH = 78  # of a terminal of 80 columns, without the indent of a record
_INDENT = 4
_LABEL = 12  # columns between two marks at least: a name of a mark, or a signed number of 32 bits
_MOST_ISLANDS = 6
_STATES = (
    "ESTABLISHED",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "CLOSE_WAIT",
    "CLOSING",
    "LAST_ACK",
    "SYN_SENT",
    "SYN_RECV",
)
# What each letter of the strip stands for; of runs that share a column the first one here is shown.
FATES = {"lost": "L", "retransmitted": "R", "sacked": "S", "in-flight": "#", "out-of-order": "O"}
_WORDS = {
    "in-flight": "in flight",
    "sacked": "SACKed",
    "lost": "lost",
    "retransmitted": "sent again",
    "out-of-order": "out of order",
}


@dataclass(frozen=True, slots=True)
class _Area:
    """Bytes between two marks, alike but for ``runs`` in them."""

    start: int
    end: int
    letter: str
    words: str
    runs: tuple[Run, ...] = ()


def picture_lines(record: SocketRecord) -> Iterator[str]:
    """Both spaces, those in which there is something to see; numbers are relative to snd_una and rcv_nxt.

    Of a space of which a part can't be told nothing is drawn.
    """
    if record.kind != "tcp" or record.state not in _STATES:
        return
    queues = {queue.name: queue for queue in record.queues or ()}
    yield from _send(record.tcp, queues)
    if record.state != "SYN_SENT":
        yield from _receive(record.tcp, queues)


def _numbers(tcp: Section, *names: str) -> list[int] | None:
    values = [tcp[name] for name in names]
    return None if any(isinstance(value, Absent) for value in values) else values


def _runs(queues: Mapping[str, Queue], name: str) -> tuple[Run, ...] | None:
    """How the bytes of a queue fare, None where that can't be told."""
    runs = queues[name].runs if name in queues else ()
    return None if isinstance(runs, Absent) else runs or ()


def _send(tcp: Section, queues: Mapping[str, Queue]) -> Iterator[str]:
    found = _numbers(tcp, "snd_una", "unacked_bytes", "send_queue_bytes", "snd_wnd")
    fates = _runs(queues, "retransmit")
    if found is None or fates is None:
        return
    una, sent, written, window = found
    written = max(written, sent)
    if not written:
        return
    marks = {"snd_una": 0, "snd_nxt": sent, "write_seq": written, "window ends": window}
    within = max(sent, min(written, window))
    areas = (
        _Area(0, sent, "#", "in flight", fates),
        _Area(sent, within, ">", "unsent, in the window"),
        _Area(within, written, "!", "unsent, beyond the window"),
        _Area(written, window, ".", "of the window left"),
    )
    yield f"send space, from snd_una {una} on"
    yield from _strip(marks, areas)


def _receive(tcp: Section, queues: Mapping[str, Queue]) -> Iterator[str]:
    found = _numbers(tcp, "rcv_nxt", "receive_queue_bytes", "receive_window_bytes")
    islands = _runs(queues, "out-of-order")
    if found is None or islands is None:
        return
    nxt, unread, window = found
    if not unread and not islands and window:
        return
    far = max((run.end for run in islands), default=0)
    marks = {"copied_seq": -unread, "rcv_nxt": 0, "window ends": window}
    areas = (
        _Area(-unread, 0, "=", "unread"),
        _Area(0, max(window, far), ".", "of the window left", islands),
    )
    yield f"receive space, around rcv_nxt {nxt}"
    yield from _strip(marks, areas)


def _strip(marks: Mapping[str, int], areas: Sequence[_Area]) -> Iterator[str]:
    """The strip, below it the marks by name and number, then what the letters mean and how much there is of each."""
    edges = sorted(
        {
            *marks.values(),
            *(edge for area in areas if area.end > area.start for edge in (area.start, area.end)),
        }
    )
    columns = _columns(edges)
    strip = [" "] * (columns[edges[-1]] + 1)
    for area in areas:
        if area.end > area.start:
            first, last = columns[area.start], columns[area.end]
            strip[first:last] = _drawn(area, last - first)
    strip[columns[edges[-1]]] = "|"
    yield " " * _INDENT + "".join(strip)
    yield from _labels(marks, columns)
    yield from _legend(areas)


def _columns(edges: list[int]) -> dict[int, int]:
    """In which column each edge stands: as many for each stretch as its label takes, the rest by its length."""
    room = WIDTH - _INDENT - _LABEL
    whole = max(edges[-1] - edges[0], 1)
    spare = max(0, room - _LABEL * (len(edges) - 1))
    column, columns = 0, {edges[0]: 0}
    for before, edge in itertools.pairwise(edges):
        column += _LABEL + spare * (edge - before) // whole
        columns[edge] = column
    return columns


def _drawn(area: _Area, width: int) -> list[str]:
    """An area of so many columns: in each the letter of the worst run that touches it."""
    letters = [area.letter] * width
    length = area.end - area.start
    for fate in reversed(FATES):
        for run in area.runs:
            if run.fate != fate:
                continue
            first = (max(run.start, area.start) - area.start) * width // length
            last = -((area.start - min(run.end, area.end)) * width // length)
            letters[first : max(last, first + 1)] = FATES[fate] * (max(last, first + 1) - first)
    return letters[:width]


def _labels(marks: Mapping[str, int], columns: Mapping[int, int]) -> Iterator[str]:
    """A line of carets, the names below them, where some meet one below the other, then the numbers."""
    at: dict[int, list[str]] = {}
    for name, position in marks.items():
        at.setdefault(position, []).append(name)
    yield _placed({columns[position]: "^" for position in at})
    for line in range(max(map(len, at.values()))):
        yield _placed({columns[p]: names[line] for p, names in at.items() if line < len(names)})
    yield _placed({columns[position]: f"{position:+}" if position else "0" for position in at})


def _placed(texts: Mapping[int, str]) -> str:
    line = ""
    for column in sorted(texts):
        line = line.ljust(column) + texts[column]
    return " " * _INDENT + line


def _legend(areas: Sequence[_Area]) -> Iterator[str]:
    parts: list[str] = []
    for area in areas:
        size = area.end - area.start
        if size <= 0:
            continue
        if area.letter == "#" and area.runs:
            parts += _by_fate(area)
            continue
        covered = sum(run.end - run.start for run in area.runs)
        parts.append(f"{area.letter} {max(0, size - covered)} {area.words}")
        parts += _islands(area.runs)
    line = ""
    for part in parts:
        if line and len(line) + 3 + len(part) > WIDTH - _INDENT:
            yield " " * _INDENT + line
            line = ""
        line += f"   {part}" if line else part
    if line:
        yield " " * _INDENT + line


def _by_fate(area: _Area) -> Iterator[str]:
    for fate, letter in reversed(FATES.items()):
        size = sum(run.end - run.start for run in area.runs if run.fate == fate)
        if size:
            yield f"{letter} {size} {_WORDS[fate]}"


def _islands(runs: Sequence[Run]) -> Iterator[str]:
    """What came out of order, by its place."""
    for run in runs[:_MOST_ISLANDS]:
        yield f"{FATES[run.fate]} {run.end - run.start} {_WORDS[run.fate]} at {run.start:+}"
    if len(runs) > _MOST_ISLANDS:
        yield f"and {len(runs) - _MOST_ISLANDS} islands more"
