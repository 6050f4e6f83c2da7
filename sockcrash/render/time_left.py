# SPDX-License-Identifier: LGPL-2.1-or-later
"""Timers by what they will do, and when the kernel gives up, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.model import Absent, Reason, SocketRecord, Timer
from sockcrash.render.units import count, milliseconds, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.model.waiting import GivesUp

__all__ = ("ACTIONS", "gives_up_lines", "limit_text", "timers_lines")

# What each timer does when it fires (net/ipv4/tcp_timer.c and others), for a verb behind "in 3 s".
ACTIONS = {
    "retransmit": "the retransmission time-out (RTO): sends the oldest unacknowledged segment again",
    "loss-probe": "the tail loss probe: sends the last segment again, to draw an acknowledgement",
    "rack-reorder": "RACK: takes what was reordered for too long as lost, and sends it again",
    "persist": "the zero-window probe: asks whether the peer's window has opened",
    "delayed-ack": "the delayed acknowledgement: acknowledges what came",
    "keepalive": "keepalive: asks whether the peer is still there, if nothing is in flight",
    "fin-wait2": "the wait for the peer's FIN ends",
    "pacing": "pacing: lets the next segment go",
    "compressed-ack": "sends the selective acknowledgements that were held back",
    "syn-ack": "sends the SYN-ACK again",
    "time-wait": "the object is freed",
}
_HELD = {"retransmit": 3, "loss-probe": 3, "rack-reorder": 3, "persist": 3, "delayed-ack": 4}  # enum tsq_enum
_MOST_STEPS = 4


def timers_lines(record: SocketRecord) -> Iterator[str]:
    """One line for each timer that runs, the soonest first, and one for those of which it can't be told."""
    timers = record.timers or ()
    running = [timer for timer in timers if timer.pending]
    lost = [(timer.name, timer.pending) for timer in timers if isinstance(timer.pending, Absent)]
    for timer in sorted(running, key=_soonest):
        yield f"{_when(timer.expires_in_ms)}: {_action(record, timer)}"
    if lost:
        yield f"{show(lost[0][1])}: {', '.join(name for name, _ in lost)}"
    elif not running:
        yield "none is running"


def _soonest(timer: Timer) -> int:
    return 0 if isinstance(timer.expires_in_ms, Absent) else timer.expires_in_ms


def _action(record: SocketRecord, timer: Timer) -> str:
    if timer.name == "time-wait" and record.state == "FIN_WAIT2":
        return ACTIONS["fin-wait2"]
    if timer.name == "retransmit" and record.state in ("SYN_SENT", "SYN_RECV"):
        return "the retransmission time-out (RTO): sends the SYN again"
    deferred = record.sock.get("sk_tsq_flags", 0)
    if isinstance(deferred, int) and deferred >> _HELD.get(timer.name, 31) & 1:
        return f"{ACTIONS[timer.name]}; it has fired, and waits until the process inside the socket leaves it"
    return ACTIONS[timer.name]


def _when(left: int | Absent) -> str:
    if isinstance(left, Absent):
        return show(left)
    return f"in {milliseconds(left)}" if left >= 0 else f"overdue by {milliseconds(-left)}"


def limit_text(end: GivesUp) -> str:
    """What decides: ``net.ipv4.tcp_retries2 = 15``."""
    if end.limit is None:
        return end.decided_by
    unit = " ms" if end.decided_by in ("TCP_USER_TIMEOUT", "twice the largest RTO") else ""
    return f"{end.decided_by} = {end.limit}{unit}"


def gives_up_lines(end: GivesUp | Absent | None) -> Iterator[str]:
    """When it gives up, what decides, and the steps until then; nothing where that is no question."""
    if end is None:
        return
    if isinstance(end, Absent):
        yield f"never by itself: {end.detail}" if end.reason is Reason.NOT_APPLICABLE else show(end)
        return
    yield f"in {milliseconds(end.in_ms)} ({end.then}), {end.unless}: {limit_text(end)}"
    if end.steps:
        shown = ", ".join(f"{milliseconds(step.in_ms)}" for step in end.steps[:_MOST_STEPS])
        rest = ", ..." if len(end.steps) > _MOST_STEPS else ""
        yield f"until then {count(len(end.steps), 'step')}, in {shown}{rest}"
