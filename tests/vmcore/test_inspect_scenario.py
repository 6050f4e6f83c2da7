# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the scenario (tests/guest) did to each labelled socket shows in its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness import only

if TYPE_CHECKING:
    from harness import Dump, Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

HZ = 250
AF_INET, AF_INET6 = 2, 10
SOL_SOCKET, IPPROTO_TCP = 1, 6
SO_PROTOCOL, TCP_WINDOW_CLAMP = 38, 10
INET_KINDS = {
    (1, 6): "tcp",
    (1, 262): "mptcp",
    (2, 17): "udp",
    (2, 136): "udplite",
    (2, 1): "ping",
    (2, 58): "ping",
}
KINDS_OF_FAMILY = {1: "unix", 16: "netlink", 17: "packet", 40: "vsock", 44: "xdp"}
NAGLE_OFF, NAGLE_CORK, NAGLE_BITS = 1, 2, 3  # of tcp_sock.nonagle; bit 4 comes and goes
INET_NUM = "inet_conn.icsk_inet.sk.__sk_common.skc_num"
NOT_ACCEPTED = "listen-unaccepted"


def answer(dump: Dump, label: str, level: int, number: int, signed: bool = False) -> int | None:
    """What getsockopt said last before the dump, of an option that is an int."""
    raw = dump.truth.raw["before"]["options"][label]["value"].get(str(level), {}).get(str(number))
    return int.from_bytes(bytes.fromhex(raw), "little", signed=signed) if isinstance(raw, str) else None


def kind_of(dump: Dump, label: str) -> str:
    one = dump.truth.sockets[label]
    if one["family"] not in (AF_INET, AF_INET6):
        return KINDS_OF_FAMILY.get(one["family"], "other")
    protocol = answer(dump, label, SOL_SOCKET, SO_PROTOCOL)
    return "raw" if one["type"] == 3 else INET_KINDS.get((one["type"], protocol or 0), "inet")


def tcp(dump: Dump, label: str) -> dict[str, Any]:
    """The tcp and the sock section of a label as one, and the record's own keys."""
    record = dump.labelled(label)
    return {**record, **record["sock"], **record["tcp"]}


def pending(record: Record) -> dict[str, int]:
    """Timers that run: ms left."""
    return {one["name"]: one["expires_in_ms"] for one in record["timers"] if one["pending"]}


def gone(dump: Dump, label: str) -> Record:
    """The record of an object without a descriptor, by its ends."""
    one = dump.truth.without_fd[label]
    ends = [{"address": end[0], "port": end[1]} for end in (one["local"], one["peer"])]
    return only([found for found in dump.records if [found["local"], found["peer"]] == ends])


# What was told of every held socket


def test_who_every_held_socket_is(dump: Dump) -> None:
    for label, one in dump.truth.sockets.items():
        found = dump.labelled(label)
        assert (label, found["kind"]) == (label, kind_of(dump, label))
        assert (label, found["inode"], found["netns"]) == (label, one["inode"], one["netns"])
        holder = {"kind": "fd", "pid": one["pid"], "comm": "python3", "fd": one["fd"]}
        assert holder in found["owners"], label
        assert (found["torn"], found["proved"]) == (False, True)


def test_states(dump: Dump) -> None:
    states = {label: one["state"] for label, one in dump.truth.tcp_sockets.items()}
    assert {label: dump.labelled(label)["state"] for label in states} == states
    assert set(states.values()) >= {
        "ESTABLISHED", "SYN_SENT", "FIN_WAIT1", "FIN_WAIT2", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING",
    }  # fmt: skip


def test_ends_of_every_tcp_socket(dump: Dump) -> None:
    """getsockname() remembers the port of a closed socket that gave it back: there inet_num is 0."""
    for label, one in dump.truth.tcp_sockets.items():
        found = dump.labelled(label)
        assert (label, found["local"]["address"]) == (label, one["local"][0])
        given_back = one["state"] == "CLOSE" and not dump.object(found).subobject_(INET_NUM)
        assert (label, found["local"]["port"]) == (label, 0 if given_back else one["local"][1])
        if one["peer"] is not None:
            assert (label, list(found["peer"].values())) == (label, one["peer"][:2])


