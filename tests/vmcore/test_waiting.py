# SPDX-License-Identifier: LGPL-2.1-or-later
"""What waits in the sockets of a dump, against the kernel's own accounts and drgn's walkers; pictures; the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from drgn import cast
from drgn.helpers.linux.rbtree import rbtree_inorder_for_each_entry

from harness import Dump, sockcrash_here
from oracle.picture import Space, spaces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drgn import Object

    from harness import Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

LISTEN = "LISTEN"
SACKED, RETRANSMITTED, LOST = 1, 2, 4  # TCPCB_*


@pytest.fixture(scope="module")
def listed(dump: Dump) -> list[Record]:
    """Every socket with its buffers, and eight bytes of each."""
    ended = dump.inspect("--all", "--queues", "--payload", "8", "--format", "jsonl")
    assert ended.status == 0
    return ended.records


def tcp(listed: list[Record]) -> Iterator[Record]:
    return (one for one in listed if one["kind"] == "tcp" and one["state"] != LISTEN)


def labelled(dump: Dump, listed: list[Record], label: str) -> Record:
    cookie = f"{dump.truth.sockets[label]['cookie']:#x}"
    (found,) = [one for one in listed if one["cookie"] == cookie]
    return found


def packet_options(dump: Dump, record: Record) -> int:
    """The memory of the packet that IPV6_2292PKTOPTIONS gives, which is charged as if it was received."""
    v6 = dump.object(record).inet_conn.icsk_inet.pinet6
    return int(v6.pktoptions.truesize) if v6 and v6.pktoptions else 0


def test_memory_of_the_queues_is_what_the_kernel_has_charged(dump: Dump, listed: list[Record]) -> None:
    """sk_wmem_queued and sk_rmem_alloc count the same buffers, one by one as they come and go."""
    counted = 0
    for one in tcp(listed):
        memory = {name: queue["truesize"] for name, queue in one["queues"].items()}
        assert memory["write"] + memory["retransmit"] == one["sock"]["sk_wmem_queued"], one["address"]
        received = memory["receive"] + memory["out_of_order"] + packet_options(dump, one)
        assert received == one["sock"]["sk_rmem_alloc"], one["address"]
        counted += any(memory.values())
    assert counted > 10


def test_bytes_of_the_queues_are_what_the_sequence_numbers_say(listed: list[Record]) -> None:
    """SYN and FIN take a sequence number and no byte."""
    for one in tcp(listed):
        queues, section = one["queues"], one["tcp"]
        phantom = 1 if one["state"] in ("SYN_SENT", "FIN_WAIT1", "CLOSING", "LAST_ACK") else 0
        sent = queues["write"]["bytes"] + queues["retransmit"]["bytes"]
        assert sent == section["send_queue_bytes"] - phantom or one["state"] == "CLOSE", one["address"]
        fin = sum("FIN" in segment["flags"] for segment in queues["receive"]["segments"])
        assert queues["receive"]["bytes"] == section["receive_queue_bytes"] - fin or one["state"] == "CLOSE"


def test_segments_are_those_that_drgn_walks(dump: Dump, listed: list[Record]) -> None:
    seen = 0
    for one in tcp(listed):
        sk = dump.object(one).inet_conn.icsk_inet.sk
        trees = {"retransmit": sk.tcp_rtx_queue, "out_of_order": dump.object(one).out_of_order_queue}
        for name, root in trees.items():
            theirs = list(rbtree_inorder_for_each_entry("struct sk_buff", root, "rbnode"))
            assert one["queues"][name]["segments"] == [_segment(dump, one, name, skb) for skb in theirs]
            seen += len(theirs)
    assert seen > 10


def _segment(dump: Dump, record: Record, name: str, skb: Object) -> dict[str, Any]:
    """A buffer of a tree as JSON should have it."""
    cb = cast("struct tcp_skb_cb *", skb.cb.address_of_())
    base = record["tcp"]["snd_una" if name == "retransmit" else "rcv_nxt"]
    bits = (
        (1, "FIN"),
        (2, "SYN"),
        (4, "RST"),
        (8, "PSH"),
        (16, "ACK"),
        (32, "URG"),
        (64, "ECE"),
        (128, "CWR"),
    )
    flags = cb.tcp_flags.value_()
    (ours,) = [one for one in record["queues"][name]["segments"] if int(one["address"], 16) == skb.value_()]
    expected = {
        "address": f"{skb.value_():#x}",
        "bytes": skb.len.value_(),
        "truesize": skb.truesize.value_(),
        "from": (cb.seq.value_() - base + (1 << 31)) % (1 << 32) - (1 << 31),
        "to": (cb.end_seq.value_() - base + (1 << 31)) % (1 << 32) - (1 << 31),
        "flags": [flag for bit, flag in bits if flags & bit],
        "payload": ours["payload"],
    }
    if name == "retransmit":
        marks = ((SACKED, "sacked"), (RETRANSMITTED, "retransmitted"), (LOST, "lost"), (0x80, "sent-before"))
        expected["segments"] = cb.tcp_gso_segs.value_()
        expected["marks"] = [mark for bit, mark in marks if cb.sacked.value_() & bit]
        expected["age_ms"] = ours["age_ms"]
        assert 0 <= ours["age_ms"] < 600_000
    return expected


def test_marks_add_up_to_the_counters_of_the_socket(listed: list[Record]) -> None:
    """tcp_verify_left_out() and what ss shows: the counters count packets, a buffer may be several."""
    for one in tcp(listed):
        segments = one["queues"]["retransmit"]["segments"]
        counters = {"sacked_out": "sacked", "lost_out": "lost", "retrans_out": "retransmitted"}
        for counter, mark in counters.items():
            if counter == "sacked_out" and not one["tcp"]["rx_opt.sack_ok"]:
                continue
            packets = sum(segment["segments"] for segment in segments if mark in segment["marks"])
            assert packets == one["tcp"][counter], (one["address"], counter)
        assert sum(segment["segments"] for segment in segments) == one["tcp"]["packets_out"]


def test_payload_is_what_the_scenario_sent(dump: Dump, listed: list[Record]) -> None:
    def first(label: str, name: str) -> bytes:
        return bytes.fromhex(labelled(dump, listed, label)["queues"][name]["segments"][0]["payload"])

    secrets = {one["where"]: bytes.fromhex(one["hex"]) for one in dump.truth.raw["secrets"]}
    assert first("unread-child", "receive") == secrets["receive queue of unread-child"][:8]
    assert first("urgent-child", "receive") == b"abc!"
    assert first("zero-window", "write") == b"y" * 8
    assert first("dead-peer", "retransmit") == b"d" * 8
    assert first("corked-child", "write") == b"c" * 8


def test_accept_queues(dump: Dump, listed: list[Record]) -> None:
    queues = labelled(dump, listed, "listen-unaccepted")["queues"]
    assert (queues["accept"]["skbs"], queues["accept"]["limit"]) == (3, 4)
    assert [one["bytes"] for one in queues["accept"]["segments"]] == [0, 100, 200]
    assert labelled(dump, listed, "listen-request-v4")["queues"]["syn"]["skbs"] == 3


def test_unix_descriptors_in_flight(dump: Dump, listed: list[Record]) -> None:
    """What travels through UNIX sockets is counted where it lies."""
    carrying = [
        one for one in listed if one["kind"] == "unix" and one["queues"].get("receive", {}).get("fds")
    ]
    assert carrying
    for one in carrying:
        receive = one["queues"]["receive"]
        assert receive["fds"] == sum(segment["fds"] for segment in receive["segments"])


def test_a_snapshot_has_the_buffers_and_none_of_their_bytes(dump: Dump, tmp_path: Path) -> None:
    path = tmp_path / "some.core"
    address = dump.labelled("unread-child")["address"]
    assert sockcrash_here("snapshot", "-c", str(dump.core), address, "-o", str(path)).status == 0
    ended = sockcrash_here("inspect", "-c", str(path), address, "--queues", "--payload", "8", "--json")
    receive = json.loads(ended.out)["sockets"][0]
    (segment,) = receive["queues"]["receive"]["segments"]
    assert (segment["bytes"], segment["payload"]) == (4320, None)
    assert receive["absent"]["queues.receive.segments.0.payload"].startswith("not_in_snapshot")


# The picture


def drawn(dump: Dump, label: str) -> dict[str, Space]:
    text = dump.inspect(dump.labelled(label)["address"]).out
    return spaces(text)


def test_the_picture_of_a_closed_window(dump: Dump) -> None:
    sk = dump.object(dump.labelled("zero-window"))
    unsent = int(sk.write_seq - sk.snd_nxt)
    send = drawn(dump, "zero-window")["send"]
    assert send.base == sk.snd_una.value_()
    assert send.marks["window ends"] == sk.snd_wnd.value_()
    assert send.marks["write_seq"] == int(sk.write_seq - sk.snd_una)
    assert (
        send.amounts.get("unsent, beyond the window", 0) + send.amounts.get("unsent, in the window", 0)
        == unsent
    )
    child = dump.object(dump.labelled("zero-window-child"))
    receive = drawn(dump, "zero-window-child")["receive"]
    assert receive.amounts["unread"] == int(child.rcv_nxt - child.copied_seq)


def test_the_picture_of_unsent_data(dump: Dump) -> None:
    sk = dump.object(dump.labelled("corked-child"))
    send = drawn(dump, "corked-child")["send"]
    assert send.marks == {
        "snd_una": 0,
        "snd_nxt": int(sk.snd_nxt - sk.snd_una),
        "write_seq": int(sk.write_seq - sk.snd_una),
        "window ends": int(sk.snd_wnd),
    }
    assert send.amounts["unsent, in the window"] == 333
    assert set(send.letters("snd_nxt", "write_seq")) == {">"}


def test_the_picture_of_holes(dump: Dump) -> None:
    record = dump.labelled("dead-peer")
    send = drawn(dump, "dead-peer")["send"]
    in_flight = sum(send.amounts.get(word, 0) for word in ("in flight", "lost", "sent again", "SACKed"))
    assert in_flight == send.marks["snd_nxt"] == 5000
    assert send.amounts["lost"] > 0
    assert "L" in send.letters("snd_una", "snd_nxt")
    assert send.marks["window ends"] == int(dump.object(record).snd_wnd)


def test_the_picture_of_out_of_order_data(dump: Dump) -> None:
    record = dump.labelled("out-of-order")
    if not record["queues"]["out_of_order"]["skbs"]:
        pytest.skip(f"{dump.series}: this guest was so slow that nothing arrived out of order")
    receive = drawn(dump, "out-of-order")["receive"]
    assert receive.islands == {500: 600}
    assert receive.letters("rcv_nxt", "window ends").strip(".") in ("O" * n for n in range(1, 70))


# The end


def test_who_gives_up_and_who_does_not(dump: Dump) -> None:
    expected = {
        "dead-peer": ("retransmission", "net.ipv4.tcp_retries2"),
        "fin-wait1": ("retransmission", "net.ipv4.tcp_retries2"),
        "zero-window": ("zero-window", "net.ipv4.tcp_retries2"),
        "syn-sent-v4": ("connect", "TCP_SYNCNT"),
        "est-keepalive": ("keepalive", "TCP_KEEPCNT"),
        "est-v4": None,
        "listen-v4": None,
        "fin-wait2": None,
    }
    found = {label: dump.labelled(label)["gives_up"] for label in expected}
    assert {label: end and (end["because"], end["decided_by"]) for label, end in found.items()} == expected
    # the documentation's 924.6 s, the first RTO before them, and a time-out that is just not long enough at their end
    assert 600_000 < found["dead-peer"]["in_ms"] < 1_200_000
    assert found["est-keepalive"]["in_ms"] == pytest.approx(600_000 + 5 * 30_000, rel=0.15)


def test_mini_sockets_end_too(dump: Dump) -> None:
    minis = [one for one in dump.records if one["kind"] in ("tcp-timewait", "tcp-request")]
    assert minis
    for one in minis:
        left = one["timers"][0]["expires_in_ms"]
        assert one["gives_up"]["in_ms"] >= left
        assert one["gives_up"]["in_ms"] < left + (10_000 if one["kind"] == "tcp-timewait" else 4_000_000)
