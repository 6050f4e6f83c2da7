# SPDX-License-Identifier: LGPL-2.1-or-later
"""The socket at the other end, against the addresses that ss and the scenario have for both; and selections."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import Any

import pytest

from harness import Dump, only

pytestmark = pytest.mark.vm

Record = dict[str, Any]


def plain(end: Record) -> tuple[str, int]:
    """An end with v4-mapped addresses as what they stand for."""
    address = ipaddress.ip_address(end["address"])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address), end["port"]


def test_both_ends_of_a_scenarios_pair_name_each_other(dump: Dump) -> None:
    """The truth has the addresses of each pair, by getsockname and getpeername of the guest."""
    sockets = {
        (tuple(one["local"]), tuple(one["peer"]), one["netns"]): one
        for one in dump.truth.tcp_sockets.values()
        if one.get("local") and one.get("peer")
    }
    joined = 0
    for (local, peer, netns), one in sockets.items():
        other = sockets.get((peer, local, netns))
        if other is None:
            continue
        found = only(dump.labelled(one["label"])["other_end"])
        there = dump.labelled(other["label"])
        assert found["address"] == there["address"], one["label"]
        assert found["owners"] == there["owners"]
        joined += 1
    assert joined >= 40


def test_joined_is_what_is_reversed(dump: Dump) -> None:
    """All pairs that plain comparison of the addresses finds, and no others."""
    by_ends = defaultdict(list)
    connected = [
        one
        for one in dump.records
        if one["kind"] in ("tcp", "tcp-timewait", "tcp-request") and one["peer"] and one["peer"]["port"]
    ]
    for one in connected:
        by_ends[plain(one["local"]), plain(one["peer"])].append(one)
    across = 0
    for one in connected:
        candidates = by_ends.get((plain(one["peer"]), plain(one["local"])), [])
        near = [there for there in candidates if there["netns"] == one["netns"]]
        loopback = ipaddress.ip_address(plain(one["peer"])[0]).is_loopback
        expected = {there["address"] for there in (near if near or loopback else candidates)}
        assert {end["address"] for end in one["other_end"] or ()} == expected
        across += bool(expected) and not near
    assert across >= 4, "no pair of the scenario is in two namespaces"


def test_unix_peers(dump: Dump) -> None:
    connected = [one for one in dump.records if one["kind"] == "unix" and one["unix"]["peer"]]
    assert len(connected) >= 20
    by_address = {one["address"]: one for one in dump.records}
    for one in connected:
        found = only(one["other_end"])
        assert found["address"] == one["unix"]["peer"]
        there = by_address.get(found["address"])
        if there is None:  # closed, and in no table any more; only this pointer still leads to it
            assert found["owners"] == [{"kind": "orphan"}]
            continue
        assert found["owners"] == there["owners"]
        assert one["peer"]["inode"] == there["inode"]


def test_text_names_the_other_end(dump: Dump) -> None:
    label = next(
        label
        for label, one in dump.truth.tcp_sockets.items()
        if one.get("peer") and dump.labelled(label)["other_end"]
    )
    one = dump.labelled(label)
    text = dump.inspect(one["address"]).out
    assert f"  other end  tcp {one['other_end'][0]['address']}" in text


def test_selections_by_holder(dump_6_1: Dump) -> None:
    held = {
        one["address"]
        for one in dump_6_1.records
        if any(owner.get("comm") == "python3" for owner in one["owners"])
    }
    for words in (("--comm", "python3"), ("--comm", "pyth*")):
        found = dump_6_1.run("inspect", *words, "--format", "jsonl").records
        assert {one["address"] for one in found} == held
    assert dump_6_1.run("list", "--comm", "nobody", "--format", "jsonl").records == []
    paths = {one["cgroup"] for one in dump_6_1.records if one["cgroup"] is not None}
    for path in paths:
        below = {one["address"] for one in dump_6_1.records if (one["cgroup"] or "").startswith(path)}
        found = dump_6_1.run("list", "--cgroup", path, "--format", "jsonl").records
        assert {one["address"] for one in found} == below


def test_namespaces_that_nobody_is_in(dump: Dump) -> None:
    """The scenario's process is in the initial namespace; the others have names, or not even that."""
    found = dump.run("list", "netns_processes = 0", "-o", "netns,netns_name", "--format", "jsonl").records
    inodes = {one["fields"]["netns"] for one in found}
    assert dump.truth.netns("init") not in inodes
    assert {dump.truth.netns(name) for name in ("peer", "dead", "tuned")} <= inodes
    ghost = next(one for one in dump.truth.raw["holders"] if one["label"] == "hold-ghost")
    record = only([one for one in dump.records if one["inode"] == ghost["inode"]])
    assert record["netns"] in inodes
    assert (record["netns_names"], record["netns_processes"]) == ([], 0)
    assert "which no process is in" in dump.inspect(record["address"]).out
    peer = dump.truth.netns("peer")
    assert {tuple(one["fields"]["netns_name"]) for one in found if one["fields"]["netns"] == peer} == {
        ("peer",)
    }
