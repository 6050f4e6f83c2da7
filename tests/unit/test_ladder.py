# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ladders of timers against what the kernel's documentation says of its defaults (networking/ip-sysctl.rst)."""

from __future__ import annotations

import itertools

import pytest

from sockcrash.decode.ladder import (
    Keepalive,
    Limit,
    Probing,
    Retransmitting,
    Wheel,
    grain_at,
    grain_of,
    keepalive,
    model_timeout,
    probing,
    retransmitting,
)

HZ = 1000
RTO_MAX, RTO_MIN = 120 * HZ, HZ // 5
NOW = 1 << 32  # a boundary of every level of the wheel
LATE = 0.14  # of a delay: LVL_GRAN is at most an eighth of it, and a jiffy


def wheel(hz: int = HZ) -> Wheel:
    return Wheel(NOW, hz)


def retransmission(**changes: object) -> Retransmitting:
    values: dict[str, object] = {
        "wheel": wheel(),
        "left": RTO_MIN,
        "grain": grain_of(RTO_MIN),
        "rto": RTO_MIN,
        "rto_max": RTO_MAX,
        "base": RTO_MIN,
        "tries": 0,
        "since": None,
        "boundary": lambda _rto: Limit("net.ipv4.tcp_retries2", 15),
    }
    return Retransmitting(**{**values, **changes})  # type: ignore[arg-type]


def near(jiffies: int, seconds: float, hz: int = HZ) -> bool:
    """At that time, or as much later as the wheel may add."""
    return seconds * hz <= jiffies <= seconds * hz * (1 + LATE) + 1


def test_tcp_retries2_is_a_time() -> None:
    """The default value of 15 yields a hypothetical timeout of 924.6 seconds and is a lower bound"."""
    assert model_timeout(15, RTO_MIN, RTO_MAX) / HZ == 924.6
    at, limit, steps = retransmitting(retransmission())
    assert limit == Limit("net.ipv4.tcp_retries2", 15)
    assert at / HZ >= 924.6
    assert len(steps) == 15
    assert [step.in_ms >= 200 * (2 ** (number + 1) - 1) for number, step in enumerate(steps[:9])] == [
        True
    ] * 9


def test_an_rto_that_is_not_the_smallest_takes_fewer_steps_for_the_same_time() -> None:
    at, _, steps = retransmitting(retransmission(left=3 * HZ, rto=3 * HZ))
    assert at / HZ > 924.6
    assert len(steps) < 15


def test_syn_retries() -> None:
    """Default value is 6, which corresponds to 67 seconds ... final timeout ... 131 seconds" with 4 linear ones."""
    limit = Limit("net.ipv4.tcp_syn_retries", 6)
    plain = retransmission(left=HZ, rto=HZ, base=HZ, since=0, boundary=lambda _: limit, tries_limit=limit)
    at, by, steps = retransmitting(plain)
    assert (by, len(steps)) == (limit, 6)
    assert near(at, 127)
    linear = retransmission(
        left=HZ, rto=HZ, base=HZ, since=0, boundary=lambda _: limit,
        tries_limit=Limit("net.ipv4.tcp_syn_retries", 10), linear=4,
    )  # fmt: skip
    at, _, steps = retransmitting(linear)
    assert near(steps[-1].in_ms, 67)
    assert near(at, 131)


def test_user_timeout_counts_from_the_first_retransmission() -> None:
    at, limit, _ = retransmitting(retransmission(user_timeout=3000))
    assert limit == Limit("TCP_USER_TIMEOUT", 3000)
    assert near(at, 3.2)


def test_what_has_been_waited_already_counts() -> None:
    at, _, _ = retransmitting(retransmission(tries=5, since=924_000, left=HZ, rto=13 * HZ))
    assert near(at, 1)


def test_a_tail_loss_probe_comes_before_the_ladder() -> None:
    at, _, steps = retransmitting(retransmission(first="sends a tail loss probe", user_timeout=1000))
    assert [step.does for step in steps][:2] == ["sends a tail loss probe", "sends the oldest segment again"]
    assert near(at, 1.4)


def test_thin_streams_double_after_six_times() -> None:
    _, _, steps = retransmitting(retransmission(thin=True))
    gaps = [after.in_ms - before.in_ms for before, after in itertools.pairwise(steps)]
    assert all(near(gap, 0.2) for gap in gaps[:6])
    assert gaps[7] > 350


def test_a_window_that_closed_on_data_in_flight_waits_for_twice_the_largest_rto() -> None:
    at, limit, _ = retransmitting(retransmission(quiet=0, since=0))
    assert limit.name == "twice the largest RTO"
    assert at > 240 * HZ


@pytest.mark.parametrize(("answered", "by", "end"), [(False, "x", 6.2), (True, "TCP_USER_TIMEOUT", 30.2)])
def test_probes(answered: bool, by: str, end: float) -> None:
    case = Probing(
        wheel(), RTO_MIN, 1, RTO_MIN, RTO_MAX, RTO_MIN, 0, 0, None, 15, lambda _: Limit("x", 4),
        answered=answered, user_timeout=30_000,
    )  # fmt: skip
    at, limit, _ = probing(case)
    assert limit.name == by
    assert near(at, end)


def test_an_orphan_that_probes_ends_when_its_rto_is_the_largest() -> None:
    case = Probing(
        wheel(), 0, 1, RTO_MIN, RTO_MAX, RTO_MIN, 0, 0, None, 15, lambda alive: Limit("x", 8 if alive else 0),
        orphan=True, answered=True,
    )  # fmt: skip
    _, limit, steps = probing(case)
    assert limit.value == 0
    assert len(steps) == 10


def test_keepalive_defaults() -> None:
    """Two hours, then 9 probes 75 s apart: "application will be notified ... ~11 minutes" after the first."""
    case = Keepalive(
        wheel(), 7200 * HZ, 1, 0, 7200 * HZ, 75 * HZ, 0, Limit("net.ipv4.tcp_keepalive_probes", 9)
    )
    at, limit, steps = keepalive(case)
    assert (limit.value, len(steps)) == (9, 9)
    assert near(at, 7200 + 9 * 75)


def test_keepalive_waits_for_what_is_left_when_something_came() -> None:
    case = Keepalive(wheel(), 10 * HZ, 1, -5 * HZ, 20 * HZ, HZ, 0, Limit("x", 1))
    _, _, steps = keepalive(case)
    assert near(steps[0].in_ms, 25)


def test_the_wheel_fires_at_boundaries() -> None:
    """kernel/time/timer.c: "HZ 1000: level 0 offset 0, granularity 1 ms, range 0 - 63; 1: 8 ms, 64 - 511; ..."."""
    assert [grain_of(delay) for delay in (0, 62, 63, 503, 504, 4031, 4032)] == [1, 1, 8, 8, 64, 64, 512]
    assert [grain_at(index << 22) for index in (0, 63, 64, 128, 575)] == [1, 1, 8, 64, 8**8]
    assert Wheel(1000, HZ).fires(5, 1) == 6
    assert (1000 + Wheel(1000, HZ).fires(100, 8)) % 8 == 0
    assert Wheel(1000, HZ).fires(-50, 1) == 1
