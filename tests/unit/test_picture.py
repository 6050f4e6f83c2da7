# SPDX-License-Identifier: LGPL-2.1-or-later
"""The picture of the sequence spaces: every number can be read back, and it fits a terminal of 80 columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from oracle.picture import Space, spaces
from records import UNREADABLE, tcp_record, tcp_section
from sockcrash.model.waiting import Queue, Run
from sockcrash.render.picture import picture_lines

if TYPE_CHECKING:
    from sockcrash.model import SocketRecord

LARGEST = (1 << 30) - 1  # of a window: 65535 << 14


def record(
    retransmit: tuple[Run, ...] = (), out_of_order: tuple[Run, ...] = (), **tcp: object
) -> SocketRecord:
    queues = (
        Queue("retransmit", len(retransmit), runs=retransmit),
        Queue("out-of-order", len(out_of_order), runs=out_of_order),
    )
    return tcp_record(tcp=tcp_section(**tcp), queues=queues)


def drawn(one: SocketRecord) -> dict[str, Space]:
    lines = list(picture_lines(one))
    assert all(len(line) <= 78 for line in lines), lines
    assert all(line.isascii() for line in lines)
    return spaces("\n".join(f"  {line}" for line in lines))


def test_nothing_to_see_nothing_drawn() -> None:
    assert drawn(record()) == {}
    assert drawn(tcp_record(state="LISTEN", tcp=tcp_section(receive_queue_bytes=5))) == {}
    assert drawn(tcp_record(kind="udp")) == {}
    assert drawn(record(snd_wnd=UNREADABLE, receive_queue_bytes=UNREADABLE)) == {}


def test_a_closed_window() -> None:
    space = drawn(record(snd_una=7, send_queue_bytes=1828864, snd_wnd=0))["send"]

    assert space.base == 7
    assert space.marks == {"snd_una": 0, "snd_nxt": 0, "window ends": 0, "write_seq": 1828864}
    assert space.amounts == {"unsent, beyond the window": 1828864}
    assert set(space.letters("snd_una", "write_seq")) == {"!"}


def test_holes() -> None:
    runs = (
        Run(0, 1448, "retransmitted"),
        Run(1448, 2896, "sacked"),
        Run(2896, 4344, "lost"),
        Run(4344, 14480, "in-flight"),
    )
    space = drawn(record(runs, unacked_bytes=14480, send_queue_bytes=20000, snd_wnd=30000))["send"]

    assert space.marks == {"snd_una": 0, "snd_nxt": 14480, "write_seq": 20000, "window ends": 30000}
    assert space.amounts == {
        "in flight": 10136,
        "SACKed": 1448,
        "lost": 1448,
        "sent again": 1448,
        "unsent, in the window": 5520,
        "of the window left": 10000,
    }
    assert re.fullmatch("R+S+L+#+", space.letters("snd_una", "snd_nxt"))
    assert set(space.letters("snd_nxt", "write_seq")) == {">"}


def test_a_hole_too_narrow_for_a_column_is_seen() -> None:
    runs = (
        Run(0, 1_000_000, "sacked"),
        Run(1_000_000, 1_000_001, "lost"),
        Run(1_000_001, 9_000_000, "sacked"),
    )
    space = drawn(record(runs, unacked_bytes=9_000_000, send_queue_bytes=9_000_000, snd_wnd=LARGEST))["send"]

    assert space.letters("snd_una", "snd_nxt").count("L") == 1


def test_a_window_that_shrank_ends_within_what_is_in_flight() -> None:
    space = drawn(record(unacked_bytes=5000, send_queue_bytes=9000, snd_wnd=2000))["send"]

    assert space.marks == {"snd_una": 0, "window ends": 2000, "snd_nxt": 5000, "write_seq": 9000}
    assert space.amounts == {"in flight": 5000, "unsent, beyond the window": 4000}


def test_unread_data_and_islands() -> None:
    islands = (Run(500, 600, "out-of-order"), Run(1000, 1500, "out-of-order"))
    space = drawn(record((), islands, rcv_nxt=77, receive_queue_bytes=300, receive_window_bytes=4000))[
        "receive"
    ]

    assert space.base == 77
    assert space.marks == {"copied_seq": -300, "rcv_nxt": 0, "window ends": 4000}
    assert space.amounts == {"unread": 300, "of the window left": 3400}
    assert space.islands == {500: 100, 1000: 500}
    assert re.fullmatch(r"\.+O+\.+O+\.+", space.letters("rcv_nxt", "window ends"))


def test_our_own_window_is_closed() -> None:
    space = drawn(record(receive_queue_bytes=4096, receive_window_bytes=0))["receive"]

    assert space.marks == {"copied_seq": -4096, "rcv_nxt": 0, "window ends": 0}
    assert space.amounts == {"unread": 4096}


@pytest.mark.parametrize("scale", [1, 1000, 100_000])
def test_the_largest_numbers_fit(scale: int) -> None:
    runs = tuple(Run(n * 2 * scale, (n * 2 + 1) * scale, "out-of-order") for n in range(1, 40))
    found = drawn(
        record(
            (), runs, unacked_bytes=LARGEST // 3, send_queue_bytes=LARGEST // 2, snd_wnd=LARGEST,
            receive_queue_bytes=LARGEST, receive_window_bytes=LARGEST, snd_una=(1 << 32) - 1, rcv_nxt=(1 << 32) - 1,
        )
    )  # fmt: skip

    assert found["send"].marks["window ends"] == LARGEST
    assert found["receive"].marks["copied_seq"] == -LARGEST
