# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records as text for people: what must be said, and what must never reach a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records import (
    ADDRESS,
    NOT_IN_KERNEL,
    SOCK_NAMES,
    TCP_NAMES,
    UNREADABLE,
    request_record,
    sock_section,
    tcp_record,
    tcp_section,
    timer,
    timewait_record,
)
from sockcrash.model import Absent, Endpoint, OptionValue, Owner, Reason, Section, Timer
from sockcrash.model.waiting import GivesUp
from sockcrash.render.crash import fields_crash, members, record_crash, whole
from sockcrash.render.escape import printable
from sockcrash.render.json import record_object
from sockcrash.render.story import story
from sockcrash.render.text import fields_text, record_text
from sockcrash.render.units import count, end, microseconds, milliseconds, rate, show


def line(text: str, label: str) -> str:
    """The line of a record's text that begins with a label."""
    return next(one for one in text.splitlines() if one.split(maxsplit=1)[:1] == [label])


# ---- numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (119_900, "119.9 s"),
        (120_000, "2 min 0 s"),
        (7_199_000, "119 min 59 s"),
        (7_200_000, "2 h 0 min"),
        (72 * 3_600_000, "3 d 0 h"),
    ],
)
def test_milliseconds(value: int, expected: str) -> None:
    assert milliseconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(61, "61 µs"), (999, "999 µs"), (1_000, "1.0 ms"), (12_345_678, "12.3 s")]
)
def test_microseconds(value: int, expected: str) -> None:
    assert microseconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0 B/s"), (999, "999 B/s"), (1_000, "1.0 kB/s"), (2_300_000, "2.3 MB/s"), (10**13, "10000.0 GB/s")],
)
def test_rate(value: int, expected: str) -> None:
    assert rate(value) == expected


def test_counts_and_ends() -> None:
    assert [count(n, "segment") for n in (0, 1, 2)] == ["0 segments", "1 segment", "2 segments"]
    assert end(Endpoint(address="127.0.0.1", port=80)) == "127.0.0.1:80"
    assert end(Endpoint(address="::ffff:127.0.0.1", port=80)) == "[::ffff:127.0.0.1]:80"
    assert end(Endpoint(address="0.0.0.0", port=0)) == "0.0.0.0:*"
    assert end(Endpoint(protocol="NETLINK_ROUTE", portid=4711, groups=(1, 5))) == "route:4711 groups 1,5"
    assert end(Endpoint(protocol="30", portid=0)) == "30:0"
    assert end(NOT_IN_KERNEL) == "-"
    assert end(Endpoint(path=Absent(Reason.NOT_ASSIGNED))) == "*"
    for reason in (Reason.UNREADABLE, Reason.NO_TYPE_INFO, Reason.NOT_IN_SNAPSHOT):
        assert end(Absent(reason)) == end(Endpoint(path=Absent(reason))) == "?"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_and_none_looks_like_a_value(reason: Reason) -> None:
    for shown in (
        show(Absent(reason)),
        milliseconds(Absent(reason)),
        rate(Absent(reason)),
        count(Absent(reason), "x"),
    ):
        assert shown.startswith("(")
        assert shown.endswith(")")


@given(st.text())
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    assert printable(text).isprintable()


def test_escapes_are_shown_not_sent() -> None:
    assert printable("a\x1b[2Jb\u202ec\n") == "a\\x1b[2Jb\\u202ec\\n"


# ---- a socket on a screen


def test_the_first_line_says_who_and_in_which_state() -> None:
    first = record_text(tcp_record()).splitlines()[0]

    assert first == f"tcp  127.0.0.1:41000 -> 127.0.0.1:80  ESTABLISHED  {ADDRESS:#x}"


def test_a_hostile_process_name_is_escaped() -> None:
    text = record_text(tcp_record(owners=(Owner("fd", 1, "\x1b]0;pwned\x07", 3),), cgroup="/a\x1b[2J"))

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b]0;pwned\\x07 (pid 1) fd 3" in text


def test_unproved_and_torn_records_say_so() -> None:
    text = record_text(tcp_record(proved=False, torn=True))

    assert "UNPROVED" in text
    assert "TORN" in text
    assert "UNPROVED" not in record_text(tcp_record())


def test_windows_queues_and_timers_are_shown() -> None:
    text = record_text(
        tcp_record(
            tcp=tcp_section(
                unacked_bytes=3000, packets_out=3, lost_out=1, notsent_bytes=50, snd_wnd=64128, rto_ms=1600
            ),
            timers=(timer("retransmit", 1_600), timer("keepalive"), timer("delayed-ack", -5)),
        )
    )

    assert "in flight 3000 bytes in 3 segments (SACKed 0, lost 1, retransmitted 0), unsent 50 bytes" in text
    assert "RTO 1.6 s" in line(text, "time")
    assert line(text, "timers").split(maxsplit=1)[1] == (
        "overdue by 5 ms: the delayed acknowledgement: acknowledges what came"
    )
    assert (
        "in 1.6 s: the retransmission time-out (RTO): sends the oldest unacknowledged segment again" in text
    )
    assert "keepalive" not in text


