# SPDX-License-Identifier: LGPL-2.1-or-later
"""The filter language on records written by hand."""

from __future__ import annotations

import itertools
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records import (
    NOT_IN_KERNEL,
    UNREADABLE,
    request_record,
    sock_section,
    tcp_record,
    tcp_section,
    timewait_record,
)
from sockcrash.filter import parse_filter, selection
from sockcrash.filter.errors import FilterError
from sockcrash.filter.values import find_value
from sockcrash.model import Absent, Endpoint, OptionValue, Owner, Reason, Section, SocketRecord

ABSENT = Absent(Reason.NOT_APPLICABLE)


def option(name: str, value: Any, text: str = "") -> OptionValue:
    return OptionValue("IPPROTO_TCP", name, 1, value, text or str(value), "set", b"", "m")


def udp_record(**changes: Any) -> SocketRecord:
    udp = Section({"recv_q": 0, "send_q": 1}, (7, 8))
    return tcp_record(
        **{
            "kind": "udp",
            "state": "CLOSE",
            "type": "SOCK_DGRAM",
            "tcp": Section({}, ()),
            "udp": udp,
            **changes,
        }
    )


def unix_record(path: str | Absent, **changes: Any) -> SocketRecord:
    return udp_record(
        kind="unix", family="AF_UNIX", type="SOCK_STREAM", local=Endpoint(path=path), peer=ABSENT, **changes
    )


def ends(local: str, lport: int, peer: str, rport: int, **changes: Any) -> SocketRecord:
    return tcp_record(
        local=Endpoint(address=local, port=lport), peer=Endpoint(address=peer, port=rport), **changes
    )


LINGERING = tcp_record(options=(option("SO_LINGER", {"l_onoff": 1, "l_linger": 5}, "on, 5 s"),))
HERE = ends("192.168.1.2", 40000, "10.1.2.3", 443)
MAPPED = ends("::ffff:192.168.1.2", 40001, "::ffff:10.1.2.3", 443, family="AF_INET6")
V6 = ends("fd00::1", 22, "fd00::2", 50000, family="AF_INET6")
BUSY = tcp_record(
    tcp=tcp_section(snd_cwnd=2, packets_out=5, retrans_out=1, rto_ms=204, rtt_us=1500, icsk_backoff=3),
    sock=sock_section(sk_userlocks=8, sk_rcvbuf=4096),
    options=(option("TCP_NODELAY", 0, "off"), option("TCP_CONGESTION", "cubic")),
    owners=(Owner("fd", 7, "nginx", 3), Owner("fd", 8, "php-fpm", 4)),
    netns=4026532241,
    mark=0x12,
    device="eth0",
    ifindex=2,
    cgroup="/system.slice/nginx.service",
)


