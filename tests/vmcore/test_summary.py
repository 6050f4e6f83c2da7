# SPDX-License-Identifier: LGPL-2.1-or-later
"""The summary against what the kernel said of itself just before and after: sockstat, snmp, netstat, snmp6, ss -s."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from harness import Dump, sockcrash_process

pytestmark = pytest.mark.vm

Numbers = dict[str, int]
LINES = 60


@pytest.fixture(scope="module")
def summary(dump: Dump) -> dict[str, Any]:
    ended = dump.run("summary", "--json")
    assert (ended.status, ended.err) == (0, "")
    found: dict[str, Any] = json.loads(ended.out)["summary"]
    return found


def namespaces(dump: Dump, summary: dict[str, Any]) -> Iterator[dict[str, Any]]:
    known = {one["inode"] for one in dump.truth.raw["netns"]}
    found = [one for one in summary["namespaces"] if one["inode"] in known]
    assert {one["inode"] for one in found} == known
    yield from found


def files(dump: Dump, when: str, netns: int) -> dict[str, str]:
    """The files of /proc/net in a namespace."""
    return {one["path"]: one["text"] for one in dump.truth.raw[when]["files"] if one["netns"] == netns}


def pairs_of_lines(text: str) -> dict[str, Numbers]:
    """What snmp and netstat look like: a line of names, a line of numbers."""
    lines = [line.split() for line in text.splitlines()]
    return {
        names[0].rstrip(":"): dict(zip(names[1:], map(int, numbers[1:]), strict=True))
        for names, numbers in zip(lines[::2], lines[1::2], strict=True)
    }


def sockstat(text: str) -> dict[str, int]:
    """``TCP: inuse 3 orphan 0`` as TCP.inuse, TCP.orphan."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, *words = line.split()
        found.update(
            {f"{name.rstrip(':')}.{key}": int(n) for key, n in zip(words[::2], words[1::2], strict=True)}
        )
    return found


def between(ours: Mapping[str, Any], before: Numbers, after: Numbers, where: str) -> int:
    """Every number that the kernel gave lies where ours does, or the test fails; how many were exactly alike."""
    same = 0
    for name, one in before.items():
        low, high = sorted((one, after[name]))
        assert low <= ours[name] <= high, f"{where} {name}: {ours[name]}, not between {low} and {high}"
        same += low == high
    return same


def test_snmp_and_netstat(dump: Dump, summary: dict[str, Any]) -> None:
    exact = 0
    for one in namespaces(dump, summary):
        texts = [files(dump, when, one["inode"]) for when in ("before", "after")]
        for file in ("snmp", "netstat"):
            before, after = (pairs_of_lines(text[file]) for text in texts)
            messages = before.pop("IcmpMsg", {})  # of types that did not occur there is no column
            asked = {name: n for name, n in messages.items() if name in after.get("IcmpMsg", {})}
            between(one["counters"]["IcmpMsg"], asked, after.get("IcmpMsg", {}), f"{one['inode']} IcmpMsg")
            for group, numbers in before.items():
                exact += between(one["counters"][group], numbers, after[group], f"{one['inode']} {group}")
                assert set(one["counters"][group]) == set(numbers)
    assert exact > 1000


def test_snmp6(dump: Dump, summary: dict[str, Any]) -> None:
    """But for messages of ICMPv6 by type."""
    for one in namespaces(dump, summary):
        before, after = (
            {
                line.split()[0]: int(line.split()[1])
                for line in files(dump, when, one["inode"])["snmp6"].splitlines()
            }
            for when in ("before", "after")
        )
        for group in ("Ip6", "Icmp6", "Udp6", "UdpLite6"):
            ours = one["counters"].get(group, {})
            assert between(ours, {name: before[name] for name in ours}, after, f"{one['inode']} {group}") >= 0
        assert len(one["counters"]["Ip6"]) > 25


def test_sockstat(dump: Dump, summary: dict[str, Any]) -> None:
    tcp, udp = summary["memory"]
    for one in namespaces(dump, summary):
        inuse = one["inuse"]
        ours = {
            "sockets.used": one["used"],
            **{f"{name}.inuse": number for name, number in inuse.items()},
            "TCP.orphan": summary["orphans"],
            "TCP.tw": one["time_wait"],
            "TCP.alloc": tcp["sockets"],
            "TCP.mem": tcp["pages"],
            "UDP.mem": udp["pages"],
            "FRAG.inuse": one["fragments"],
            "FRAG.memory": one["fragments_bytes"],
            "FRAG6.inuse": one["fragments6"],
            "FRAG6.memory": one["fragments6_bytes"],
        }
        for file in ("sockstat", "sockstat6"):
            before, after = (sockstat(files(dump, when, one["inode"])[file]) for when in ("before", "after"))
            assert len(before) >= 4
            between(ours, before, after, f"{one['inode']} {file}")