def test_sockets_of_this_scenario_only_once_held(dump: Dump) -> None:
    """Every descriptor of the scenario's process is found, and no socket has one twice."""
    held = {(one["pid"], one["fd"]) for one in dump.truth.sockets.values()}
    owners = [(holder.get("pid"), holder.get("fd")) for one in dump.records for holder in one["owners"] or ()]
    assert held <= set(owners)
    flows = [one for one in dump.records if one["kind"] == "tcp" and one["tcp"]["is_mptcp"]]
    shared = {(holder.get("pid"), holder.get("fd")) for one in flows for holder in one["owners"] or ()}
    assert all(owners.count(holder) == 1 for holder in held - shared)


def test_other_holders_of_descriptors(dump: Dump) -> None:
    """dup, fork, a process alone, a thread's own table, another PID namespace."""
    holders = [one for one in dump.truth.raw["holders"] if one["how"] == "fd"]
    assert len(holders) >= 5
    for one in holders:
        found = only([record for record in dump.records if record["inode"] == one["inode"]])
        fds = {(owner["pid"], owner["fd"]) for owner in found["owners"] if owner["kind"] == "fd"}
        assert (one["label"], one["pid"], one["fd"]) in {(one["label"], *holder) for holder in fds}


# Options


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("est-silent", {"nonagle": 0, "bytes_sent": 0, "keepalive_time": 0}),
        ("est-keepalive", {"keepalive_time": 600 * HZ, "keepalive_intvl": 30 * HZ, "keepalive_probes": 5}),
        ("est-buffers", {"sk_rcvbuf": 60000, "sk_sndbuf": 100000}),
        ("est-maxseg", {"rx_opt.user_mss": 536}),
        ("est-user-timeout", {"icsk_user_timeout": 12345, "icsk_syn_retries": 2}),
        ("est-linger", {"linger2": 5 * HZ}),
        (
            "est-sock",
            {"mark": 77, "sk_priority": 3, "sk_rcvlowat": 100, "max_pacing_rate_bytes_per_s": 1_000_000},
        ),
        ("est-device", {"device": "lo", "ifindex": 1}),
        ("est-lowat", {"notsent_lowat": 100000, "recvmsg_inq": 1, "thin_lto": 1, "tcp_tx_delay": 1000}),
        ("est-reno", {"congestion": "reno", "icsk_ca_setsockopt": 1}),
        ("est-bbr", {"congestion": "bbr", "icsk_ca_setsockopt": 1}),
        ("est-dctcp-child", {"congestion": "cubic", "icsk_ca_setsockopt": 0}),
        ("est-v4", {"ulp": None, "family": "AF_INET", "v6only": None, "device": None}),
        ("listen-v6", {"v6only": True, "sk_max_ack_backlog": 16}),
        ("listen-dual", {"v6only": False, "family": "AF_INET6"}),
        ("tuned-est", {"congestion": "reno", "negotiated": ["ecn", "ecnseen"], "reordering": 7}),
        ("tuned-est-v6", {"congestion": "cubic"}),
        ("bound-v4", {"sk_userlocks": 12, "snd_nxt": 0}),
        ("fresh-v4", {"sk_userlocks": 0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_set(dump: Dump, label: str, expected: dict[str, Any]) -> None:
    found = tcp(dump, label)
    assert {key: found[key] for key in expected} == expected


def test_nagle(dump: Dump) -> None:
    assert tcp(dump, "est-nodelay")["nonagle"] & NAGLE_BITS == NAGLE_OFF
    assert tcp(dump, "est-v6-options")["nonagle"] & NAGLE_BITS == NAGLE_OFF
    assert tcp(dump, "est-v4")["nonagle"] & NAGLE_BITS == 0


def test_upper_layer(dump: Dump) -> None:
    (request,) = dump.truth.sockets["est-ulp"]["set"]
    assert tcp(dump, "est-ulp")["ulp"] == (None if request["errno"] else "tls")


# key: level, number of the option that copies it out
OPTIONS = {
    "sk_rcvbuf": (SOL_SOCKET, 8),
    "sk_sndbuf": (SOL_SOCKET, 7),
    "sk_priority": (SOL_SOCKET, 12),
    "sk_rcvlowat": (SOL_SOCKET, 18),
    "mark": (SOL_SOCKET, 36),
    "window_clamp": (IPPROTO_TCP, TCP_WINDOW_CLAMP),
    "icsk_user_timeout": (IPPROTO_TCP, 18),
    "notsent_lowat": (IPPROTO_TCP, 25),
    "save_syn": (IPPROTO_TCP, 27),
    "tcp_tx_delay": (IPPROTO_TCP, 37),
    "thin_lto": (IPPROTO_TCP, 16),
    "repair": (IPPROTO_TCP, 19),
    "fastopen_connect": (IPPROTO_TCP, 30),
    "recvmsg_inq": (IPPROTO_TCP, 36),
    "fastopenq.max_qlen": (IPPROTO_TCP, 23),
}


@pytest.mark.parametrize("key", OPTIONS)
def test_members_that_getsockopt_copies_out(dump: Dump, key: str) -> None:
    told = {label: answer(dump, label, *OPTIONS[key]) for label in dump.truth.tcp_sockets}
    assert {label: tcp(dump, label)[key] for label in told} == told


@pytest.mark.parametrize("label", ["listen-options", "est-inherit-child"])
def test_what_a_child_inherits(dump: Dump, label: str) -> None:
    expected = {
        "keepalive_time": 77 * HZ, "keepalive_intvl": 11 * HZ, "keepalive_probes": 4,
        "icsk_user_timeout": 55000, "sk_rcvbuf": 131072, "sk_sndbuf": 262144, "rx_opt.user_mss": 1200,
        "notsent_lowat": 16384, "save_syn": 1, "linger2": 9 * HZ, "icsk_syn_retries": 3, "sk_rcvlowat": 2,
        "mark": 0x1234,
    }  # fmt: skip
    found = tcp(dump, label)
    assert {key: found[key] for key in expected} == expected
    assert found["nonagle"] & NAGLE_BITS == NAGLE_OFF
    assert found["fastopenq.max_qlen"] == (5 if label == "listen-options" else 0)


def test_only_the_keepalive_timer_of_an_idle_socket_runs(dump: Dump) -> None:
    (left,) = pending(dump.labelled("est-keepalive")).values()
    assert 500_000 < left <= 600_000
    assert pending(dump.labelled("est-v4")) == {}


# Queues and windows


def test_bytes_that_wait(dump: Dump) -> None:
    corked = tcp(dump, "corked-child")
    assert corked["nonagle"] & NAGLE_BITS == NAGLE_CORK
    assert corked["notsent_bytes"] == 333
    assert corked["send_queue_bytes"] == corked["unacked_bytes"] + 333
    assert tcp(dump, "unread-child")["receive_queue_bytes"] == tcp(dump, "unread")["bytes_sent"] > 4000
    urgent = tcp(dump, "urgent-child")
    assert urgent["urg_data"] & 0x100
    assert urgent["urg_data"] & 0xFF == ord("!")
    assert urgent["urg_seq"] == urgent["rcv_nxt"] - 1


def test_a_closed_window(dump: Dump) -> None:
    sender, reader = tcp(dump, "zero-window"), tcp(dump, "zero-window-child")
    assert sender["snd_wnd"] < sender["mss_cache"]
    assert sender["notsent_bytes"] > 100_000
    assert sender["rwnd_limited_us"] > 100_000
    assert sender["chrono_type"] == 2
    assert set(pending(sender)) & {"persist", "retransmit"}
    assert reader["receive_queue_bytes"] > 0
    assert reader["receive_window_bytes"] < sender["mss_cache"]


def test_retransmission_to_a_dead_peer(dump: Dump) -> None:
    found = tcp(dump, "dead-peer")
    assert found["icsk_backoff"] >= 1
    assert found["icsk_retransmits"] >= 1
    assert found["ca_state"] == "Loss"
    assert found["rto_ms"] == min(120_000, found["rto_ms"])
    assert list(pending(found)) == ["retransmit"]


def test_out_of_order_data(dump: Dump) -> None:
    found = tcp(dump, "out-of-order")
    if dump.truth.before[int(dump.labelled("out-of-order")["cookie"], 16)].keys.get("rcv_ooopack") is None:
        pytest.skip(f"{dump.series}: this guest was so slow that nothing arrived out of order")
    assert found["rcv_ooopack"] >= 1
    assert found["rx_opt.num_sacks"] == 1


def test_children_that_nobody_accepted(dump: Dump) -> None:
    assert tcp(dump, NOT_ACCEPTED)["sk_ack_backlog"] == 3
    for number in range(3):
        child = gone(dump, f"unaccepted-{number}-child")
        assert (child["kind"], child["state"], child["inode"]) == ("tcp", "ESTABLISHED", None)
        assert child["tcp"]["receive_queue_bytes"] == 100 * number
        assert child["tcp"]["nonagle"] & NAGLE_BITS == NAGLE_OFF
        assert not [holder for holder in child["owners"] if holder["kind"] in ("fd", "orphan")]


# Mini sockets


@pytest.mark.parametrize("label", ["request-v4-0", "request-v4-1", "request-v4-2", "request-v6"])
def test_requests_know_their_listener(dump: Dump, label: str) -> None:
    found = gone(dump, label)
    listener = dump.labelled("listen-request-v6" if "v6" in label else "listen-request-v4")
    assert (found["kind"], found["state"]) == ("tcp-request", "NEW_SYN_RECV")
    assert found["owners"] == [{"kind": "request", "listener": listener["address"]}]
    assert found["minisock"]["listener"] == listener["address"]
    assert list(pending(found)) == ["syn-ack"]
    assert found["netns"] == listener["netns"]


def test_the_queue_of_requests(dump: Dump) -> None:
    assert tcp(dump, "listen-request-v4")["accept_queue.qlen"] == 3
    assert tcp(dump, "listen-request-v6")["accept_queue.qlen"] == 1
    assert tcp(dump, "listen-v4")["accept_queue.qlen"] == 0


@pytest.mark.parametrize(
    ("label", "state", "substate"),
    [
        ("time-wait-v4", "TIME_WAIT", 6),
        ("time-wait-v6", "TIME_WAIT", 6),
        ("orphan-fin-wait2", "FIN_WAIT2", 5),
    ],
)
def test_time_wait(dump: Dump, label: str, state: str, substate: int) -> None:
    found = gone(dump, label)
    assert (found["kind"], found["state"]) == ("tcp-timewait", state)
    assert found["minisock"]["tw_substate"] == substate
    assert found["owners"] == [{"kind": "timewait"}]
    assert 0 < pending(found)["time-wait"] <= 60_000
    assert found["inode"] is None
    assert found["absent"]["inode"].startswith("not_applicable")


# MPTCP


def test_multipath(dump: Dump) -> None:
    if "mptcp" not in dump.truth.sockets:
        assert {one["label"] for one in dump.truth.raw["refused"]} >= {"mptcp"}, "neither opened nor refused"
        assert not [one for one in dump.records if one["kind"] == "mptcp"]
        return
    for label in ("mptcp", "mptcp-child"):
        whole = dump.labelled(label)
        flows = [one for one in dump.records if one["kind"] == "tcp" and one["inode"] == whole["inode"]]
        flow = only(flows)
        assert flow["tcp"]["is_mptcp"] == 1
        assert flow["tcp"]["ulp"] == "mptcp"
        assert (flow["local"], flow["peer"], flow["state"]) == (whole["local"], whole["peer"], "ESTABLISHED")
    assert dump.labelled("mptcp-fallback")["tcp"]["is_mptcp"] == 0
