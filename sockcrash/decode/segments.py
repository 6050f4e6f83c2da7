# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one buffer of a queue says: which bytes of the stream it holds, what became of them, what it carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields_queue import TCP_CB, UNIX_CB
from sockcrash.kernel.skbuff import cb_part, descriptors, error_of
from sockcrash.kernel.units import signed32
from sockcrash.model import Absent, Reason, Section
from sockcrash.model.waiting import Segment

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.skbuff import Skb
    from sockcrash.kernel.view import Kernel

__all__ = ("Lane", "lanes")

Describe = Callable[["Skb"], Segment]
_NOT_SENT = Absent(Reason.NOT_ASSIGNED, "not sent yet")
_UDP = ("udp", "udplite")


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue that a kind of socket has: what its buffers say, and the fate of their bytes if they have one.

    An absent ``base`` is why nothing can be said of them.
    """

    name: str
    describe: Describe
    base: tuple[str, int] | Absent | None = None
    fate: Callable[[Segment], str] | None = None


def lanes(kernel: Kernel, kind: str, parts: Parts) -> tuple[Lane, ...]:
    """The queues of a full socket that is not a TCP listener."""
    last = (Lane("error", _error(kernel)), Lane("backlog", _plain))
    if kind == "tcp":
        return (*_tcp(kernel, parts.own), *last)
    if kind == "unix":
        name = "accept" if parts.identity["skc_state"] == uapi.LISTEN else "receive"
        return (Lane(name, _unix(kernel)), *last)
    reader = (Lane("reader", _plain),) if kind in _UDP else ()
    return (Lane("receive", _plain), *reader, Lane("write", _plain), *last)


def _tcp(kernel: Kernel, tcp: Section) -> tuple[Lane, ...]:
    start, end, read = tcp["snd_una"], tcp["rcv_nxt"], tcp["copied_seq"]
    received, sent = _stream(kernel, end, read), _sent(kernel, start)
    behind = read if isinstance(read, Absent) else _base("rcv_nxt", end)
    before = _base("snd_una", start)
    return (
        Lane("receive", received, behind),
        Lane("out-of-order", received, behind, lambda _: "out-of-order"),
        Lane("write", sent, before),
        Lane("retransmit", sent, before, _fate),
    )


def _base(name: str, value: int | Absent) -> tuple[str, int] | Absent:
    return value if isinstance(value, Absent) else (name, value)


def _plain(skb: Skb) -> Segment:
    return Segment(skb.address, skb.len, skb.truesize)


def _stream(kernel: Kernel, base: int | Absent, done: int | Absent) -> Describe:
    """Segments of a stream, relative to ``base``, of which what lies before ``done`` does not count any more."""
    if isinstance(base, Absent) or isinstance(done, Absent):
        return _plain
    part = cb_part(kernel, TCP_CB)

    def describe(skb: Skb) -> Segment:
        cb = part(skb.cb)
        gone = min(max(0, signed32(done - cb["seq"])), skb.len)
        return Segment(
            skb.address,
            skb.len - gone,
            skb.truesize,
            start=signed32(cb["seq"] - base),
            end=signed32(cb["end_seq"] - base),
            flags=uapi.bits_of(uapi.TCP_FLAGS, cb["tcp_flags"]),
        )

    return describe


def _sent(kernel: Kernel, start: int | Absent) -> Describe:
    part = cb_part(kernel, TCP_CB)
    plain = _stream(kernel, start, start)
    clock = kernel.clock()

    def describe(skb: Skb) -> Segment:
        one, cb = plain(skb), part(skb.cb)
        if not skb.mstamp_ns:
            age: int | Absent = _NOT_SENT
        elif clock.lost is not None:
            age = clock.lost
        else:
            age = max(0, clock.mono_ns - skb.mstamp_ns) // 1_000_000
        return Segment(
            one.address,
            one.length,
            one.truesize,
            one.start,
            one.end,
            segments=cb["tcp_gso_segs"],
            flags=one.flags,
            marks=uapi.bits_of(uapi.TCP_MARKS, cb["sacked"]),
            age_ms=age,
        )

    return describe


def _fate(segment: Segment) -> str:
    """What the sender believes of it: sent again and on its way once more, lost, received, or simply on its way."""
    marks = segment.marks or ()
    if "sacked" in marks:
        return "sacked"
    if "retransmitted" in marks:
        return "retransmitted"
    return "lost" if "lost" in marks else "in-flight"


def _unix(kernel: Kernel) -> Describe:
    part = cb_part(kernel, UNIX_CB)

    def describe(skb: Skb) -> Segment:
        own = part(skb.cb)
        unread = max(0, skb.len - own["consumed"])
        try:
            fds: int | Absent = descriptors(kernel, own["fp"])
        except drgn.FaultError as error:
            fds = kernel.unreadable(error)
        return Segment(skb.address, unread, skb.truesize, fds=fds)

    return describe


def _error(kernel: Kernel) -> Describe:
    return lambda skb: Segment(skb.address, skb.len, skb.truesize, error=error_of(kernel, skb.cb))
