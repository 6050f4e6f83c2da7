# SPDX-License-Identifier: LGPL-2.1-or-later
"""Conversions: what the kernel's own formulas say of the same raw members."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.kernel.clock import Clock
from sockcrash.kernel.units import EXPRESSIONS, NAMES, age32_ms
from sockcrash.model import Absent, Reason

CLOCK = Clock(rate=250, ticks=4_294_900_000, monotonic=0)
HZ = st.sampled_from([100, 250, 300, 1000])


def value(by: str, x: object, clock: Clock = CLOCK) -> object:
    """A row's conversion of the raw member ``x``."""
    return eval(EXPRESSIONS[by], {**NAMES, "x": x, "c": clock})


@pytest.mark.parametrize(
    ("by", "raw", "expected"),
    [
        ("srtt", 488, 61),  # tcpi_rtt = srtt_us >> 3
        ("shr2", 4095, 1023),  # tcpi_rttvar = mdev_us >> 2
        ("jiffies_ms", 51, 204),  # HZ 250
        ("jiffies_us", 51, 204_000),
        ("jiffies_ms", 0, 0),
        ("ssthresh", 0x7FFFFFFE, 0x7FFFFFFE),
        ("rate", 1_250_000, 1_250_000),
        ("less_one", 1, 0),  # sk_wmem_alloc starts at 1
        ("text", b"cubic\0\0\0", "cubic"),
        ("text", b"cubic", "cubic"),
        ("text", b"", ""),
        ("text", b"\x1b[31m\0", "\x1b[31m"),
        ("text", b"\xff\xfe\0x", "\\xff\\xfe"),
    ],
)
def test_values(by: str, raw: object, expected: object) -> None:
    assert value(by, raw) == expected


@pytest.mark.parametrize(
    ("by", "raw", "reason"),
    [
        ("srtt", 0, Reason.NOT_ASSIGNED),
        ("rtt", 0, Reason.NOT_ASSIGNED),
        ("min_rtt", 0xFFFFFFFF, Reason.NOT_ASSIGNED),
        ("ssthresh", 0x7FFFFFFF, Reason.UNLIMITED),  # TCP_INFINITE_SSTHRESH
        ("rate", 0xFFFFFFFFFFFFFFFF, Reason.UNLIMITED),  # ~0UL
        ("age32_ms", 0, Reason.NOT_ASSIGNED),
    ],
)
def test_what_is_no_value_is_absent(by: str, raw: int, reason: Reason) -> None:
    found = value(by, raw)

    assert isinstance(found, Absent)
    assert found.reason is reason


@pytest.mark.parametrize("raw", [0, 1])
def test_zero_is_a_value_where_it_means_zero(raw: int) -> None:
    assert value("min_rtt", raw) == raw
    assert value("ssthresh", raw) == raw
    assert value("rate", raw) == raw


def test_an_age_crosses_the_wrap_of_32_bits() -> None:
    clock = Clock(rate=1000, ticks=(1 << 32) + 5, monotonic=0)

    assert age32_ms(0xFFFFFFFF, clock) == 6
    assert age32_ms(5, clock) == 0


def test_a_stamp_ahead_of_jiffies_is_now() -> None:
    """The jiffies of a dump lag behind when the machine idled."""
    assert age32_ms(101, Clock(rate=250, ticks=100, monotonic=0)) == 0


@given(hz=HZ, now=st.integers(1 << 31, 1 << 40), age=st.integers(0, (1 << 31) - 1))
def test_an_age_is_the_kernels_jiffies_to_msecs(hz: int, now: int, age: int) -> None:
    """jiffies_to_msecs(tcp_jiffies32 - stamp); HZ that divides 1000 is exact, others round down as it does."""
    stamp = (now - age) & 0xFFFFFFFF
    if stamp == 0:
        return
    assert age32_ms(stamp, Clock(rate=hz, ticks=now, monotonic=0)) == age * 1000 // hz


def test_nothing_is_made_of_jiffies_where_hz_is_lost() -> None:
    lost = Absent(Reason.UNREADABLE, "the kernel's clock")
    clock = Clock(rate=0, ticks=0, monotonic=0, lost=lost)

    assert [value(by, 51, clock) for by in ("jiffies_ms", "jiffies_us", "age32_ms")] == [lost] * 3
    assert value("less_one", 51, clock) == 50