def test_no_timer_runs() -> None:
    assert "none is running" in record_text(tcp_record())


def test_settings_are_read_bit_by_bit() -> None:
    nodelay, cork = (
        line(record_text(tcp_record(tcp=tcp_section(nonagle=bit))), "settings") for bit in (1, 2)
    )

    assert "TCP_NODELAY on, TCP_CORK off" in nodelay
    assert "TCP_NODELAY off, TCP_CORK on" in cork


def test_buffers_that_an_application_set_are_marked() -> None:
    def memory(locks: int) -> str:
        return line(
            record_text(tcp_record(sock=sock_section(sk_rcvbuf=8, sk_sndbuf=9, sk_userlocks=locks))), "memory"
        )

    assert "of 8," in memory(0)
    assert "of 8 (set by the application)" in memory(2)
    assert "of 9," in memory(2)
    assert "of 9 (set by the application)" in memory(1)


def test_a_listener_shows_its_queues() -> None:
    text = record_text(
        tcp_record(
            state="LISTEN",
            sock=sock_section(sk_ack_backlog=3, sk_max_ack_backlog=128),
            tcp=tcp_section(accept_queue__qlen=2, accept_queue__young=1),
        )
    )

    assert "accept queue 3 of 128, handshakes 2 (1 without a retransmission)" in text
    assert "RTT" not in text


def test_mini_sockets() -> None:
    assert "tw_snd_nxt 7" in record_text(timewait_record())
    assert "in 56.0 s: the object is freed" in record_text(timewait_record())
    text = record_text(request_record())
    assert "the handshake queue of listener 0xffff888012345678" in text
    assert "SYN-ACK sent again 1 time, timed out 2 times, MSS 1460" in text


@pytest.mark.parametrize("why", [UNREADABLE, NOT_IN_KERNEL])
def test_a_record_with_nothing_in_it_is_still_shown(why: Absent) -> None:
    """Every value of every section absent: no renderer may compute with one."""
    gone = {name: number for number, name in enumerate(SOCK_NAMES)}
    gone_tcp = {name: number for number, name in enumerate(TCP_NAMES)}
    fields = (
        "family",
        "type",
        "protocol",
        "state",
        "local",
        "peer",
        "inode",
        "cookie",
        "netns",
        "uid",
        "cgroup",
    )
    record = tcp_record(
        **dict.fromkeys((*fields, "ifindex", "device", "mark", "owners"), why),
        sock=Section(gone, (why,) * len(gone)),
        tcp=Section(gone_tcp, (why,) * len(gone_tcp)),
        timers=(timer("retransmit"),),
    )

    assert f"{ADDRESS:#x}" in record_text(record)
    assert show(why) in record_text(record)
    assert f"snd_nxt = {show(why)}" in record_crash(record)


def test_one_screen() -> None:
    text = record_text(tcp_record(timers=(timer("retransmit", 5),)))

    assert len(text.splitlines()) <= 24


def test_what_can_not_be_read_is_not_said_to_be_idle_or_untouched() -> None:
    lost = Absent(Reason.UNREADABLE, "0xffff888000001000")
    unknown = OptionValue("IPPROTO_TCP", "TCP_NODELAY", 1, lost, "", None, lost, "tcp_sock.nonagle", 0)
    known = replace(unknown, name="SO_MARK", value=7, text="7", origin="set", raw=b"", default=0)
    record = tcp_record(timers=(Timer("keepalive", lost, lost),), options=(known, unknown))

    text = record_text(record)

    assert "timers     (unreadable: 0xffff888000001000): keepalive" in text
    assert "options    SO_MARK 7\n             (unreadable: 0xffff888000001000): TCP_NODELAY" in text
    assert unknown.differs
    (shown,) = record_object(record)["timers"]
    assert (shown["pending"], shown["expires_in_ms"]) == (None, None)


# ---- what it is doing