def ss_of(dump: Dump, when: str, netns: int) -> dict[str, int]:
    """The numbers of ``ss -s``."""
    text = next(
        one["stdout"]
        for one in dump.truth.raw[when]["commands"]
        if one["argv"] == ["ss", "-s"] and one["netns"] == netns
    )
    match = re.search(r"TCP:\s+(\d+) \(estab (\d+), closed (\d+), orphaned (\d+), timewait (\d+)\)", text)
    assert match
    names = ("tcp", "estab", "closed", "orphaned", "timewait")
    found = dict(zip(names, map(int, match.groups()), strict=True))
    found["total"] = int(re.search(r"Total: (\d+)", text)[1])  # type: ignore[index]
    for name, *numbers in re.findall(r"^(RAW|UDP|TCP|FRAG)\s+(\d+)\s+(\d+)\s+(\d+)", text, re.MULTILINE):
        found.update({f"{name}{way}": int(n) for way, n in zip(("", ".4", ".6"), numbers, strict=True)})
    return found


def test_ss_s(dump: Dump, summary: dict[str, Any]) -> None:
    allocated = summary["memory"][0]["sockets"]
    for one in namespaces(dump, summary):
        inuse, waiting = {"UDPLITE": 0, "UDPLITE6": 0, **one["inuse"]}, one["time_wait"]
        ours = {
            "total": one["used"],
            "tcp": allocated + waiting,
            "estab": one["counters"]["Tcp"]["CurrEstab"],
            "closed": allocated - (inuse["TCP"] + inuse["TCP6"] - waiting),
            "orphaned": summary["orphans"],
            "timewait": waiting,
            "FRAG": one["fragments"] + one["fragments6"],
            "FRAG.4": one["fragments"],
            "FRAG.6": one["fragments6"],
        }
        for name in ("TCP", "RAW"):
            four, six = inuse[name], inuse[f"{name}6"]
            ours |= {name: four + six, f"{name}.4": four, f"{name}.6": six}
        before, after = (ss_of(dump, when, one["inode"]) for when in ("before", "after"))
        before = {name: number for name, number in before.items() if not name.startswith("UDP")}
        between(ours, before, after, f"{one['inode']} ss -s")


def test_our_own_count_is_the_kernels(dump: Dump, summary: dict[str, Any]) -> None:
    """What was found by walking is as much as the kernel counted when it made them."""
    for one in summary["namespaces"]:
        states = one["states"]
        established = states.get("ESTABLISHED", 0) + states.get("CLOSE_WAIT", 0)
        assert established == one["counters"]["Tcp"]["CurrEstab"], one["inode"]
        mine = [record for record in dump.records if record["netns"] == one["inode"]]
        assert one["sockets"] == len(mine)
        assert one["time_wait"] == sum(record["kind"] == "tcp-timewait" for record in mine)
        assert sum(states.values()) == sum(record["kind"].startswith("tcp") for record in mine)
        for name, kind, family in (
            ("UDP", "udp", "AF_INET"),
            ("UDP6", "udp", "AF_INET6"),
            ("RAW", "raw", "AF_INET"),
            ("RAW6", "raw", "AF_INET6"),
        ):
            assert one["inuse"][name] <= sum(
                record["kind"] == kind and record["family"] == family for record in mine
            )


def test_processes_and_namespaces(dump: Dump, summary: dict[str, Any]) -> None:
    truth = dump.truth
    by_inode = {one["inode"]: one for one in summary["namespaces"]}
    initial = by_inode[truth.netns("init")]
    assert initial["initial"]
    assert initial["processes"] > 1
    for name in ("peer", "dead", "tuned"):
        one = by_inode[truth.netns(name)]
        assert one["names"] == [f"/run/netns/{name}"]
        assert one["processes"] == 0
        assert not one["initial"]
    (ghost,) = [
        one for one in summary["namespaces"] if one["inode"] not in {n["inode"] for n in truth.raw["netns"]}
    ]
    assert (ghost["processes"], ghost["names"], ghost["inuse"]["TCP"]) == (0, [], 1)
    (main,) = [one for one in summary["processes"] if one["pid"] == truth.sockets["est-v4"]["pid"]]
    fds = [
        record["address"]
        for record in dump.records
        if any(owner["kind"] == "fd" and owner["pid"] == main["pid"] for owner in record["owners"])
    ]
    assert main["sockets"] == len(fds)


def test_the_largest(dump: Dump, summary: dict[str, Any]) -> None:
    zero = dump.labelled("zero-window")
    assert zero["address"] in {one["address"] for one in summary["top"]["unsent"]}
    found = {one["address"]: one["bytes"] for one in summary["top"]["unsent"]}
    assert found[zero["address"]] == zero["tcp"]["send_queue_bytes"]
    for sockets in summary["top"].values():
        assert len(sockets) == 10
        assert [one["bytes"] for one in sockets] == sorted((one["bytes"] for one in sockets), reverse=True)


def test_text_fits_one_screen_and_tells_the_state(dump: Dump, summary: dict[str, Any]) -> None:
    ended = dump.run("summary")
    lines = ended.out.splitlines()
    assert ended.status == 0
    assert len(lines) <= LINES
    text = "\n".join(lines)
    tcp = summary["memory"][0]
    assert f"TCP {tcp['pages']} pages" in text
    assert "no pressure" in text
    assert f"orphans     {summary['orphans']} of {summary['max_orphans']}" in text
    assert "(initial)" in text


def test_the_real_command(dump_6_1: Dump) -> None:
    ended = sockcrash_process("summary", "-c", str(dump_6_1.core))
    assert ended.status == 0
    assert ended.out.startswith("6.1.")