@pytest.mark.parametrize(
    ("text", "record", "expected"),
    [
        # ss: ends
        ("dst 10.0.0.0/8", HERE, True),
        ("dst 10.0.0.0/8", MAPPED, True),
        ("dst ::ffff:0:0/96", MAPPED, True),
        ("dst ::ffff:0:0/96", HERE, False),
        ("dst 0.0.0.0/0", V6, False),
        ("dst = 10.1.2.3", HERE, True),
        ("dst != 10.1.2.3", HERE, False),
        ("dst 10.1.2.3:443", HERE, True),
        ("dst 10.1.2.3:80", HERE, False),
        ("dst :443", HERE, True),
        ("dst *:443", MAPPED, True),
        ("src [fd00::1]:22", V6, True),
        ("src fd00::/16", V6, True),
        ("src inet6:*", HERE, False),
        ("src inet6:*", V6, True),
        ("src inet:*", MAPPED, False),
        ("dst fd00::1", V6, False),
        ("src *", HERE, True),
        # ss: ports
        ("dport = :443", HERE, True),
        ("dport 443", HERE, True),
        ("dport = https", HERE, True),
        ("dport = :https", HERE, True),
        ("sport = :ssh", V6, True),
        ("dport eq 443 and sport gt 39999 and sport lt 40001", HERE, True),
        ("sport >= 40000 sport <= 40000", HERE, True),
        ("sport > :40000", HERE, False),
        ("sport != 22", HERE, True),
        # ss: the rest
        ("dev eth0", BUSY, True),
        ("dev = eth1", BUSY, False),
        ("dev != eth1", BUSY, True),
        ("dev = 2", BUSY, True),
        ("fwmark = 0x12", BUSY, True),
        ("fwmark = 0x2/0xf", BUSY, True),
        ("fwmark != 0x2/0xf", BUSY, False),
        ("fwmark = 2", BUSY, False),
        ("cgroup /system.slice/nginx.service", BUSY, True),
        ("cgroup = /system.slice/*", BUSY, True),
        ("cgroup != /user.slice/*", BUSY, True),
        ("autobound", BUSY, False),
        ("autobound", HERE, True),
        ("not autobound", BUSY, True),
        ("autobound", unix_record("@0f3a2"), True),
        ("autobound", unix_record("@bus12"), False),
        ("autobound", unix_record(Absent(Reason.NOT_ASSIGNED)), True),
        ("src unix:/run/*", unix_record("/run/x.sock"), True),
        ("src unix:/RUN/x*", unix_record("/run/x.sock"), True),
        ("src unix:/run/*", HERE, False),
        # ss: states
        ("state established", HERE, True),
        ("state listening", HERE, False),
        ("exclude established", HERE, False),
        ("state all exclude time-wait", timewait_record(), False),
        ("state connected", timewait_record(), True),
        ("state bucket", request_record(), True),
        ("state syn-recv", request_record(), True),
        ("state big", timewait_record(), False),
        ("state synchronized", tcp_record(state="SYN_SENT"), False),
        ("state connected", tcp_record(state="SYN_SENT"), True),
        ("state unconnected", tcp_record(state="CLOSE"), True),
        ("state close", udp_record(), True),
        ("state syn-sent state established", HERE, True),
        ("state = LISTEN", tcp_record(state="LISTEN"), True),
        ("state != established", HERE, False),
        ("state fin-wait-1", tcp_record(state="FIN_WAIT1"), True),
        ("state FIN_WAIT2", tcp_record(state="FIN_WAIT2"), True),
        # fields, by our names and ss's
        ("snd_cwnd < 3 and unacked > 0", BUSY, True),
        ("cwnd = 2 and retrans >= 1 and rto = 204 and backoff = 3", BUSY, True),
        ("rtt > 1.4 and rtt < 1.6", BUSY, True),
        ("rtt_us = 1500", BUSY, True),
        ("tcp.snd_cwnd = 0x2", BUSY, True),
        ("congestion = cubic", BUSY, True),
        ("congestion = cu*", BUSY, True),
        ("congestion != reno", BUSY, True),
        ("negotiated = sack", BUSY, True),
        ("negotiated = ecn", BUSY, False),
        ("recv_q = 7", udp_record(), True),
        ("recv-q = 4", tcp_record(tcp=tcp_section(receive_queue_bytes=4)), True),
        ("send_q = 9", tcp_record(state="LISTEN", sock=sock_section(sk_max_ack_backlog=9)), True),
        ("rcvbuf = 4096", BUSY, True),
        ("kind = tcp-timewait", timewait_record(), True),
        ("kind = tcp*", timewait_record(), True),
        ("so_linger = on", LINGERING, True),
        ("so_linger = off", LINGERING, False),
        ("so_linger = 'on, 5 s'", LINGERING, True),
        ("so_linger = ON", LINGERING, True),
        ("so_linger = 'ON, 5 S'", LINGERING, True),
        ("so_linger = On*", LINGERING, True),
        ("so_linger = 1", LINGERING, True),
        ("so_linger = no", LINGERING, False),
        ("so_linger != OFF", LINGERING, True),
        ("so_type = sock_stream", tcp_record(options=(option("SO_TYPE", 1, "SOCK_STREAM"),)), True),
        ("tcp_congestion = CUBIC", BUSY, False),
        ("netid = tcp", timewait_record(), True),
        ("netid = u_str", unix_record("/x"), True),
        ("torn = no", HERE, True),
        ("cookie = 0x1001", HERE, True),
        ("sk = 1001", HERE, True),
        ("address = ff1deea4829e1b00", HERE, True),
        ("ino = 11138 uid = 33", HERE, True),
        ("timers = retransmit", tcp_record(), False),
        # owners
        ("comm = nginx", BUSY, True),
        ("comm = php-*", BUSY, True),
        ("comm != nginx", BUSY, False),
        ("pid = 8 and fd = 4", BUSY, True),
        ("pid > 8", BUSY, False),
        ("owner = timewait", timewait_record(), True),
        # options
        ("tcp_nodelay = 0", BUSY, True),
        ("TCP_NODELAY = off", BUSY, True),
        ("tcp_nodelay != 0", BUSY, False),
        ("tcp_congestion = cubic", BUSY, True),
        ("tcp_keepidle > 0", BUSY, False),
        # joining
        ("not state listening", HERE, True),
        ("!(dport = 80 | dport = 443)", HERE, False),
        ("! dport = 80 && ! dport = 81", HERE, True),
        ("( state established or state listening ) and not dport = 80", HERE, True),
        ("not (dport = 443 and sport = 1)", HERE, True),
    ],
)
def test_what_a_filter_selects(text: str, record: SocketRecord, expected: bool) -> None:
    assert parse_filter(text).matches(record) is expected