@pytest.mark.parametrize(
    ("tcp", "changes", "expected"),
    [
        ({}, {}, "Idle: nothing unsent"),
        ({"snd_wnd": 0, "notsent_bytes": 1000}, {}, "The peer's window is closed: 1000 bytes wait"),
        ({"icsk_retransmits": 4, "unacked_bytes": 3000}, {}, "Retransmitting: 4 time-outs in a row"),
        ({"nonagle": 2, "notsent_bytes": 5}, {}, "Corked: 5 bytes wait"),
        ({"receive_queue_bytes": 7}, {}, "The application has not read 7 bytes."),
        (
            {"receive_queue_bytes": 7, "receive_window_bytes": 0},
            {},
            "7 bytes and the window offered is closed.",
        ),
        ({"unacked_bytes": 10}, {}, "10 bytes in flight"),
        (
            {"unacked_bytes": 10, "packets_out": 9, "sacked_out": 5, "lost_out": 2},
            {},
            "10 bytes in flight; of 9 segments 5 SACKed and 2 taken as lost.",
        ),
        ({"icsk_probes_out": 3}, {}, "Idle, and 3 keepalive probes went unanswered"),
        ({"unacked_bytes": 1}, {"state": "ESTABLISHED"}, "1 byte in flight."),
        ({}, {"state": "CLOSE_WAIT"}, "The peer has closed; the application has not."),
        ({"icsk_retransmits": 2}, {"state": "SYN_SENT"}, "Connecting: 2 SYNs sent again without an answer"),
    ],
)
def test_story(tcp: dict[str, int], changes: dict[str, str], expected: str) -> None:
    told = list(story(tcp_record(tcp=tcp_section(**tcp), **changes)))

    assert expected in told[0]
    assert len(told) == 1


def ending(because: str, waited: int | None = None) -> GivesUp:
    return GivesUp(because, 924_600, "net.ipv4.tcp_retries2", 15, "unless ...", "ETIMEDOUT", (), waited)


def test_the_story_says_when_the_kernel_acts() -> None:
    record = tcp_record(tcp=tcp_section(snd_wnd=0, notsent_bytes=1), timers=(timer("persist", 2_700),))

    assert list(story(record)) == [
        "The peer's window is closed: 1 byte waits until it reads.",
        "The kernel probes in 2.7 s.",
    ]


def test_the_story_of_a_closed_window() -> None:
    shut = {"snd_wnd": 0, "notsent_bytes": 5000}
    timers = (timer("persist", 2_700),)
    answered = tcp_record(
        tcp=tcp_section(**shut, icsk_backoff=4), timers=timers, gives_up=ending("zero-window", 61_000)
    )
    silent = tcp_record(
        tcp=tcp_section(**shut, icsk_backoff=4, icsk_probes_out=2),
        timers=timers,
        gives_up=ending("zero-window", 61_000),
    )

    assert list(story(answered)) == [
        "The peer's window is closed: 5000 bytes wait until it reads, for 61.0 s now, it answers the probes.",
        "The kernel probes in 2.7 s.",
    ]
    assert list(story(silent)) == [
        "The peer's window is closed: 5000 bytes wait until it reads, for 61.0 s now, 2 probes unanswered.",
        "The kernel probes in 2.7 s and gives up in 15 min 24 s.",
    ]


def test_the_story_of_a_silent_peer() -> None:
    record = tcp_record(
        tcp=tcp_section(icsk_retransmits=5, unacked_bytes=3000, lastack_ms=9_000, lastrcv_ms=NOT_IN_KERNEL),
        timers=(timer("retransmit", 6_400),),
        gives_up=ending("retransmission", 12_000),
    )

    assert list(story(record)) == [
        "Retransmitting: 5 time-outs in a row, 3000 bytes not acknowledged, nothing heard for 9.0 s.",
        "The kernel tries again in 6.4 s and gives up in 15 min 24 s.",
    ]


@pytest.mark.parametrize(
    "record",
    [
        tcp_record(state="LISTEN"),
        tcp_record(state="CLOSE"),
        timewait_record(),
        tcp_record(tcp=tcp_section(snd_wnd=UNREADABLE)),
    ],
)
def test_no_story_where_nothing_can_be_said(record: object) -> None:
    assert list(story(record)) == []  # type: ignore[arg-type]


# ---- the look of crash


def test_members_as_crash_prints_them() -> None:
    values = {"rcv_nxt": 2634582460, "list": [1, 2], "rx_opt": {"ts_recent": 5}, "pairs": [{"t": 1, "v": 2}]}

    assert "\n".join(members(values)) == (
        "  rcv_nxt = 2634582460,\n  list = {1, 2},\n  rx_opt = {\n    ts_recent = 5,\n  },\n"
        "  pairs = {{t = 1, v = 2}},"
    )
    assert whole("struct pair", {"t": 1}) == "struct pair {\n  t = 1,\n}"


def test_fields_of_a_socket_as_crash_and_as_text() -> None:
    values = {"snd_cwnd": 10, "gone": NOT_IN_KERNEL}

    assert (
        fields_crash(tcp_record(), values) == f"{ADDRESS:x}\n  snd_cwnd = 10,\n  gone = (not in this kernel),"
    )
    assert fields_text(tcp_record(), values).splitlines()[1:] == [
        "  snd_cwnd = 10",
        "  gone     = (not in this kernel)",
    ]
