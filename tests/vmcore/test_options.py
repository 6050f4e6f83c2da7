# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of every held socket against what getsockopt said of it in the dumped kernel, byte for byte."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from oracle import tcp_info
from oracle.compare import Verdict, compare
from sockcrash.kernel.options import ROWS, answers
from sockcrash.kernel.options.mptcp import OF_FIRST_SUBFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import Dump, Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

AF_INET, AF_INET6, AF_UNIX = 2, 10, 1
# include/linux/socket.h, include/uapi/linux/in.h
LEVELS = {
    "SOL_SOCKET": 1, "IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_IPV6": 41, "IPPROTO_UDP": 17, "IPPROTO_UDPLITE": 136,
    "IPPROTO_ICMPV6": 58, "SOL_RAW": 255, "SOL_MPTCP": 284, "SOL_TLS": 282, "SOL_PACKET": 263, "SOL_NETLINK": 270,
    "SOL_XDP": 283, "AF_VSOCK": 40,
}  # fmt: skip
# What getsockopt gives and memory does not: beginnings of the reasons that are allowed.
NOT_GIVEN = {
    "TCP_FASTOPEN_KEY": "secret", "TLS_TX": "secret", "TLS_RX": "secret",
    "TCP_TIMESTAMP": "not_applicable: it depends on the moment",
    "PACKET_HDRLEN": "not_applicable: the caller must", "MPTCP_FULL_INFO": "not_applicable: the caller must",
    "SO_PEERSEC": "not_applicable: kept by the security module",
    "TCP_CC_INFO": "no_type_info: the types of module",
}  # fmt: skip
EINVAL, ENOTCONN = 22, 107
SO_GET_FILTER = (1, 26)
# Read with a side effect, or a long time after the first answer: SO_ERROR, TCP_SAVED_SYN, PACKET_STATISTICS.
NOT_ASKED = {(1, 4), (6, 28), (263, 6)}
# The kernel drops a cached route when time-outs pile up, and looks it up again at the next packet.
OF_ROUTES = {"IP_MTU", "IPV6_MTU", "IPV6_PATHMTU"}
WORD = 4
TCP_INFO = (6, 11)
Key = tuple[int, int]


@pytest.fixture(scope="module")
def every(dump: Dump) -> dict[str, Record]:
    """Records with every option, by label."""
    ended = dump.run("options", "--all", "--every", "--format", "jsonl")
    assert (ended.status, ended.err) == (0, "")
    cookies = {one["cookie"]: one for one in ended.records}
    return {
        label: cookies[f"{one['cookie']:#x}"] for label, one in dump.truth.sockets.items() if one["cookie"]
    }


def told(dump: Dump, label: str, when: str = "before") -> dict[Key, str | int]:
    """What the kernel answered: hex, or the errno."""
    value = dump.truth.raw[when]["options"].get(label, {}).get("value", {})
    return {
        (int(level), int(number)): one for level, numbers in value.items() for number, one in numbers.items()
    }


def options_of(record: Record) -> Iterator[tuple[Key, str, Record]]:
    """Key, path in ``absent``, entry."""
    for entry in record["options"]:
        yield (LEVELS[entry["level"]], entry["number"]), f"options.{entry['level']}.{entry['name']}", entry


def why_not(record: Record, path: str) -> str:
    """Why there is no raw."""
    reason = record["absent"].get(f"{path}.raw") or record["absent"].get(path)
    assert reason, (record["address"], path)
    return str(reason)


def between(first: str, second: str | int | None, mine: str) -> bool:
    """Whether a value that moved is right where it did not move, word by word."""
    if first == second or not isinstance(second, str) or len(first) != len(second) or len(first) != len(mine):
        return first != second
    one, two, own = (bytes.fromhex(text) for text in (first, second, mine))
    words = [slice(at, at + WORD) for at in range(0, len(one), WORD)]
    return all(own[at] == one[at] or one[at] != two[at] for at in words)


