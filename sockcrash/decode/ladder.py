# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernel's timers will do one after the other if nothing else happens, until it gives up.

Pure functions on numbers: times are jiffies from now on, ages in ms (net/ipv4/tcp_timer.c). A timer does not fire when
it is due but when its bucket of the timer wheel is (kernel/time/timer.c), and the later it is due the coarser that is.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass

from sockcrash.model.waiting import Step

__all__ = (
    "Keepalive",
    "Limit",
    "Probing",
    "Retransmitting",
    "Wheel",
    "grain_at",
    "grain_of",
    "keepalive",
    "probing",
    "retransmitting",
)

_MOST_STEPS = 1024
# LVL_CLK_DIV: a level of the wheel is so many times as coarse as the one below; LVL_DEPTH, LVL_BITS, TIMER_ARRAYSHIFT
_LEVEL, _LEVELS, _SLOTS_SHIFT, _ARRAY_SHIFT = 8, 9, 6, 22
_REACHES = tuple(((1 << _SLOTS_SHIFT) - 1) * _LEVEL**level for level in range(_LEVELS - 1))  # LVL_START
_THIN_RETRIES = 6  # TCP_THIN_LINEAR_RETRIES


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that ends a connection: which sysctl or option it comes from."""

    name: str
    value: int


def grain_of(delay: int) -> int:
    """The grain of the wheel's level into which a timer goes that is set ``delay`` jiffies ahead (calc_wheel_index)."""
    return int(_LEVEL ** bisect.bisect(_REACHES, delay))


def grain_at(flags: int) -> int:
    """The grain of the level in which a timer waits, as its flags tell (TIMER_ARRAYMASK)."""
    return int(_LEVEL ** min(flags >> _ARRAY_SHIFT >> _SLOTS_SHIFT, _LEVELS - 1))


