# SPDX-License-Identifier: LGPL-2.1-or-later
"""Queues for people: what waits in them in a line, or buffer by buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.kernel.uapi import error_name
from sockcrash.model import Absent
from sockcrash.render.units import count, milliseconds, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.model.waiting import Queue, Segment

__all__ = ("queues_line", "queues_table")

_SOCKETS = {"accept": "socket", "syn": "request"}
_NUMBERS = ("from", "to", "bytes", "memory", "packets", "age", "fds")  # to the right
_ORIGINS = {0: "none", 1: "local", 2: "ICMP", 3: "ICMPv6", 4: "timestamp", 5: "zero copy", 6: "launch time"}


def queues_line(queues: tuple[Queue, ...]) -> str:
    """Those that are not empty, in one line; nothing where they are shown buffer by buffer."""
    if any(queue.segments is not None for queue in queues):
        return ""
    return "; ".join(_summary(queue) for queue in queues if _filled(queue))


def _filled(queue: Queue) -> bool:
    return isinstance(queue.skbs, Absent) or bool(queue.skbs) or queue.name in _SOCKETS


def _summary(queue: Queue) -> str:
    if isinstance(queue.skbs, Absent):
        return f"{queue.name} {show(queue.skbs)}"
    if queue.name in _SOCKETS and queue.bytes is None:
        return f"{queue.name} {queue.skbs} of {show(queue.limit)}"
    text = f"{queue.name} {count(queue.bytes or 0, 'byte')} in {count(queue.skbs, 'buffer')}"
    memory = f" ({show(queue.truesize)} of memory)"
    return f"{text}{memory}{_with(queue.fds)}"


def _with(fds: int | Absent | None) -> str:
    if fds is None or fds == 0:
        return ""
    return f" with {show(fds)} descriptors in flight" if fds != 1 else " with a descriptor in flight"


def queues_table(queues: tuple[Queue, ...]) -> Iterator[str]:
    """Every queue that is not empty, buffer by buffer."""
    filled = [queue for queue in queues if queue.skbs or isinstance(queue.skbs, Absent)]
    for queue in filled:
        base = ""
        if isinstance(queue.base, tuple):
            base = f"; sequence numbers relative to {queue.base[0]} {queue.base[1]}"
        yield f"{_summary(queue)}{base}"
        yield from (f"  {line}" for line in _segments(queue))
    if not filled:
        yield "all queues are empty"


def _segments(queue: Queue) -> Iterator[str]:
    segments = queue.segments or ()
    if not segments:
        return
    rows = [_cells(queue, segment) for segment in segments]
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    layout = "  ".join(f"{{{name}:{'>' if name in _NUMBERS else '<'}{widths[name]}}}" for name in names)
    yield layout.format_map({name: name for name in names}).rstrip()
    for row, segment in zip(rows, segments, strict=True):
        yield layout.format_map(row).rstrip()
        if segment.payload is not None:
            yield f"    {_payload(segment.payload)}"
    more = queue.skbs - len(segments) if isinstance(queue.skbs, int) else 0
    if more > 0:
        yield f"and {more} more, which are counted above"


def _cells(queue: Queue, segment: Segment) -> dict[str, str]:
    stream = segment.start is not None and segment.end is not None
    return {
        "address": f"{segment.address:#x}",
        "from": f"{segment.start:+}" if stream else "",
        "to": f"{segment.end:+}" if stream else "",
        "bytes": str(segment.length),
        "memory": "" if queue.name == "accept" and not segment.truesize else str(segment.truesize),
        "packets": str(segment.segments) if segment.segments else "",
        "flags": " ".join(segment.flags or ()),
        "what": ", ".join(segment.marks or ()) + _error(segment.error),
        "age": _age(segment.age_ms),
        "fds": "" if not segment.fds else show(segment.fds),
    }


def _age(age: int | Absent | None) -> str:
    if age is None:
        return ""
    return "unsent" if isinstance(age, Absent) else milliseconds(age)


def _error(error: tuple[int, int] | None) -> str:
    if error is None:
        return ""
    number, origin = error
    return f"{error_name(number)} from {_ORIGINS.get(origin, origin)}" if number or origin else ""


def _payload(data: bytes | Absent) -> str:
    """Bytes as text, what is no printable ASCII as escapes."""
    return show(data) if isinstance(data, Absent) else str(data)[2:-1]