@pytest.mark.parametrize(
    "text",
    [
        "snd_cwnd < 3", "snd_cwnd >= 3", "snd_cwnd != 3", "tcp_nodelay = 0", "tcp_nodelay != 0", "dst 0.0.0.0/0",
        "dport = 1", "dport != 1", "path = /x", "src unix:*", "congestion = cubic", "congestion != cubic",
        "cc.ssthresh = 1", "comm = x", "device = eth0", "device != eth0",
    ],
)  # fmt: skip
def test_what_is_absent_is_never_selected_nor_is_its_negation(text: str) -> None:
    gone = udp_record(peer=ABSENT, local=Endpoint(portid=3), owners=(), options=())
    assert not parse_filter(text).matches(gone)
    assert not parse_filter(f"not {text}").matches(gone)
    assert not parse_filter(f"not (not {text})").matches(gone)


def test_an_unreadable_value_selects_nothing() -> None:
    record = tcp_record(tcp=tcp_section(snd_cwnd=UNREADABLE), inode=NOT_IN_KERNEL)
    for text in ("snd_cwnd = 0", "snd_cwnd != 0", "inode = 0", "not inode = 0"):
        assert not parse_filter(text).matches(record)


def test_what_could_not_be_told_is_noted() -> None:
    gone = tcp_record(tcp=tcp_section(snd_cwnd=UNREADABLE), options=(option("TCP_NODELAY", UNREADABLE),))
    found = parse_filter("not (cwnd < 3 and rto = 7) or tcp_nodelay = 1 or dev eth0")
    assert not found.matches(udp_record(options=()))
    assert found.lost == {}
    assert found.matches(gone)
    assert found.lost == {"cwnd": UNREADABLE}
    found = parse_filter("tcp_nodelay = 1")
    assert not found.matches(gone)
    assert found.lost == {"tcp_nodelay": UNREADABLE}


def test_namespaces_are_looked_up_by_name() -> None:
    found = parse_filter("netns = blue or netns = 4026531840")
    assert list(found.namespaces) == ["blue"]
    found.resolve({"blue": BUSY.netns}.__getitem__)
    assert found.matches(BUSY)
    assert found.matches(HERE)
    other = parse_filter("netns != blue")
    other.resolve({"blue": BUSY.netns}.__getitem__)
    assert not other.matches(BUSY)
    assert other.matches(HERE)