@dataclass(frozen=True, slots=True)
class Wheel:
    """The jiffies now, on which the buckets' boundaries lie, and HZ."""

    now: int
    hz: int

    def fires(self, due: int, grain: int) -> int:
        """When a timer fires that is ``due`` in so many jiffies: at the next boundary (calc_index)."""
        return ((self.now + max(0, due)) // grain + 1) * grain - self.now

    def after(self, start: int, delay: int) -> int:
        """When a timer fires that is set at ``start``."""
        return self.fires(start + delay, grain_of(delay))

    def ms(self, jiffies: int) -> int:
        """Jiffies as milliseconds."""
        return jiffies * 1000 // self.hz


@dataclass(frozen=True, slots=True)
class Retransmitting:
    """A socket with data in flight. ``left``: until its timer is due, which is in a bucket of that ``grain``.

    ``since``: ms since the first retransmission, None before it. ``first``: what the timer does before that, if it is
    no retransmission. ``boundary``: the limit by the state of things, given RTO. ``tries_limit``: of those SYN that are
    counted. ``linear``: so many time-outs don't double the RTO. ``quiet``: jiffies since the peer said something, if it
    has closed its window on data in flight.
    """

    wheel: Wheel
    left: int
    grain: int
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


def retransmitting(case: Retransmitting) -> tuple[int, Limit, tuple[Step, ...]]:
    """When it gives up (jiffies), what decides, the steps until then (tcp_retransmit_timer, tcp_write_timeout)."""
    wheel, rto, tries, since = case.wheel, case.rto, case.tries, case.since
    at = wheel.fires(case.left, case.grain)
    total = case.linear_so_far
    steps: list[Step] = []
    if case.first:
        steps.append(Step(wheel.ms(at), case.first))
        at = wheel.after(at, rto)
    for _ in range(_MOST_STEPS):
        over = _over(case, at, rto, tries, since)
        if over is not None:
            return at, over, tuple(steps)
        tries += case.quiet is None
        total += 1
        steps.append(Step(wheel.ms(at), case.what))
        if since is None:
            since = -wheel.ms(at)
        if not (case.thin and tries <= _THIN_RETRIES) and total > case.linear:
            rto = min(rto << 1, case.rto_max)
        delay = rto
        if case.user_timeout:
            delay = max(1, min(rto, -(-(case.user_timeout - wheel.ms(at) - since) * wheel.hz // 1000)))
        at = wheel.after(at, delay)
    return at, case.boundary(rto), tuple(steps)


def _over(case: Retransmitting, at: int, rto: int, tries: int, since: int | None) -> Limit | None:
    """What ends it when the timer fires (retransmits_timed_out)."""
    if case.quiet is not None:
        return _window_shut(case, at, 0 if since is None else case.wheel.ms(at) + since)
    if case.tries_limit is not None and tries >= case.tries_limit.value:
        return case.tries_limit
    if not tries or since is None:
        return None
    passed = case.wheel.ms(at) + since
    if case.user_timeout:
        return Limit("TCP_USER_TIMEOUT", case.user_timeout) if passed >= case.user_timeout else None
    limit = case.boundary(rto)
    return limit if passed >= case.wheel.ms(model_timeout(limit.value, case.base, case.rto_max)) else None


def _window_shut(case: Retransmitting, at: int, passed: int) -> Limit | None:
    """The same of data in flight into a window that was closed afterwards (tcp_rtx_probe0_timed_out, since v6.6)."""
    if case.user_timeout and passed > case.user_timeout:
        return Limit("TCP_USER_TIMEOUT", case.user_timeout)
    patience = 2 * case.wheel.ms(case.rto_max)
    over = case.wheel.ms(at + (case.quiet or 0)) > patience and passed > patience
    return Limit("twice the largest RTO", patience) if over else None


def model_timeout(boundary: int, base: int, rto_max: int) -> int:
    """How long ``boundary`` retransmissions take that begin with an RTO of ``base`` jiffies (tcp_model_timeout)."""
    linear = (rto_max // base).bit_length() - 1
    if boundary <= linear:
        return ((2 << boundary) - 1) * base
    return ((2 << linear) - 1) * base + (boundary - linear) * rto_max


@dataclass(frozen=True, slots=True)
class Probing:
    """A socket that waits for a window. ``since``: jiffies since the first probe, None before it.

    ``answered``: the peer acknowledges probes, so that none counts.
    """

    wheel: Wheel
    left: int
    grain: int
    rto: int
    rto_max: int
    rto_min: int
    probes: int
    backoff: int
    since: int | None
    retries: int
    limit: Callable[[bool], Limit]
    orphan: bool = False
    answered: bool = False
    user_timeout: int = 0


def probing(case: Probing) -> tuple[int, Limit, tuple[Step, ...]]:
    """As ``retransmitting``, of zero-window probes (tcp_probe_timer, tcp_send_probe0)."""
    wheel, probes, backoff, since = case.wheel, case.probes, case.backoff, case.since
    patience = -(-case.user_timeout * wheel.hz // 1000)
    at = wheel.fires(case.left, case.grain)
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
        steps.append(Step(case.wheel.ms(at), "probes the closed window"))
        probes += not case.answered
        backoff += backoff < case.retries
        steepest = (case.rto_max // case.rto_min).bit_length()
        delay = min(max(case.rto, case.rto_min) << min(backoff, steepest), case.rto_max)
        if patience:
            delay = min(delay, max(patience - at - since, 2))
        at = wheel.after(at, delay)
    return at, case.limit(True), tuple(steps)


@dataclass(frozen=True, slots=True)
class Keepalive:
    """An idle socket with SO_KEEPALIVE. ``quiet``: jiffies since something came."""

    wheel: Wheel
    left: int
    grain: int
    quiet: int
    time: int
    interval: int
    probes: int
    limit: Limit
    user_timeout: int = 0


def keepalive(case: Keepalive) -> tuple[int, Limit, tuple[Step, ...]]:
    """As ``retransmitting``, of keepalive probes (tcp_keepalive_timer)."""
    wheel, probes = case.wheel, case.probes
    at = wheel.fires(case.left, case.grain)
    steps: list[Step] = []
    for _ in range(_MOST_STEPS):
        quiet = case.quiet + at
        if quiet < case.time:
            delay = case.time - quiet
        else:
            if case.user_timeout:
                if quiet >= -(-case.user_timeout * wheel.hz // 1000) and probes > 0:
                    return at, Limit("TCP_USER_TIMEOUT", case.user_timeout), tuple(steps)
            elif probes >= case.limit.value:
                return at, case.limit, tuple(steps)
            steps.append(Step(case.wheel.ms(at), "asks whether the peer is there"))
            probes += 1
            delay = case.interval
        at = wheel.after(at, delay)
    return at, case.limit, tuple(steps)
