# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernel's timers will do one after the other if nothing else happens, until it gives up.

Pure functions on numbers: times are jiffies from now on, ages in ms (net/ipv4/tcp_timer.c).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sockcrash.model.waiting import Step

__all__ = (
    "Keepalive",
    "Limit",
    "Probing",
    "Retransmitting",
    "keepalive",
    "probing",
    "retransmitting",
    "wheel",
)

_MOST_STEPS = 1024
_LEVEL = 8  # a level of the timer wheel is so many times as coarse as the one below (kernel/time/timer.c)
_SLOTS = 63
_LEVELS = 9
_THIN_RETRIES = 6  # TCP_THIN_LINEAR_RETRIES


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that ends a connection: which sysctl or option it comes from."""

    name: str
    value: int


def wheel(delay: int) -> int:
    """How many jiffies late a timer may fire that is set ``delay`` jiffies ahead: the grain of its level."""
    grain, reach = 1, _SLOTS
    for _ in range(_LEVELS - 1):
        if delay < reach:
            break
        grain, reach = grain * _LEVEL, reach * _LEVEL
    return grain


@dataclass(frozen=True, slots=True)
class Retransmitting:
    """A socket with data in flight. ``left``: until its timer fires; ``set_for``: what that was set to.

    ``since``: ms since the first retransmission, None before it. ``first``: what the timer does before that, if it is
    no retransmission. ``boundary``: the limit by the state of things, given RTO. ``tries_limit``: of those SYN that are
    counted. ``linear``: so many time-outs don't double the RTO. ``quiet``: jiffies since the peer said something, if it
    has closed its window on data in flight.
    """

    hz: int
    left: int
    rto: int
    rto_max: int
    base: int
    tries: int
    since: int | None
    boundary: Callable[[int], Limit]
    what: str = "sends the oldest segment again"
    first: str = ""
    user_timeout: int = 0
    tries_limit: Limit | None = None
    linear: int = 0
    linear_so_far: int = 0
    thin: bool = False
    quiet: int | None = None
    late: bool = False


def retransmitting(case: Retransmitting) -> tuple[int, Limit, tuple[Step, ...]]:
    """When it gives up (jiffies), what decides, the steps until then (tcp_retransmit_timer, tcp_write_timeout)."""
    hz, rto, tries, since = case.hz, case.rto, case.tries, case.since
    at = max(0, case.left) + (wheel(case.rto) if case.late else 0)
    total = case.linear_so_far
    steps: list[Step] = []
    if case.first:
        steps.append(Step(_ms(at, hz), case.first))
        at += rto
    for _ in range(_MOST_STEPS):
        over = _over(case, at, rto, tries, since)
        if over is not None:
            return at, over, tuple(steps)
        tries += case.quiet is None
        total += 1
        steps.append(Step(_ms(at, hz), case.what))
        if since is None:
            since = -_ms(at, hz)
        if not (case.thin and tries <= _THIN_RETRIES) and total > case.linear:
            rto = min(rto << 1, case.rto_max)
        delay = rto
        if case.user_timeout:
            delay = max(1, min(rto, (case.user_timeout - _ms(at, hz) - since) * hz // 1000))
        at += delay + (wheel(delay) if case.late else 0)
    return at, case.boundary(rto), tuple(steps)


def _over(case: Retransmitting, at: int, rto: int, tries: int, since: int | None) -> Limit | None:
    """What ends it when the timer fires (retransmits_timed_out)."""
    if case.quiet is not None:
        return _window_shut(case, at, 0 if since is None else _ms(at, case.hz) + since)
    if case.tries_limit is not None and tries >= case.tries_limit.value:
        return case.tries_limit
    if not tries or since is None:
        return None
    passed = _ms(at, case.hz) + since
    if case.user_timeout:
        return Limit("TCP_USER_TIMEOUT", case.user_timeout) if passed >= case.user_timeout else None
    limit = case.boundary(rto)
    return limit if passed >= _ms(model_timeout(limit.value, case.base, case.rto_max), case.hz) else None


def _window_shut(case: Retransmitting, at: int, passed: int) -> Limit | None:
    """The same of data in flight into a window that was closed afterwards (tcp_rtx_probe0_timed_out, since v6.6)."""
    if case.user_timeout and passed > case.user_timeout:
        return Limit("TCP_USER_TIMEOUT", case.user_timeout)
    patience = 2 * _ms(case.rto_max, case.hz)
    over = _ms(at + (case.quiet or 0), case.hz) > patience and passed > patience
    return Limit("twice the largest RTO", patience) if over else None


def model_timeout(boundary: int, base: int, rto_max: int) -> int:
    """How long ``boundary`` retransmissions take that begin with an RTO of ``base`` jiffies (tcp_model_timeout)."""
    linear = (rto_max // base).bit_length() - 1
    if boundary <= linear:
        return ((2 << boundary) - 1) * base
    return ((2 << linear) - 1) * base + (boundary - linear) * rto_max


@dataclass(frozen=True, slots=True)
class Probing:
    """A socket that waits for a window. ``since``: jiffies since the first probe, None before it."""

    hz: int
    left: int
    rto: int
    rto_max: int
    rto_min: int
    probes: int
    backoff: int
    since: int | None
    retries: int
    limit: Callable[[bool], Limit]
    orphan: bool = False
    user_timeout: int = 0
    late: bool = False


def probing(case: Probing) -> tuple[int, Limit, tuple[Step, ...]]:
    """As ``retransmitting``, of zero-window probes (tcp_probe_timer, tcp_send_probe0)."""
    probes, backoff, since = case.probes, case.backoff, case.since
    patience = case.user_timeout * case.hz // 1000
    at = max(0, case.left) + (wheel(case.left) if case.late else 0)
    steps: list[Step] = []
    for _ in range(_MOST_STEPS):
        if since is None:
            since = -at
        elif patience and at + since >= patience:
            return at, Limit("TCP_USER_TIMEOUT", case.user_timeout), tuple(steps)
        alive = min(case.rto << backoff, case.rto_max) < case.rto_max
        limit = case.limit(alive)
        if (case.orphan and not alive and backoff >= limit.value) or probes >= limit.value:
            return at, limit, tuple(steps)
        steps.append(Step(_ms(at, case.hz), "probes the closed window"))
        probes += 1
        backoff += backoff < case.retries
        steepest = (case.rto_max // case.rto_min).bit_length()
        delay = min(max(case.rto, case.rto_min) << min(backoff, steepest), case.rto_max)
        if patience:
            delay = min(delay, max(patience - at - since, 2))
        at += delay + (wheel(delay) if case.late else 0)
    return at, case.limit(True), tuple(steps)


@dataclass(frozen=True, slots=True)
class Keepalive:
    """An idle socket with SO_KEEPALIVE. ``quiet``: jiffies since something came."""

    hz: int
    left: int
    quiet: int
    time: int
    interval: int
    probes: int
    limit: Limit
    user_timeout: int = 0
    late: bool = False


def keepalive(case: Keepalive) -> tuple[int, Limit, tuple[Step, ...]]:
    """As ``retransmitting``, of keepalive probes (tcp_keepalive_timer)."""
    probes = case.probes
    at = max(0, case.left) + (wheel(case.left) if case.late else 0)
    steps: list[Step] = []
    for _ in range(_MOST_STEPS):
        quiet = case.quiet + at
        if quiet < case.time:
            delay = case.time - quiet
        else:
            if case.user_timeout:
                if quiet >= case.user_timeout * case.hz // 1000 and probes > 0:
                    return at, Limit("TCP_USER_TIMEOUT", case.user_timeout), tuple(steps)
            elif probes >= case.limit.value:
                return at, case.limit, tuple(steps)
            steps.append(Step(_ms(at, case.hz), "asks whether the peer is there"))
            probes += 1
            delay = case.interval
        at += delay + (wheel(delay) if case.late else 0)
    return at, case.limit, tuple(steps)


def _ms(jiffies: int, hz: int) -> int:
    return jiffies * 1000 // hz