def test_what_the_target_may_not_have_is_known() -> None:
    found = selection("dev eth0 or (not device = lo and ifindex = 7) or dev 9", None, "/a")
    assert found
    assert found.named == {("device", "eth0"), ("device", "lo"), ("cgroup", "/a")}
    found = selection("cgroup = '/*'", None, "01ab")
    assert found
    assert found.named == {("container", "01ab*"), ("cgroup", "/*")}


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("snd_cwmd < 3", "snd_cwmd", "Did you mean snd_cwnd"),
        ("dport = 80 and tcp_nodely = 1", "tcp_nodely", "Did you mean tcp_nodelay"),
        ("state etablished", "etablished", "Did you mean established"),
        ("state new_syn_rcv", "new_syn_rcv", "no state"),
        ("dport = :nosuchservice", ":nosuchservice", "neither a port nor a service"),
        ("dport = 65536", "65536", "no port"),
        ("dst example.com", "example.com", "not looked up"),
        ("dst 10.0.0.0/33", "10.0.0.0/33", "no address"),
        ("src inet6:10.0.0.1", "inet6:10.0.0.1", "no IPv6"),
        ("snd_cwnd < abc", "abc", "numbers"),
        ("snd_cwnd = abc", "abc", "is a number"),
        ("comm < 3", "comm", "is text"),
        ("kind = TCP", "TCP", "Did you mean tcp?"),
        ("kind = sctp", "sctp", "one of inet, mptcp"),
        ("owner != acceptqueue", "acceptqueue", "Did you mean accept-queue"),
        ("timer = rto", "rto", "retransmit"),
        ("protocol = tcp", "tcp", "Did you mean IPPROTO_TCP?"),
        ("so_linger > 3", "so_linger", "no single number"),
        ("so_type = sock_strem", "sock_strem", "Did you mean SOCK_STREAM"),
        ("so_type = stream", "stream", "Did you mean SOCK_STREAM?"),
        ("tcp_nodelay = enabled", "enabled", "one of off, on"),
        ("ip_mtu_discover = ip_pmtudisc_do", "ip_pmtudisc_do", "DONT"),
        ("ca_state = loss", "loss", "Did you mean Loss?"),
        ("src vsock:x:5000", "vsock:x:5000", "no cid"),
        ("fwmark = red", "red", "no mark"),
        ("dst > 10.0.0.1", "dst", "= or !="),
        ("dport = 80 and", "", "too early"),
        ("( dport = 80", "", ") is missing"),
        ("dport = 80 )", ")", "out of place"),
        ("snd_cwnd 3", "3", "comparison"),
        ("snd_cwnd <", "", "a value is missing"),
        ("dport = 1 or dport = 2 and sport = 3", "and", "parentheses"),
        ("dport = 1 and dport = 2 or sport = 3", "or", "parentheses"),
        ("comm = 'x", "'", "out of place"),
        ("= 3", "=", "out of place"),
        ("", "", "empty"),
        ("  ", "", "empty"),
    ],
)
def test_a_wrong_filter_is_answered_with_its_place(text: str, place: str, says: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    error = caught.value
    assert text[error.start : error.end] == place
    assert says in error.message
    assert error.exit_code == 2
    shown, caret = (error.hint or "").splitlines()[1:]
    assert shown[2:] == text
    assert caret.index("^") == 2 + error.start


def test_words_that_are_operators_are_values_after_one() -> None:
    assert parse_filter("comm = and").matches(tcp_record(owners=(Owner("fd", 1, "and", 2),)))
    assert parse_filter('comm = "a (b) or c"').matches(tcp_record(owners=(Owner("fd", 1, "a (b) or c", 2),)))
    assert parse_filter(r"comm = 'it\'s'").matches(tcp_record(owners=(Owner("fd", 1, "it's", 2),)))
    assert parse_filter("comm = andy and device=eth0").matches(
        tcp_record(owners=(Owner("fd", 1, "andy", 2),), device="eth0")
    )


def test_what_is_wanted_is_no_more_than_what_is_compared() -> None:
    assert parse_filter("state established and dst 10.0.0.0/8").want.members == frozenset()
    assert parse_filter("state established and dst 10.0.0.0/8").want.parts == frozenset()
    assert parse_filter("cwnd < 3").want.members == {"snd_cwnd"}
    assert parse_filter("comm = x").want.parts == {"owners"}
    assert parse_filter("tcp_nodelay = 1 and SO_RCVBUF > 1").options == {"TCP_NODELAY", "SO_RCVBUF"}


LEAVES = ("snd_cwnd < 3", "dport = 443", "congestion = cubic")
TREES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    ),
    max_leaves=8,
)