def info_between(dump: Dump, label: str, mine: str) -> bool:
    """Likewise the bytes of TCP_INFO, member by member: ages, and what comes and goes while segments are sent again."""
    before, after = (tcp_info.sample(dump.prog, dump.truth, label, when) for when in ("before", "after"))
    own = tcp_info.decoded(dump.prog, bytes.fromhex(mine))
    found = compare(label, own, before, after, dump.at, tcp_info.AGES, tcp_info.FLICKERING)
    return not any(one.verdict is Verdict.WRONG for one in found)


def judged(
    dump: Dump, every: dict[str, Record]
) -> tuple[dict[int, Counter[str]], list[str], set[tuple[str, str]]]:
    """Counts by level; what is wrong; names and reasons of what is not given."""
    counts: dict[int, Counter[str]] = {}
    wrong: list[str] = []
    lost: set[tuple[str, str]] = set()
    for label, record in every.items():
        first, second = told(dump, label), told(dump, label, "after")
        ours: dict[Key, tuple[str, Record]] = {}
        for key, path, entry in options_of(record):
            if key not in ours or ours[key][1]["raw"] is None:
                ours[key] = path, entry
        for key, answer in first.items():
            level, number = key
            if level == LEVELS["IPPROTO_UDPLITE"] and (17, number) in ours:
                ours.setdefault(key, ours[17, number])
            if level == LEVELS["IPPROTO_UDP"] and (136, number) in ours:
                ours.setdefault(key, ours[136, number])
            if level == LEVELS["SOL_RAW"] and (41, number) in ours:
                ours.setdefault(key, ours[41, number])
            count = counts.setdefault(level, Counter())
            if isinstance(answer, int):
                claimed = key in ours and ours[key][1]["raw"] is not None
                if claimed and ours[key][1]["name"] in OF_ROUTES and answer == ENOTCONN:
                    count["moved"] += 1
                elif claimed and answer != EINVAL and key not in NOT_ASKED and second.get(key) == answer:
                    wrong.append(f"{label} {ours[key][0]}: the kernel refuses it: {answer}")
                continue
            if key not in ours:
                wrong.append(f"{label}: no row for level {level} number {number}")
                continue
            path, entry = ours[key]
            name, raw = path.rpartition(".")[2], entry["raw"]
            if raw is None:
                reason = why_not(record, path)
                if reason.startswith(NOT_GIVEN.get(name, "?")):
                    lost.add((name, reason))
                    count["not given"] += 1
                elif name in OF_ROUTES or second.get(key) != answer:
                    count["moved"] += 1
                else:
                    wrong.append(f"{label} {path}: {answer} is not given: {reason}")
                continue
            count["compared"] += 1
            if key == SO_GET_FILTER:
                raw = raw[
                    : len(raw) // 8
                ]  # the call returns a number of instructions, and the record as many bytes
            if raw in (answer, second.get(key)):
                count["equal"] += 1
            elif between(answer, second.get(key), raw) or (
                key == TCP_INFO and info_between(dump, label, raw)
            ):
                count["moved"] += 1
            else:
                wrong.append(f"{label} {path}: {raw}, the kernel says {answer} and then {second.get(key)}")
    return counts, wrong, lost


def test_bytes_of_every_option(dump: Dump, every: dict[str, Record], figures: Callable[[str], None]) -> None:
    counts, wrong, lost = judged(dump, every)
    names = {number: name for name, number in LEVELS.items()}
    for level, count in sorted(counts.items()):
        if count:
            figures(f"Linux {dump.series}, options, {names[level]}: {dict(count)}")
    for name, reason in sorted(lost):
        figures(f"Linux {dump.series}, options, not given: {name}: {reason}")
    assert wrong == []
    assert len(every) >= 300
    assert sum(count["compared"] for count in counts.values()) > 30_000
    assert sum(count["moved"] for count in counts.values()) < 300


def test_every_family_and_state_was_compared(dump: Dump, every: dict[str, Record]) -> None:
    kinds = {record["kind"] for record in every.values()}
    known = {
        "tcp",
        "mptcp",
        "udp",
        "udplite",
        "ping",
        "raw",
        "unix",
        "packet",
        "netlink",
        "vsock",
        "xdp",
        "inet",
    }
    lacking = {"5.10": {"mptcp"}}.get(dump.series, set())
    assert known - kinds <= lacking | ({"udplite"} if not _has_udplite(dump) else set())
    assert {record["netns"] for record in every.values()} >= {
        dump.truth.netns("init"),
        dump.truth.netns("tuned"),
    }
    assert sum(one["inherited_from"] is not None for one in dump.truth.sockets.values()) >= 10


