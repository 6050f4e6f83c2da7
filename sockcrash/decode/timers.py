# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which timers of a socket run, and when they fire.

A cleared transmit timer stays armed: ``icsk_pending`` (include/net/inet_connection_sock.h, inet_csk_clear_xmit_timer)
is the gate, and ``icsk_ack.pending`` bit 1 that of the delayed acknowledgement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.model import Absent, Reason, Section, Timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.clock import Clock

__all__ = ("INPUTS", "minisock_timers", "tcp_timers")

_STOPPED = Absent(Reason.NOT_APPLICABLE, "not running")
# ICSK_TIME_RETRANS, _PROBE0, _LOSS_PROBE, _REO_TIMEOUT
_XMIT = {1: "retransmit", 3: "persist", 5: "loss-probe", 6: "rack-reorder"}
_OTHERS = ("delayed-ack", "keepalive", "fin-wait2", "pacing", "compressed-ack", "time-wait", "syn-ack")
_IDLE = {name: Timer(name, False, _STOPPED) for name in (*_XMIT.values(), *_OTHERS)}
_NONE_RUNS = tuple(_IDLE[name] for name in (*_XMIT.values(), *_OTHERS[:5]))
_DELACK_TIMER = 2  # ICSK_ACK_TIMER
_CLEARED = (0, 0, 0, 0, 0)
_ARMED = ("keepalive_armed", "pacing_state", "compressed_ack_state")
# of the tcp section
INPUTS = ("icsk_pending", "icsk_ack.pending")


def tcp_timers(clock: Clock, tcp: Section, timers: Section, *, closed: bool) -> tuple[Timer, ...]:
    """Every timer of a full TCP socket, those that don't run included.

    ``closed``: in FIN_WAIT2, and nobody has it open: then keepalive's timer counts the time that the peer has.
    """
    armed, pacing, compressed = timers.pick(_ARMED)
    event, pending = tcp.pick(INPUTS)
    if (armed, event, pending, pacing, compressed) == _CLEARED:
        return _NONE_RUNS
    xmit = [
        _timer(clock, name, _equal(event, number), timers["xmit_expires"]) for number, name in _XMIT.items()
    ]
    delack = _bit(pending, _DELACK_TIMER)
    expires = timers["keepalive_expires"]
    return (
        *xmit,
        _timer(clock, "delayed-ack", delack, timers["delack_expires"]),
        _timer(clock, "keepalive", 0 if closed else armed, expires),
        _timer(clock, "fin-wait2", armed if closed else 0, expires),
        _timer(clock, "pacing", pacing, timers["pacing_expires"], _of_ns),
        _timer(clock, "compressed-ack", compressed, timers["compressed_ack_expires"], _of_ns),
    )


def _equal(value: int | Absent, number: int) -> int | Absent:
    return value if isinstance(value, Absent) else value == number


def _bit(value: int | Absent, mask: int) -> int | Absent:
    return value if isinstance(value, Absent) else value & mask


def _of_jiffies(clock: Clock, expires: int) -> int:
    left = (expires - clock.jiffies + (1 << 63) & (1 << 64) - 1) - (1 << 63)
    return left * 1000 // clock.hz


def _of_ns(clock: Clock, expires: int) -> int:
    """Of nanoseconds of CLOCK_MONOTONIC."""
    return (expires - clock.mono_ns) // 1_000_000


def _timer(
    clock: Clock,
    name: str,
    armed: int | Absent,
    expires: int | Absent,
    ms_left: Callable[[Clock, int], int] = _of_jiffies,
) -> Timer:
    """A timer of which the expiry is in a unit that ``ms_left`` knows."""
    if isinstance(armed, Absent):
        return Timer(name, armed if armed.lost else False, armed)
    if not armed:
        return _IDLE[name]
    if isinstance(expires, Absent):
        return Timer(name, True, expires)
    if clock.lost is not None:
        return Timer(name, True, clock.lost)
    return Timer(name, True, ms_left(clock, expires))


def minisock_timers(clock: Clock, mini: Section) -> tuple[Timer, ...]:
    """The one timer of a TIME_WAIT or NEW_SYN_RECV object."""
    if "tw_timer_armed" in mini:
        return (_timer(clock, "time-wait", mini["tw_timer_armed"], mini["tw_timer_expires"]),)
    return (_timer(clock, "syn-ack", mini["rsk_timer_armed"], mini["rsk_timer_expires"]),)
