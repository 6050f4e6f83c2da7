# SPDX-License-Identifier: LGPL-2.1-or-later
"""Queues buffer by buffer in a running guest, against SIOCINQ, SIOCOUTQ, ss, and what was put into them."""

from __future__ import annotations

import errno
import itertools
from typing import Any

import pytest

from conftest import OLD_AND_NEW, booted, told_by
from oracle.picture import spaces
from oracle.ss import parse_line

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

Record = dict[str, Any]


@pytest.fixture(scope="module", params=OLD_AND_NEW)
def said(request: pytest.FixtureRequest) -> Any:
    """What the script in the guest printed."""
    with booted(request.param, mem=768) as guest:
        return told_by(guest, "losing.py")


@pytest.fixture
def found(said: dict[str, Any]) -> dict[str, Record]:
    records: dict[str, Record] = said["found"]
    return records


def filled(record: Record) -> dict[str, int]:
    """Bytes of the queues that are not empty."""
    return {name: queue["bytes"] for name, queue in record["queues"].items() if queue["skbs"]}


TCP = ("unread", "partly-read", "full", "idle", "lossy", "waiting")


def test_siocinq_and_siocoutq(found: dict[str, Record]) -> None:
    for label in (*TCP, *(f"{label}-child" for label in TCP[:-1])):
        queues, record = found[label]["queues"], found[label]
        assert (label, queues["receive"]["bytes"]) == (label, record["inq"])
        assert (label, queues["write"]["bytes"]) == (label, record["outqnsd"])
        assert (label, queues["write"]["bytes"] + queues["retransmit"]["bytes"]) == (label, record["outq"])


def test_what_was_sent_is_there(found: dict[str, Record]) -> None:
    assert filled(found["unread-child"]) == {"receive": 1000}
    assert filled(found["partly-read-child"]) == {"receive": 924}
    assert filled(found["idle"]) == filled(found["idle-child"]) == filled(found["unread"]) == {}


def test_payload_begins_where_the_application_will_read(found: dict[str, Record]) -> None:
    def first(label: str, name: str = "receive") -> bytes:
        return bytes.fromhex(found[label]["queues"][name]["segments"][0]["payload"])

    assert first("unread-child") == b"first;" + b"a" * 10
    assert first("partly-read-child") == bytes(range(100, 116))
    assert first("lossy", "retransmit") == b"l" * 16
    assert first("unix-child") == b"fds!"
    assert first("udp-child", "reader") == b"u" * 16
    assert "first;aaaaaaaaaa" in found["unread-child"]["text"]
    assert r"defghijklmnopqrs" in found["partly-read-child"]["text"]


def test_other_families(found: dict[str, Record]) -> None:
    assert filled(found["unix-child"]) == {"receive": 14}
    assert found["unix-child"]["queues"]["receive"]["fds"] == 2
    assert [one["fds"] for one in found["unix-child"]["queues"]["receive"]["segments"]] == [2, 0]
    assert filled(found["udp-child"]) == {"reader": 3200}
    (error,) = found["refused"]["queues"]["error"]["segments"]
    assert (error["error"]["errno"], error["error"]["origin"]) == (errno.ECONNREFUSED, 2)


def test_the_accept_queue(found: dict[str, Record]) -> None:
    accept = found["listener"]["queues"]["accept"]
    assert accept["skbs"] == 1
    assert [one["bytes"] for one in accept["segments"]] == [77]


def ss_of(said: dict[str, Any], label: str, when: str) -> dict[str, str]:
    cookie = int(said["found"][label]["cookie"], 16)
    (line,) = [line for line in map(parse_line, said[when]) if line.cookie == cookie]
    return line.keys


def packets(record: Record, mark: str) -> int:
    segments = record["queues"]["retransmit"]["segments"]
    return sum(one["segments"] for one in segments if mark in one["marks"])


def test_sacked_and_lost_segments_agree_with_ss(said: dict[str, Any], found: dict[str, Record]) -> None:
    """The connection stands still: nothing comes through any more, and its RTO is 20 s."""
    early, late = (ss_of(said, "lossy", when) for when in ("before", "after"))
    names = ("unacked", "sacked", "lost", "retrans")
    told = {name: early.get(name, "0") for name in names}
    assert told == {name: late.get(name, "0") for name in names}
    lossy = found["lossy"]

    assert packets(lossy, "sacked") == int(told["sacked"]) > 0
    assert packets(lossy, "lost") == int(told["lost"]) > 0
    assert packets(lossy, "retransmitted") == int(told["retrans"].split("/")[0])
    assert sum(one["segments"] for one in lossy["queues"]["retransmit"]["segments"]) == int(told["unacked"])


def test_islands_of_the_receiver_are_what_the_sender_takes_as_sacked(found: dict[str, Record]) -> None:
    """All SACKs but the last arrived: the receiver may have a little more."""

    def ranges(label: str, queue: str, fate: str) -> set[int]:
        held = found[label]["queues"][queue]
        return {
            held["base"]["value"] + byte & 0xFFFFFFFF
            for run in held["runs"]
            if run["fate"] == fate
            for byte in range(run["from"], run["to"])
        }

    sacked = ranges("lossy", "retransmit", "sacked")
    beyond = found["lossy-child"]["queues"]["out_of_order"]["base"]["value"]
    held = ranges("lossy-child", "out_of_order", "out-of-order")
    assert {seq for seq in sacked if (seq - beyond) & 0x80000000 == 0} <= held
    assert sacked


def test_segments_lie_end_to_end(found: dict[str, Record]) -> None:
    for label, name in (("lossy", "retransmit"), ("full", "write"), ("full-child", "receive")):
        segments = found[label]["queues"][name]["segments"]
        assert len(segments) >= 2, label
        assert all(one["to"] == after["from"] for one, after in itertools.pairwise(segments)), label
        assert all(one["to"] - one["from"] == one["bytes"] for one in segments), label


def test_the_picture_of_holes_and_islands(found: dict[str, Record]) -> None:
    lossy, child = found["lossy"], found["lossy-child"]
    send, receive = spaces(lossy["text"])["send"], spaces(child["text"])["receive"]

    assert send.base == lossy["tcp"]["snd_una"]
    assert send.marks["snd_nxt"] == lossy["outq"] - lossy["outqnsd"]
    assert send.amounts["SACKed"] == sum(
        one["bytes"] for one in lossy["queues"]["retransmit"]["segments"] if "sacked" in one["marks"]
    )
    assert "S" in send.letters("snd_una", "snd_nxt")
    assert receive.marks["copied_seq"] == -child["inq"]
    assert sum(receive.islands.values()) <= child["queues"]["out_of_order"]["bytes"]


def test_the_story_of_a_closed_window_from_both_sides(found: dict[str, Record]) -> None:
    full, child = found["full"], found["full-child"]

    assert f"The peer's window is closed: {full['outqnsd']} bytes wait until it reads" in full["text"]
    assert (
        f"The application has not read {child['inq']} bytes and the window offered is closed."
        in child["text"]
    )
    assert spaces(full["text"])["send"].amounts == {"unsent, beyond the window": full["outqnsd"]}
    assert spaces(child["text"])["receive"].amounts == {"unread": child["inq"]}
