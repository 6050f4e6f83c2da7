# SPDX-License-Identifier: LGPL-2.1-or-later
"""What waits in the queues of a socket: how much, which part of the stream, and what became of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import drgn

from sockcrash.decode.accept_queue import listener_queues
from sockcrash.decode.segments import Lane, lanes
from sockcrash.kernel import uapi
from sockcrash.kernel.fields_queue import QUEUES, TCP_QUEUES, UDP_QUEUES
from sockcrash.kernel.skb_data import first_bytes
from sockcrash.kernel.skbuff import listed, tree
from sockcrash.model import Absent, Reason
from sockcrash.model.waiting import Queue, Run, Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.decode.parts import Parts
    from sockcrash.decode.want import Want
    from sockcrash.kernel.layout import Group
    from sockcrash.kernel.skbuff import Skb
    from sockcrash.kernel.view import Kernel

__all__ = ("MOST_SEGMENTS", "queues_of")

# Of a longer queue no more is listed, though all of it is counted.
MOST_SEGMENTS = 1000
_TRIES = 3
_GROUPS: dict[str, tuple[Group, ...]] = {
    "tcp": (QUEUES, TCP_QUEUES),
    "udp": (QUEUES, UDP_QUEUES),
    "udplite": (QUEUES, UDP_QUEUES),
}
_TREES = ("retransmit", "out-of-order")


def queues_of(kernel: Kernel, kind: str, parts: Parts, want: Want, content: bytes = b"") -> tuple[Queue, ...]:
    """Every queue of a full socket, the empty ones included; their buffers one by one if they are wanted.

    ``content``: the socket's first bytes, where they were read just now.
    """
    if kind == "tcp" and parts.identity["skc_state"] == uapi.LISTEN:
        return listener_queues(kernel, parts, want)
    try:
        beginnings = _beginnings(kernel, kind, parts.address, content)
    except drgn.FaultError as error:
        lost = kernel.unreadable(error)
        return tuple(_lost(lane, lost) for lane in lanes(kernel, kind, parts))
    empty = _empty(kernel, kind, parts, want)
    if not beginnings:
        return empty
    return tuple(
        _queue(kernel, kind, parts.address, lane, want) if _place(lane) in beginnings else none
        for lane, none in zip(lanes(kernel, kind, parts), empty, strict=True)
    )


def _place(lane: Lane) -> str:
    """The row of the queue: the clients of a UNIX listener lie in its receive queue."""
    return "receive" if lane.name == "accept" else lane.name


def _beginnings(kernel: Kernel, kind: str, address: int, content: bytes = b"") -> dict[str, tuple[int, int]]:
    """The first buffer or the root of each queue that is not empty, and its head. Raises drgn.FaultError."""
    groups = _GROUPS.get(kind, (QUEUES,))
    reader = kernel.reader(*groups)
    if len(content) < reader.size or kernel.live:
        content = reader.fetch(address)
    found: dict[str, tuple[int, int]] = {}
    decoded = reader.decode(content, kernel.clock(), address)
    for group, index, values in zip(groups, reader.indexes, decoded, strict=True):
        offsets = kernel.offsets(group)
        for name, first in zip(index, values, strict=True):
            if first and first != (head := address + offsets[name]):
                found[name] = (first, head)
    return found


def _empty(kernel: Kernel, kind: str, parts: Parts, want: Want) -> tuple[Queue, ...]:
    """The queues of a socket that has nothing in them; the same for all of its kind."""
    memo: dict[tuple[str, bool, bool], tuple[Queue, ...]] = kernel.cache.setdefault("empty queues", {})
    key = (kind, want.segments, parts.identity["skc_state"] == uapi.LISTEN)
    if key not in memo:
        segments: tuple[Segment, ...] | None = () if want.segments else None
        memo[key] = tuple(
            Queue(lane.name, 0, 0, 0, runs=lane.fate and (), segments=segments)
            for lane in lanes(kernel, kind, parts)
        )
    return memo[key]


def _queue(kernel: Kernel, kind: str, address: int, lane: Lane, want: Want) -> Queue:
    """One queue. That of a running kernel may change while it is followed: then it is tried again."""
    if isinstance(lane.base, Absent):
        return _lost(lane, lane.base)
    lost = Absent(Reason.UNREADABLE)
    for _ in range(_TRIES if kernel.live else 1):
        trouble: list[str] = []
        try:
            found = _buffers(kernel, kind, address, lane, trouble.append)
        except drgn.FaultError as error:
            lost = kernel.unreadable(error)
            continue
        if not trouble:
            return _counted(kernel, lane, found, want)
        lost = Absent(Reason.UNREADABLE if kernel.index is None else Reason.NOT_IN_SNAPSHOT, trouble[0])
    return _lost(lane, lost)


def _lost(lane: Lane, why: Absent) -> Queue:
    """A queue of which nothing can be told."""
    base = why if isinstance(lane.base, Absent) else lane.base
    return Queue(lane.name, why, why, why, base=base, runs=None if lane.fate is None else why)


def _buffers(
    kernel: Kernel, kind: str, address: int, lane: Lane, complain: Callable[[str], None]
) -> list[Skb]:
    name = _place(lane)
    first, head = _beginnings(kernel, kind, address).get(name, (0, 0))
    return list(tree(kernel, first, complain) if name in _TREES else listed(kernel, first, head, complain))


def _counted(kernel: Kernel, lane: Lane, skbs: list[Skb], want: Want) -> Queue:
    segments = [lane.describe(skb) for skb in skbs]
    shown: tuple[Segment, ...] | None = None
    if want.segments:
        shown = tuple(segments[:MOST_SEGMENTS])
    if shown and want.payload:
        shown = tuple(_with_payload(kernel, *pair, want.payload) for pair in zip(shown, skbs, strict=False))
    return Queue(
        lane.name,
        len(segments),
        sum(segment.length for segment in segments),
        sum(segment.truesize for segment in segments),
        base=lane.base,
        fds=_descriptors(segments),
        runs=None if lane.fate is None else _runs(segments, lane.fate),
        segments=shown,
    )


def _with_payload(kernel: Kernel, segment: Segment, skb: Skb, count: int) -> Segment:
    data = first_bytes(kernel, skb.address, skb.len - segment.length, min(count, segment.length))
    return replace(segment, payload=data)


def _descriptors(segments: list[Segment]) -> int | Absent | None:
    """Descriptors in flight in the whole queue."""
    counts = [segment.fds for segment in segments if segment.fds is not None]
    lost = next((count for count in counts if isinstance(count, Absent)), None)
    if lost is not None:
        return lost
    return sum(count for count in counts if isinstance(count, int)) if counts else None


def _runs(segments: list[Segment], fate: Callable[[Segment], str]) -> tuple[Run, ...]:
    """Neighbours that fare alike, as one."""
    runs: list[Run] = []
    for segment in segments:
        start, end, how = segment.start or 0, segment.end or 0, fate(segment)
        if runs and runs[-1].fate == how and runs[-1].end == start:
            runs[-1] = Run(runs[-1].start, end, how)
        else:
            runs.append(Run(start, end, how))
    return tuple(runs)