def _text(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    if tree[0] == "not":
        return f"not ({_text(tree[1])})"
    return f"({_text(tree[1])}) {tree[0]} ({_text(tree[2])})"


def _truth(tree: Any, known: dict[str, bool | None]) -> bool | None:
    """Kleene's logic of three values."""
    if isinstance(tree, str):
        return known[tree]
    parts = [_truth(part, known) for part in tree[1:]]
    if tree[0] == "not":
        return None if parts[0] is None else not parts[0]
    decisive = tree[0] == "or"
    return decisive if decisive in parts else None if None in parts else not decisive


@given(tree=TREES)
def test_joined_terms_follow_the_logic_of_three_values(tree: Any) -> None:
    compiled = parse_filter(_text(tree))
    for one, two, three in itertools.product((True, False, None), repeat=3):
        record = tcp_record(
            tcp=tcp_section(
                snd_cwnd={True: 2, False: 9, None: UNREADABLE}[one],
                congestion={True: "cubic", False: "reno", None: ABSENT}[three],
            ),
            peer={
                True: Endpoint(address="::", port=443),
                False: Endpoint(address="::", port=1),
                None: ABSENT,
            }[two],
        )
        known = {"snd_cwnd < 3": one, "dport = 443": two, "congestion = cubic": three}
        assert compiled.matches(record) is (_truth(tree, known) is True)


@given(text=st.text(max_size=60))
def test_any_text_is_a_filter_or_a_usage_error(text: str) -> None:
    try:
        parse_filter(text).matches(BUSY)
    except FilterError as raised:
        error = raised
    else:
        return
    assert 0 <= error.start <= error.end <= len(text) + 1


WORDS = st.sampled_from(
    ["state", "established", "(", ")", "and", "or", "not", "!", "=", "<", "dport", ":443", "dst", "10.0.0.0/8", "comm",
     "nginx", "snd_cwnd", "3", "'", '"', "\\", "autobound", "fwmark", "0x1/0x2", "exclude", "netns", "blue", "&", "|"]
)  # fmt: skip


@given(words=st.lists(WORDS, max_size=16))
def test_so_are_words_of_the_language_in_any_order(words: list[str]) -> None:
    test_any_text_is_a_filter_or_a_usage_error.hypothesis.inner_test(" ".join(words))


def test_a_deep_filter_is_refused_in_words() -> None:
    with pytest.raises(FilterError, match="deep"):
        parse_filter("not " * 500 + "dport = 1")
    assert parse_filter("(" * 50 + "dport = 1" + ")" * 50).matches(ends("::", 1, "::", 1))


def test_services_are_those_of_this_machine() -> None:
    assert parse_filter("dport = domain").matches(ends("::", 1, "::", socket.getservbyname("domain")))


def test_a_netid_that_depends_on_a_lost_type() -> None:
    """``unix`` is none of ss's, which are u_str, u_dgr and u_seq."""
    value = find_value("netid")
    assert value is not None
    gone = Absent(Reason.UNREADABLE, "0x5")
    assert value.get(tcp_record(kind="unix", type=gone)) == gone
    assert value.get(tcp_record(kind="udp", type=gone)) == "udp"
    assert value.get(tcp_record(kind="unix", type="SOCK_STREAM")) == "u_str"
