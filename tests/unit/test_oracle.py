# SPDX-License-Identifier: LGPL-2.1-or-later
"""The oracle itself: lines of ss as iproute2 6.1.0 prints them, and verdicts that must be able to be "wrong"."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.clock import Window
from oracle.compare import Compared, Sample, Verdict, compare, summary
from oracle.ours import left_as_ss
from oracle.ss import UnknownKeyError, parse, parse_line

# Real lines of the scenario's guests.
CLOSING = (
    "CLOSING    1      1              10.77.1.105:40429          10.77.1.5:16980 timer:(on,1.340ms,3) ino:816 sk:78 "
    "cgroup:/ --- skmem:(r896,rb131072,t0,tb46080,f2304,w896,o0,bl0,d4) ts sack cubic wscale:7,7 rto:1632 backoff:3 "
    "rtt:0.282/0.151 ato:40 mss:1448 pmtu:1500 rcvmss:1000 advmss:1448 cwnd:1 ssthresh:7 bytes_sent:3000 "
    "bytes_acked:3001 bytes_received:3001 segs_out:16 segs_in:10 data_segs_out:3 data_segs_in:6 send 41078014bps "
    "lastsnd:2988 lastrcv:2988 lastack:1516 pacing_rate 81974344bps/80000000bps delivery_rate 236408160bps delivered:4 "
    "app_limited busy:2976ms rwnd_limited:12ms(0.4%) unacked:1 retrans:1/4 lost:1 rcv_space:14480 rcv_ssthresh:68120 "
    "minrtt:0.049 snd_wnd:104576"
)
LISTEN = "LISTEN 0 16 *:16961 *:* ino:640 sk:20 cgroup:/ v6only:0 <-> skmem:(r0,rb131072) reno cwnd:10 reordering:7"
KTLS = (
    "ESTAB 0 0 127.0.0.1%lo:1 127.0.0.1:2 uid:7 ino:1 sk:1f <-> skmem:(r0) cubic cwnd:1 "
    "tcp-ulp-tls rxconf: none txconf: sw"
)
HEADER = "State      Recv-Q Send-Q       Local Address:Port        Peer Address:Port Process"


def test_columns_and_keys() -> None:
    keys = parse_line(CLOSING).keys
    assert (keys["state"], keys["Recv-Q"], keys["Send-Q"]) == ("CLOSING", "1", "1")
    assert (keys["local"], keys["peer"]) == ("10.77.1.105:40429", "10.77.1.5:16980")
    assert keys["timer"] == "(on,1.340ms,3)"
    assert keys["skmem"] == "(r896,rb131072,t0,tb46080,f2304,w896,o0,bl0,d4)"
    assert keys["shutdown"] == "---"
    assert {key for key, value in keys.items() if value == ""} == {"ts", "sack", "app_limited"}
    assert (keys["congestion"], keys["wscale"], keys["rtt"]) == ("cubic", "7,7", "0.282/0.151")
    assert (keys["send"], keys["pacing_rate"]) == ("41078014bps", "81974344bps/80000000bps")
    assert keys["delivery_rate"] == "236408160bps"
    assert keys["rwnd_limited"] == "12ms(0.4%)"
    assert parse_line(CLOSING).cookie == 0x78


def test_other_lines() -> None:
    listening, secured = parse_line(LISTEN).keys, parse_line(KTLS).keys
    assert (listening["local"], listening["v6only"], listening["congestion"]) == ("*:16961", "0", "reno")
    assert (secured["tcp-ulp"], secured["rxconf"], secured["txconf"]) == ("tls", "none", "sw")
    assert (secured["local"], secured["uid"]) == ("127.0.0.1%lo:1", "7")


def test_headers_and_keys_printed_ahead() -> None:
    """This ss prints MD5 keys past its own buffer, before anything else."""
    printed = "\\370\\201r\\356"
    assert [line.cookie for line in parse(f"{printed}{HEADER}\n{LISTEN}\n\n{CLOSING}\n")] == [0x20, 0x78]
    assert [line.keys["state"] for line in parse(f"{printed}{LISTEN}\n")] == ["LISTEN"]


@pytest.mark.parametrize("word", ["newkey:1", "unheard", "tcp_usec", "rcv_mwnd:5", "Cubic", "send2"])
def test_a_key_that_nobody_knows(word: str) -> None:
    with pytest.raises(UnknownKeyError, match=word):
        parse_line(f"{CLOSING} {word}")


def test_a_key_twice() -> None:
    with pytest.raises(UnknownKeyError, match="cwnd twice"):
        parse_line(f"{CLOSING} cwnd:2")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, ""),
        (4, "004ms"),
        (1632, "1.632ms"),
        (9000, "9sec"),
        (12_345, "12sec"),
        (80_123, "1min20sec"),
        (725_000, "12min"),
    ],
)
def test_time_left_as_ss_prints_it(milliseconds: int, text: str) -> None:
    """print_ms_timer() of misc/ss.c."""
    assert left_as_ss(milliseconds) == text


# Verdicts. ss ran 100 ms before and 100 ms after our look, 10 ms long each.

BEFORE, AT, AFTER = Window(1000, 1010), Window(1105, 1105), Window(1200, 1210)


def verdict(key: str, ours: str | None, before: str | None, after: str | None, **more: Any) -> Verdict:
    samples = [
        Sample({} if text is None else {key: text}, when) for text, when in ((before, BEFORE), (after, AFTER))
    ]
    (one,) = compare("x", {} if ours is None else {key: ours}, *samples, AT, **more)
    return one.verdict


@pytest.mark.parametrize(
    ("ours", "before", "after", "expected"),
    [
        ("10", "10", "10", Verdict.EQUAL),
        ("11", "10", "10", Verdict.WRONG),
        (None, "10", "10", Verdict.WRONG),
        ("10", None, None, Verdict.WRONG),
        ("15", "10", "20", Verdict.MOVED),
        ("15", "20", "10", Verdict.MOVED),
        ("21", "10", "20", Verdict.WRONG),
        ("9", "10", "20", Verdict.WRONG),
        ("1/4", "0/3", "1/5", Verdict.MOVED),
        ("1/6", "0/3", "1/5", Verdict.WRONG),
        ("(r0,rb5)", "(r0,rb5)", "(r9,rb5)", Verdict.MOVED),
        ("(r4,rb6)", "(r0,rb5)", "(r9,rb5)", Verdict.WRONG),
        ("(x4,rb5)", "(r0,rb5)", "(r9,rb5)", Verdict.WRONG),
        (None, None, "3", Verdict.MOVED),
        ("2", None, "3", Verdict.MOVED),
        ("4", None, "3", Verdict.WRONG),
        ("ESTAB", "ESTAB", "LAST-ACK", Verdict.MOVED),
        ("CLOSING", "ESTAB", "LAST-ACK", Verdict.WRONG),
        ("1.5ms", "1ms", "2ms", Verdict.MOVED),
    ],
)
def test_values(ours: str | None, before: str | None, after: str | None, expected: Verdict) -> None:
    assert verdict("key", ours, before, after) == expected


@pytest.mark.parametrize(
    ("ours", "before", "after", "expected"),
    [
        ("600", "500", "700", Verdict.AGED),
        ("620", "500", "700", Verdict.AGED),
        ("500", "500", "700", Verdict.LATE),
        ("2400", "500", "700", Verdict.WRONG),
        ("150", "500", "700", Verdict.WRONG),
        ("100", "500", "200", Verdict.MOVED),
        ("600", "500", "20", Verdict.MOVED),
        ("1100", "500", "20", Verdict.WRONG),
        (None, "4294668300", "4294668500", Verdict.AGED),
        (None, "500", "700", Verdict.WRONG),
    ],
)
def test_ages(ours: str | None, before: str, after: str, expected: Verdict) -> None:
    """Milliseconds since something: they must have grown by what passed."""
    samples = [Sample({"lastsnd": text}, when) for text, when in ((before, BEFORE), (after, AFTER))]
    (one,) = compare("x", {"lastsnd": ours}, *samples, AT)
    assert one.verdict == expected


@pytest.mark.parametrize(
    ("ours", "before", "after", "expected"),
    [
        ("(on,600ms,1)", "(on,700ms,1)", "(on,500ms,1)", Verdict.AGED),
        ("(on,1.600ms,1)", "(on,1.700ms,1)", "(on,1.500ms,1)", Verdict.AGED),
        ("(timewait,57sec,0)", "(timewait,57sec,0)", "(timewait,57sec,0)", Verdict.EQUAL),
        ("(timewait,56sec,0)", "(timewait,57sec,0)", "(timewait,56sec,0)", Verdict.AGED),
        ("(timewait,50sec,0)", "(timewait,57sec,0)", "(timewait,57sec,0)", Verdict.WRONG),
        ("(on,150ms,1)", "(on,700ms,1)", "(on,500ms,1)", Verdict.WRONG),
        ("(persist,600ms,1)", "(on,700ms,1)", "(on,500ms,1)", Verdict.WRONG),
        ("(on,600ms,2)", "(on,700ms,1)", "(on,500ms,1)", Verdict.WRONG),
        (None, "(on,700ms,1)", "(on,500ms,1)", Verdict.WRONG),
        ("(on,1.600ms,2)", "(on,050ms,1)", "(on,1.500ms,2)", Verdict.MOVED),
        (None, "(on,050ms,1)", None, Verdict.MOVED),
        ("(on,1.600ms,2)", None, None, Verdict.WRONG),
    ],
)
def test_timers(ours: str | None, before: str | None, after: str | None, expected: Verdict) -> None:
    assert verdict("timer", ours, before, after) == expected


def test_what_is_skipped_and_what_flickers() -> None:
    assert verdict("bbr", None, "(bw:0)", "(bw:0)", skipped={"bbr": "private"}) == Verdict.SKIPPED
    before, after = (
        Sample({"retrans": "0/1", "segs": "1"}, BEFORE),
        Sample({"retrans": "0/1", "segs": "9"}, AFTER),
    )
    quiet = Sample({"retrans": "0/1", "segs": "1"}, AFTER)
    ours = {"retrans": "1/1", "segs": "1"}
    flickering = frozenset({"retrans"})
    assert compare("x", ours, before, after, AT, flickering=flickering)[0].verdict == Verdict.SKIPPED
    assert compare("x", ours, before, quiet, AT, flickering=flickering)[0].verdict == Verdict.WRONG
    assert compare("x", ours, before, after, AT)[0].verdict == Verdict.WRONG


def test_without_a_look_after_the_crash() -> None:
    before = Sample({"lastsnd": "500", "cwnd": "10", "timer": "(on,700ms,1)"}, BEFORE)
    ours = {"lastsnd": "600", "cwnd": "10", "timer": "(on,600ms,1)"}
    assert [one.verdict for one in compare("x", ours, before, None, AT)] == [
        Verdict.AGED,
        Verdict.EQUAL,
        Verdict.AGED,
    ]
    wrong = {"lastsnd": "2400", "cwnd": "11", "timer": "(on,150ms,2)"}
    assert [one.verdict for one in compare("x", wrong, before, None, AT)] == [
        Verdict.WRONG,
        Verdict.WRONG,
        Verdict.MOVED,
    ]


@given(st.lists(st.integers(0, 1 << 40), min_size=3, max_size=3))
def test_a_number_is_right_only_between(numbers: list[int]) -> None:
    ours, before, after = numbers
    right = min(before, after) <= ours <= max(before, after)
    assert (verdict("key", str(ours), str(before), str(after)) != Verdict.WRONG) == right


def test_summary_names_what_was_not_equal() -> None:
    found = [Compared("x", "cwnd", Verdict.EQUAL, "1", "1", "1") for _ in range(18)]
    found += [
        Compared("x", "rto", Verdict.MOVED, "2", "1", "3"),
        Compared("x", "bbr", Verdict.SKIPPED, None, "()", "()", "private"),
    ]
    share, text = summary(found)
    assert share == 0.9
    assert "rto: 0 equal, 1 moved" in text
    assert "bbr: 0 equal, 1 skipped private" in text
    assert "cwnd" not in text
