# SPDX-License-Identifier: LGPL-2.1-or-later
"""What setsockopt takes: bytes as C lays them out into values; and which values may ever be fetched."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from typing import Any

import pytest
from hypothesis import given as fuzzed
from hypothesis import strategies as st

from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.kernel.options.given import FETCHED, LEVEL_NUMBERS, given, level_name, names, options_called
from sockcrash.kernel.probes import Place
from sockcrash.trace.bpftrace import script
from sockcrash.trace.probes import Wanted, events

TCP, SOCKET, IP, IPV6 = 6, 1, 0, 41
# tcp(7), tls.rst, af_alg.h, xfrm.h: what holds keys, or a policy that may
SECRETS = {
    (TCP, 14): "TCP_MD5SIG", (TCP, 32): "TCP_MD5SIG_EXT", (TCP, 33): "TCP_FASTOPEN_KEY", (TCP, 38): "TCP_AO_ADD_KEY",
    (282, 1): "TLS_TX", (282, 2): "TLS_RX", (279, 1): "ALG_SET_KEY", (IP, 16): "IP_IPSEC_POLICY",
    (IP, 17): "IP_XFRM_POLICY", (IPV6, 34): "IPV6_IPSEC_POLICY", (IPV6, 35): "IPV6_XFRM_POLICY",
}  # fmt: skip
STORAGE = struct.pack("=HH4s", 2, 0, socket.inet_aton("232.1.1.1")).ljust(128, b"\0")
SOURCE = struct.pack("=HH4s", 2, 0, socket.inet_aton("10.0.0.9")).ljust(128, b"\0")


@pytest.mark.parametrize(
    ("level", "number", "raw", "value", "text"),
    [
        (TCP, 1, struct.pack("<i", 1), 1, "on"),
        (TCP, 4, struct.pack("<i", -1), -1, "-1 s"),
        (IP, 2, b"\x40", 64, "64"),
        (SOCKET, 20, struct.pack("<qq", 3, 500000), {"sec": 3, "usec": 500000}, "3.5 s"),
        (SOCKET, 20, struct.pack("<ii", 3, 500000), {"sec": 3, "usec": 500000}, "3.5 s"),
        (SOCKET, 13, struct.pack("<ii", 0, 9), {"onoff": 0, "linger": 9}, "off"),
        (SOCKET, 47, struct.pack("<I", 5000), 5000, "5000 B/s"),
        (SOCKET, 47, struct.pack("<Q", 1 << 40), 1 << 40, f"{1 << 40} B/s"),
        (SOCKET, 26, struct.pack("<HxxxxxxQ", 12, 1), {"instructions": 12}, "classic BPF, 12 instructions"),
        (SOCKET, 37, struct.pack("<i", 0x10), {"flags": 16}, "SOF_TIMESTAMPING_SOFTWARE"),
        (SOCKET, 65, struct.pack("<ii", 0x10, 2), {"flags": 16, "bind_phc": 2}, "SOF_TIMESTAMPING_SOFTWARE"),
        (TCP, 13, b"cubic", "cubic", "cubic"),
        (IP, 42, struct.pack("<I4x", 3) + STORAGE, {"group": "232.1.1.1", "ifindex": 3}, "232.1.1.1 on device 3"),
        (IP, 42, struct.pack("<I", 3) + STORAGE, {"group": "232.1.1.1", "ifindex": 3}, "232.1.1.1 on device 3"),
        (
            IP, 46, struct.pack("<I4x", 3) + STORAGE + SOURCE,
            {"group": "232.1.1.1", "ifindex": 3, "source": "10.0.0.9"}, "232.1.1.1 on device 3 from 10.0.0.9",
        ),
        (
            IP, 46, struct.pack("<I", 3) + STORAGE + SOURCE,
            {"group": "232.1.1.1", "ifindex": 3, "source": "10.0.0.9"}, "232.1.1.1 on device 3 from 10.0.0.9",
        ),
        (IP, 50, struct.pack(">I", 2), 2, "2"),
        (263, 18, struct.pack("<I", 7 | 2 << 16), 7 | 2 << 16, "group 7 cpu"),
    ],
)  # fmt: skip
def test_values(level: int, number: int, raw: bytes, value: Any, text: str) -> None:
    option = given(level, number)
    assert option is not None
    assert option.read is not None
    assert option.read(raw, "<") == value
    assert option.text(value) == text


def test_every_option_that_getsockopt_gives_is_known_by_its_name() -> None:
    for row in ROWS:
        option = given(LEVELS[row.level], row.number)
        assert option is not None
        assert row.name in (option.name, "SO_GET_FILTER")
    assert [one.level for one in options_called("MCAST_JOIN_GROUP")] == ["IPPROTO_IP", "IPPROTO_IPV6"]
    assert "SO_SNDBUFFORCE" in names()
    assert all(LEVEL_NUMBERS[level_name(number)] == number for number in (*LEVELS.values(), 279))


OPTIONS = st.sampled_from([one for row in ROWS if (one := given(LEVELS[row.level], row.number)) is not None])


@fuzzed(OPTIONS, st.binary(max_size=300), st.sampled_from("<>"))
def test_any_bytes_are_a_value_or_refused(option: Any, raw: bytes, order: str) -> None:
    if option.read is None:
        return
    with contextlib.suppress(ValueError):
        assert isinstance(option.text(option.read(raw, order)), str)


def fetches(filter_text: str, level: int, number: int) -> bool:
    """What a filter of the kernel says of an option, by Python."""
    text = filter_text.replace("&&", " and ").replace("||", " or ")
    text = re.sub(r"!(?!=)", " not ", text)
    return bool(eval(text, {}, {"level": level, "optname": number, "COMM": "x", "ret": 0, "op": 3}))


PLACES = (
    Place("enter", "f", ("level=$arg2:s32",), ("value=+0($arg4):x64[4]",)),
    Place("uring_enter", "g", ("op=$arg1:s32",), ("value=+0($arg2):x64[4]",), only="op == 3"),
    Place("socket", "h", ("sk=$arg1:x64",)),
    Place("exit", "f", ("ret=$retval:s32",), returns=True),
)


@pytest.mark.parametrize("via", ["", "uring_"])
def test_each_call_goes_to_one_event_and_secrets_to_that_without_a_value(via: str) -> None:
    made = {one.name: one for one in events(PLACES, Wanted())}
    shown, hidden = made[f"{via}enter"], made[f"{via}hidden"]
    assert "value=" in shown.definition
    assert "value=" not in hidden.definition
    for level in (*LEVELS.values(), 279, 132, 99):
        for number in range(-2, 220):
            assert fetches(shown.filter, level, number) is not fetches(hidden.filter, level, number)
    for level, number in SECRETS:
        assert fetches(hidden.filter, level, number)
    for level, number in ((TCP, 1), (SOCKET, 13), (IP, 35), (IPV6, 26), (263, 5), (282, 3)):
        assert fetches(shown.filter, level, number)
    for level, number in ((TCP, 47), (279, 1), (132, 23), (282, 6)):
        assert fetches(hidden.filter, level, number)


def test_an_event_that_no_wanted_option_needs_is_not_defined() -> None:
    def named(*options: tuple[int, int]) -> set[str]:
        return {one.name for one in events(PLACES[:1], Wanted(options=options))}

    assert named() == named((TCP, 1), (TCP, 33)) == {"enter", "hidden", "light"}
    assert named((TCP, 1), (SOCKET, 2)) == {"enter", "light"}
    assert named((TCP, 33), (279, 1)) == {"hidden", "light"}


def test_every_secret_is_marked() -> None:
    for (level, number), name in SECRETS.items():
        option = given(level, number)
        assert option is not None
        assert (option.name, option.secret) == (name, True)


def test_filters_of_the_kernel() -> None:
    wanted = Wanted(comms=("nginx", "a b"), options=((6, 1), (1, 2)), levels=(6,), failed=True)
    made = {one.name: one.filter for one in events(PLACES, wanted)}

    assert '(COMM == "nginx" || COMM == "a b")' in made["enter"]
    assert "((level == 6 && optname == 1) || (level == 1 && optname == 2)) && (level == 6)" in made[
        "enter"
    ].replace("&& level == 6 &&", "&& (level == 6) &&")
    assert made["exit"] == '(COMM == "nginx" || COMM == "a b") && ret < 0'
    assert made["socket"] == '(COMM == "nginx" || COMM == "a b")'


def test_the_script_for_bpftrace_looks_at_no_secret() -> None:
    text = script(Wanted(pids=(5,), comms=("x",), options=((6, 1),)))

    assert '/(pid == 5) && (comm == "x") && (((int32)arg1 == 6 && (int32)arg2 == 1))/' in text
    for _, _, secret in FETCHED:
        for number in secret:
            assert f"$option != {number}" in text
    assert "{{" not in text


def test_the_script_for_bpftrace_filters_by_result_and_port() -> None:
    text = script(Wanted(failed=True, ports=(80, 443)))

    (shown,) = (line for line in text.splitlines() if "retval < 0" in line)
    assert (
        shown.count(" == 80")
        == shown.count(" == 443")
        == shown.count("skc_num")
        == shown.count("bswap(")
        == 2
    )
    assert "  if (1) {" in script(Wanted())
