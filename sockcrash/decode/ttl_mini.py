# SPDX-License-Identifier: LGPL-2.1-or-later
"""When the kernel drops a mini socket: a TIME_WAIT object by its timer, a request after its SYN-ACKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.decode.ladder import Limit, wheel
from sockcrash.kernel.fields_tcp import LISTENER
from sockcrash.kernel.options import settings
from sockcrash.model import Absent, Reason, Section
from sockcrash.model.waiting import GivesUp, Step

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Timer

__all__ = ("mini_gives_up",)

_NO_TIMER = Absent(Reason.NOT_APPLICABLE, "no timer runs that could end it")
_NO_LISTENER = Absent(Reason.NOT_APPLICABLE, "its listener is not known")
_RTO_MAX = 120  # TCP_RTO_MAX in seconds, where a listener has no member for it
_MOST = 256  # num_timeout is a u8


def mini_gives_up(kernel: Kernel, mini: Section, state: str, net: int, timer: Timer) -> GivesUp | Absent:
    """When a TIME_WAIT or NEW_SYN_RECV object in the namespace ``net`` goes."""
    left = timer.expires_in_ms
    if isinstance(left, Absent):
        return _NO_TIMER if not timer.pending else left
    hz = kernel.clock().hz
    if "tw_substate" in mini:
        at = max(0, left)
        latest = at + wheel(at * hz // 1000) * 1000 // hz
        waits = "fin-wait2" if state == "FIN_WAIT2" else "time-wait"
        unless = (
            "unless the peer closes too" if state == "FIN_WAIT2" else "unless the peer sends its FIN again"
        )
        return GivesUp(waits, at, latest, "the timer that was set when it began", None, unless, "gone")
    try:
        return _request(kernel, mini, net, left)
    except drgn.FaultError as error:
        return kernel.unreadable(error)


def _request(kernel: Kernel, mini: Section, net: int, left: int) -> GivesUp | Absent:
    """net/ipv4/inet_connection_sock.c, reqsk_timer_handler() and syn_ack_recalc()."""
    if not mini["listener"] or isinstance(mini["listener"], Absent):
        return _NO_LISTENER
    (listener,) = kernel.reader(LISTENER).sections(mini["listener"])
    hz = kernel.clock().hz
    limit = _limit(kernel, listener, net)
    if isinstance(limit, Absent):
        return limit
    first = hz if isinstance(mini["timeout"], Absent) else mini["timeout"]
    rto_max = _RTO_MAX * hz if isinstance(listener["icsk_rto_max"], Absent) else listener["icsk_rto_max"]
    defer, acked, timeouts = listener["rskq_defer_accept"], mini["acked"], mini["num_timeout"]
    at = max(0, left) * hz // 1000
    late = at + wheel(at)
    steps: list[Step] = []
    while timeouts < min(limit.value, _MOST):
        sends = not acked or timeouts >= defer - 1
        steps.append(
            Step(at * 1000 // hz, "sends the SYN-ACK again" if sends else "goes on waiting for data")
        )
        timeouts += 1
        delay = min(first << timeouts, rto_max)
        at, late = at + delay, late + delay + wheel(delay)
    return GivesUp(
        "handshake",
        at * 1000 // hz,
        late * 1000 // hz,
        limit.name,
        limit.value,
        "unless the peer completes the handshake",
        "forgotten",
        tuple(steps),
    )


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