def _has_udplite(dump: Dump) -> bool:
    return any(one["protocol"] == LEVELS["IPPROTO_UDPLITE"] for one in dump.truth.sockets.values())


# Which kind each socket of the sweep is.
SWEPT = {
    "tcp4": "tcp", "tcp6": "tcp", "mptcp4": "mptcp", "mptcp6": "mptcp", "udp4": "udp", "udp6": "udp",
    "udplite4": "udplite", "udplite6": "udplite", "icmp4": "raw", "icmp6": "raw", "raw4": "raw", "raw6": "raw",
    "stream": "unix", "dgram": "unix", "seqpacket": "unix", "packet": "packet", "netlink": "netlink", "vsock": "vsock",
    "xdp": "xdp",
}  # fmt: skip


def test_no_number_is_answered_without_a_row(dump: Dump) -> None:
    """Of fresh sockets of every kind, every number from 0 to 255 of each of its levels."""
    known = {
        (kind, family): {
            (LEVELS[level], row.number)
            for row in ROWS
            if (kind in row.kinds and answers(row, kind, family, ""))
            or (kind == "mptcp" and row.level == "IPPROTO_TCP" and row.name in OF_FIRST_SUBFLOW)
            for level in (row.level, *row.also)
        }
        for kind in set(SWEPT.values())
        for family in (AF_INET, AF_INET6, AF_UNIX)
    }
    answered, without = 0, []
    for label, levels in dump.truth.raw["sweep"].items():
        family = AF_INET6 if "6" in label else AF_INET if "4" in label else AF_UNIX
        rows = known[SWEPT[label.partition("-")[0]], family]
        for level, numbers in levels.items():
            succeeded = {(int(level), int(number)) for number, one in numbers.items() if isinstance(one, str)}
            answered += len(succeeded)
            without += [(label, *key) for key in succeeded - rows]
    assert without == []
    assert answered > 1000


# Origin

# Options that are one member: setting one sets the others (asm-generic/socket.h, uapi/linux/in6.h and their kin).
TOGETHER: tuple[set[Key], ...] = (
    {(1, 20), (1, 66)}, {(1, 21), (1, 67)}, {(1, 25), (1, 62)}, {(1, 29), (1, 63), (1, 35), (1, 64)},
    {(1, 37), (1, 65)}, {(1, 7), (1, 32), (1, 72)}, {(1, 8), (1, 33), (1, 72)}, {(1, 26), (1, 50)}, {(1, 51), (1, 52)},
    {(0, 15), (41, 78)}, {(0, 19), (41, 75)}, {(0, 5), (41, 22)}, {(0, 3), (41, 36), (255, 36)},
    {(0, 35), (0, 36), (0, 39), (0, 42), (0, 46), (0, 37)}, {(41, 20), (41, 42), (41, 46)}, {(41, 7), (255, 7)},
    {(6, 14), (6, 32)}, {(263, 18), (263, 22)}, {(263, 15), (263, 24)}, {(17, 101), (136, 101)}, {(40, 6), (40, 8)},
    {(270, 1), (270, 9)},
)  # fmt: skip


def touched(one: dict[str, Any]) -> set[Key]:
    """Every option that the scenario changed on a socket, under each of its names."""
    keys = {(done["level"], done["number"]) for done in one["set"] if not done["errno"]}
    return keys.union(*(group for group in TOGETHER if group & keys))


def listeners(dump: Dump, one: dict[str, Any]) -> list[str]:
    """Labels of the listeners that a socket may come from: that which is recorded, else those on its port."""
    if one["inherited_from"] is not None:
        return [one["inherited_from"]]
    if (
        one["family"] not in (AF_INET, AF_INET6)
        or one["state"] in (None, "LISTEN", "CLOSE")
        or not one["local"]
    ):
        return []
    return [
        label
        for label, other in dump.truth.sockets.items()
        if other["state"] == "LISTEN"
        and all(other[name] == one[name] for name in ("netns", "family", "protocol"))
        and other["local"][1] == one["local"][1]
    ]


