# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a record says of that which waits in a socket: queues, buffers, and when the kernel gives up waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockcrash.model import Absent

__all__ = ("GivesUp", "Queue", "Run", "Segment", "Step")


@dataclass(frozen=True, slots=True)
class Step:
    """What the kernel will do in so many ms, if nothing happens before."""

    in_ms: int
    does: str


@dataclass(frozen=True, slots=True)
class GivesUp:
    """When the kernel will end a connection by itself if nothing changes, and what decides that.

    ``because`` of what it waits for. ``decided_by``: the sysctl or option that sets the limit, which is ``limit`` in
    its own unit. ``unless``: what would start the count anew. ``then``: what becomes of the socket. ``steps`` until
    then, the end not included. ``waited_ms``: since the first retransmission, probe or SYN, or the last word of an idle
    peer; None where there was none.
    """

    because: str
    in_ms: int
    decided_by: str
    limit: int | None
    unless: str
    then: str
    steps: tuple[Step, ...] = ()
    waited_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring bytes of a stream that fare alike, from ``start`` up to ``end``, and how.

    ``fate``: in-flight, sacked, lost, retransmitted; out-of-order in the receiver's queue.
    """

    start: int
    end: int
    fate: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One buffer of a queue, or one socket that waits to be accepted; None where its queue has no such thing.

    ``start`` and ``end`` are sequence numbers relative to the queue's ``base``. ``flags`` are those of the TCP header,
    ``marks`` what the sender knows of it. ``segments``: how many are sent of it. ``fds``: descriptors with it.
    ``error``: errno and origin of a message of the error queue. ``payload``: its first bytes, where asked for.
    """

    address: int
    length: int
    truesize: int
    start: int | None = None
    end: int | None = None
    segments: int | None = None
    flags: tuple[str, ...] | None = None
    marks: tuple[str, ...] | None = None
    age_ms: int | Absent | None = None
    fds: int | Absent | None = None
    error: tuple[int, int] | None = None
    payload: bytes | Absent | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of a socket: buffers, their payload bytes that still count, and the memory they are charged for.

    Of the accept and SYN queue ``skbs`` counts sockets and requests, and ``limit`` is how many there may be. ``base``
    is the sequence number that the others are relative to, by name and value. ``runs`` are there for the TCP queues
    whose data have a fate, ``segments`` when they were asked for, at most MOST_SEGMENTS.
    """

    name: str
    skbs: int | Absent
    bytes: int | Absent | None = None
    truesize: int | Absent | None = None
    limit: int | Absent | None = None
    base: tuple[str, int] | Absent | None = None
    fds: int | Absent | None = None
    runs: tuple[Run, ...] | Absent | None = None
    segments: tuple[Segment, ...] | None = None
