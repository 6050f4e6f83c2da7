# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is computed of a tcp_sock's members where no socket of the scenario comes: full ranges, wrapped sequences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.decode.tcp import COMPUTED
from sockcrash.kernel.clock import Clock

HZ = 250
CLOCK = Clock(HZ, (7 << 32) + 100, 90_000_000_000)
U32 = st.integers(0, (1 << 32) - 1)
LENGTH = st.integers(0, (1 << 31) - 1)


def computed(name: str, *members: Any) -> Any:
    """The value of a name, of its members in their order."""
    (function,) = (function for known, _, function in COMPUTED if known == name)
    return function(CLOCK, *members)


@pytest.mark.parametrize(
    ("running", "busy", "window", "buffer"),
    [(0, 60, 20, 30), (1, 160, 20, 30), (2, 160, 120, 30), (3, 160, 20, 130)],
)
def test_time_spent(running: int, busy: int, window: int, buffer: int) -> None:
    """tcp_get_info_chrono_stats(): what runs now counts; limited time is busy time; chrono_start is a tcp_jiffies32."""
    members = ((10, 20, 30), running, 0)
    names = ("busy_us", "rwnd_limited_us", "sndbuf_limited_us")
    assert [computed(name, *members) for name in names] == [
        jiffies * 1_000_000 // HZ for jiffies in (busy, window, buffer)
    ]


def test_time_spent_since_before_jiffies_wrapped() -> None:
    assert computed("busy_us", (0, 0, 0), 1, (1 << 32) - 50) == 150 * 1_000_000 // HZ


@pytest.mark.parametrize(
    "name", ["send_queue_bytes", "unacked_bytes", "notsent_bytes", "receive_queue_bytes"]
)
@given(start=U32, length=LENGTH)
def test_sequence_numbers_wrap(name: str, start: int, length: int) -> None:
    assert computed(name, start + length & 0xFFFFFFFF, start) == length


@pytest.mark.parametrize("name", ["notsent_bytes", "receive_queue_bytes"])
@given(start=U32, length=LENGTH)
def test_an_end_before_its_start_is_nothing(name: str, start: int, length: int) -> None:
    assert computed(name, start, start + length & 0xFFFFFFFF) == 0


@given(start=U32, used=st.integers(0, 1 << 20), window=st.integers(0, 1 << 20))
def test_what_is_left_of_the_window(start: int, used: int, window: int) -> None:
    """tcp_receive_window()."""
    assert computed("receive_window_bytes", start, window, start + used & 0xFFFFFFFF) == max(0, window - used)


def test_segments_in_flight() -> None:
    """tcp_packets_in_flight()."""
    assert computed("in_flight", 10, 3, 2, 1) == 6


def test_time_in_time_outs() -> None:
    """total_rto_time, and what runs since rto_stamp, both milliseconds; the clock stands at 90 s."""
    assert computed("total_rto_time_ms", 1200, 0) == 1200
    assert computed("total_rto_time_ms", 1200, 89_500) == 1700