def test_origins(dump: Dump, every: dict[str, Record], figures: Callable[[str], None]) -> None:
    """Nothing untouched is set, nothing that differs is the default, and a named listener is the one."""
    origins: Counter[str] = Counter()
    wrong = []
    for label, record in every.items():
        one = dump.truth.sockets[label]
        parents = listeners(dump, one)
        by_hand = touched(one).union(*(touched(dump.truth.sockets[parent]) for parent in parents))
        addresses = {every[parent]["address"] for parent in parents}
        for key, path, entry in options_of(record):
            origins[str(entry["origin"])] += 1
            if entry["origin"] == "set" and key not in by_hand:
                wrong.append(f"{label} {path}: set, {entry['text']}")
            if entry["origin"] == "default" and entry["value"] != entry["default"]:
                wrong.append(f"{label} {path}: default, {entry['value']}, not {entry['default']}")
            if entry["inherited_from"] is not None:
                origins["of a listener"] += 1
                if not named_rightly(dump, entry["inherited_from"], addresses):
                    wrong.append(f"{label} {path}: of {entry['inherited_from']}, not {addresses}")
    figures(f"Linux {dump.series}, origins: {dict(origins)}")
    assert wrong == []
    assert origins["set"] > 1500
    assert origins["of a listener"] > 200


def named_rightly(dump: Dump, named: str, addresses: set[str]) -> bool:
    """Whether a listener is one of those, or the first subflow of one."""
    if named in addresses:
        return True
    owners = next(one["owners"] for one in dump.records if one["address"] == named)
    return any(owner.get("socket") in addresses for owner in owners or ())


def test_most_of_what_was_set_says_so(dump: Dump, every: dict[str, Record]) -> None:
    """Where memory tells: the value differs from the default, or there is a mark of setting."""
    said: Counter[str] = Counter()
    for label, record in every.items():
        mine = touched(dump.truth.sockets[label])
        for key, _, entry in options_of(record):
            if key in mine and entry["value"] is not None and entry["value"] != entry["default"]:
                said[str(entry["origin"])] += 1
    assert said["default"] == 0
    assert said["set"] / said.total() > 0.9, said


# af_unix.c, af_vsock.c: what accept() gives a child that is no copy of its listener.
HANDED_ON = {
    "unix": {"SO_PASSCRED", "SO_PASSSEC", "SO_PASSPIDFD", "SO_PASSRIGHTS"},
    "vsock": {
        "SO_VM_SOCKETS_BUFFER_SIZE", "SO_VM_SOCKETS_BUFFER_MIN_SIZE", "SO_VM_SOCKETS_BUFFER_MAX_SIZE",
        "SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD", "SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW",
    },
}  # fmt: skip


def test_children_name_their_listener(dump: Dump, every: dict[str, Record]) -> None:
    """Whatever a listener was given and its child has alike, unless accept() does not hand it on."""
    named, nameless, kinds = 0, set(), Counter[str]()
    for label, record in every.items():
        parent = dump.truth.sockets[label]["inherited_from"]
        if parent is None:
            continue
        kinds[record["kind"]] += 1
        handed_on = HANDED_ON.get(record["kind"])
        theirs = {path: entry for _, path, entry in options_of(every[parent])}
        for key, path, entry in options_of(record):
            other = theirs.get(path)
            if key in touched(dump.truth.sockets[label]) or other is None or other["origin"] != "set":
                continue
            if handed_on is not None and entry["name"] not in handed_on:
                assert entry["inherited_from"] is None, (label, path)
                continue
            if entry["raw"] == other["raw"] is not None and entry["value"] != entry["default"]:
                named += entry["inherited_from"] is not None
                if entry["inherited_from"] is None:
                    nameless.add(path.rpartition(".")[2])
    assert named > 100
    assert nameless <= {"SO_INCOMING_CPU"}
    assert {"tcp", "unix"} <= set(kinds)
    assert "vsock" in kinds or dump.series == "5.10"


# What the commands show


