# SPDX-License-Identifier: LGPL-2.1-or-later
"""When the kernel drops a mini socket: a TIME_WAIT object by its timer, a request after its SYN-ACKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.decode.ladder import Limit, Wheel, grain_of
from sockcrash.decode.ttl import NO_TIMER, RTO_MAX, TIMEWAIT
from sockcrash.kernel.fields_tcp import LISTENER
from sockcrash.kernel.options import settings
from sockcrash.model import Absent, Reason, Section
from sockcrash.model.waiting import GivesUp, Step

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Timer

__all__ = ("mini_gives_up",)

_NO_LISTENER = Absent(Reason.NOT_APPLICABLE, "its listener is not known")
_MOST = 256  # num_timeout is a u8


def mini_gives_up(kernel: Kernel, mini: Section, state: str, net: int, timer: Timer) -> GivesUp | Absent:
    """When a TIME_WAIT or NEW_SYN_RECV object in the namespace ``net`` goes."""
    left = timer.expires_in_ms
    if isinstance(left, Absent):
        return left if left.lost else NO_TIMER
    clock = kernel.clock()
    wheel = Wheel(clock.jiffies, clock.hz)
    due = -(-left * clock.hz // 1000)
    if "tw_substate" in mini:
        return _timewait(kernel, state, net, wheel, due)
    try:
        return _request(kernel, mini, net, wheel, due)
    except drgn.FaultError as error:
        return kernel.unreadable(error)


def _timewait(kernel: Kernel, state: str, net: int, wheel: Wheel, due: int) -> GivesUp:
    """How long the timer was set for is TIME_WAIT's length, or what the namespace leaves a peer to send its FIN."""
    length = TIMEWAIT * wheel.hz
    limit = Limit("TCP_TIMEWAIT_LEN", TIMEWAIT)
    if state == "FIN_WAIT2":
        patience = settings.read_settings(kernel, net)[settings.TCP_FIN_TIMEOUT.name]
        length = length if isinstance(patience, Absent) else min(patience, length)
        limit = Limit(settings.TCP_FIN_TIMEOUT.name, length // wheel.hz)
    waits = "fin-wait2" if state == "FIN_WAIT2" else "time-wait"
    unless = "unless the peer closes too" if state == "FIN_WAIT2" else "unless the peer sends its FIN again"
    at = wheel.fires(due, grain_of(max(length, due)))
    return GivesUp(waits, wheel.ms(at), limit.name, limit.value, unless, "gone")


def _request(kernel: Kernel, mini: Section, net: int, wheel: Wheel, due: int) -> GivesUp | Absent:
    """net/ipv4/inet_connection_sock.c, reqsk_timer_handler() and syn_ack_recalc()."""
    if not mini["listener"] or isinstance(mini["listener"], Absent):
        return _NO_LISTENER
    (listener,) = kernel.reader(LISTENER).sections(mini["listener"])
    hz = wheel.hz
    limit = _limit(kernel, listener, net)
    if isinstance(limit, Absent):
        return limit
    first = hz if isinstance(mini["timeout"], Absent) else mini["timeout"]
    rto_max = RTO_MAX * hz if isinstance(listener["icsk_rto_max"], Absent) else listener["icsk_rto_max"]
    defer, acked, timeouts = listener["rskq_defer_accept"], mini["acked"], mini["num_timeout"]
    at = wheel.fires(due, grain_of(min(first << timeouts, rto_max)))
    steps: list[Step] = []
    while timeouts < min(limit.value, _MOST):
        sends = not acked or timeouts >= defer - 1
        does = "sends the SYN-ACK again" if sends else "goes on waiting for data"
        steps.append(Step(wheel.ms(at), does))
        timeouts += 1
        at = wheel.after(at, min(first << timeouts, rto_max))
    unless = "unless the peer completes the handshake"
    return GivesUp("handshake", wheel.ms(at), limit.name, limit.value, unless, "forgotten", tuple(steps))


def _limit(kernel: Kernel, listener: Section, net: int) -> Limit | Absent:
    """SYN-ACKs that may go unanswered: fewer while more than half of the queue is not young any more."""
    sysctl = settings.read_settings(kernel, net)[settings.TCP_SYNACK_RETRIES.name]
    own = listener["icsk_syn_retries"]
    if listener["rskq_defer_accept"]:
        return Limit("TCP_DEFER_ACCEPT", listener["rskq_defer_accept"])
    if not own and isinstance(sysctl, Absent):
        return sysctl
    name, value = ("TCP_SYNCNT of the listener", own) if own else (settings.TCP_SYNACK_RETRIES.name, sysctl)
    length, young = listener["accept_queue.qlen"], listener["accept_queue.young"] << 1
    if length << 1 > max(8, listener["sk_max_ack_backlog"]):
        while value > 2 and length >= young:
            value, young = value - 1, young << 1
    return Limit(name, value)