def test_inspect_has_the_same(dump: Dump, every: dict[str, Record]) -> None:
    ended = dump.inspect("--all", "--every", "--format", "jsonl")
    assert ended.status == 0
    full = {one["address"]: one for one in ended.records}
    for label, record in every.items():
        assert (label, full[record["address"]]["options"]) == (label, record["options"])
    plain = {one["address"]: one for one in dump.inspect("--all", "--format", "jsonl").records}
    for label in ("est-nodelay", "chance-tcp4-1", "udp-member"):
        entries = plain[every[label]["address"]]["options"]
        assert entries
        assert [one for one in every[label]["options"] if one in entries] == entries
        assert len(entries) < len(every[label]["options"]) / 2


def shown(dump: Dump, label: str, *args: str) -> dict[str, list[str]]:
    """Rows of the text by the option's name."""
    ended = dump.run("options", f"ino:{dump.truth.sockets[label]['inode']}", *args)
    assert (ended.status, ended.err) == (0, "")
    rows = [re.split(r"\s{2,}", line.strip()) for line in ended.out.splitlines()]
    return {row[0]: row[1:] for row in rows if re.fullmatch(r"[A-Z][A-Z0-9_]+", row[0])}


# A bit beside the value tells that they were set, even to what they were.
MARKED = {"SO_SNDBUF", "SO_RCVBUF", "SO_BUF_LOCK", "SO_TXREHASH", "TCP_CONGESTION"}


def test_only_what_differs(dump: Dump, every: dict[str, Record]) -> None:
    """Without --every: what the kernel says of this socket otherwise than of a fresh one of its kind."""
    fresh = dump.truth.raw["sweep"]
    compared = same = 0
    for label, one in dump.truth.sockets.items():
        kind = label.removeprefix("chance-").rpartition("-")[0] if label.startswith("chance-") else None
        if kind not in ("tcp4", "udp4", "packet", "netlink") or one["netns"] != dump.truth.netns("init"):
            continue
        differing = shown(dump, label)
        for done in one["set"]:
            before = told(dump, label).get((done["level"], done["number"]))
            untouched = fresh[kind].get(str(done["level"]), {}).get(str(done["number"]))
            if not isinstance(before, str) or not isinstance(untouched, str):
                continue
            names = {
                entry["name"]
                for key, _, entry in options_of(every[label])
                if key == (done["level"], done["number"])
                and entry["raw"] is not None
                and entry["origin"] != "kernel"
            }
            if before != untouched:
                assert names <= set(differing), label
                compared += len(names)
            elif names and done["name"] not in MARKED:
                assert not names & set(differing), label
                same += 1
    assert compared > 100
    assert same > 5


def test_text_of_one_socket(dump: Dump) -> None:
    assert shown(dump, "est-nodelay")["TCP_NODELAY"][:2] == ["on", "set"]
    everything = shown(dump, "est-nodelay", "--every")
    assert everything["SO_TYPE"][0] == "SOCK_STREAM"
    assert everything["TCP_CORK"][0] == "off"
    assert set(shown(dump, "est-nodelay", "--every", "--level", "IPPROTO_IP")) < set(everything)
    assert set(shown(dump, "est-v4", "--name", "TCP_NODELAY", "--name", "IP_TTL")) == {
        "TCP_NODELAY",
        "IP_TTL",
    }
    assert shown(dump, "est-v4", "--name", "TCP_NODELAY")["TCP_NODELAY"][:2] == ["off", "default"]


def test_the_odd_one_out(dump: Dump) -> None:
    specs = [f"ino:{dump.truth.sockets[label]['inode']}" for label in ("est-v4", "est-nodelay", "est-v6")]
    ended = dump.run("options", *specs, "--name", "TCP_NODELAY", "--name", "TCP_CORK")
    assert ended.status == 0
    rows = {line.split()[-3]: line.split() for line in ended.out.splitlines() if "TCP_" in line}
    assert rows["TCP_NODELAY"] == ["*", "TCP_NODELAY", "off", "on"]  # the two that are alike stand together
    assert rows["TCP_CORK"] == ["TCP_CORK", "off", "off"]


def test_a_name_that_nobody_knows(dump: Dump) -> None:
    ended = dump.run("options", "--all", "--name", "TCP_NODELEY")
    assert ended.status == 2
    assert "TCP_NODELAY" in ended.err
