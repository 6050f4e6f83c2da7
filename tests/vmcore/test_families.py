# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of every family but TCP: none missing, none twice, none made up, each as its kernel told of it."""

from __future__ import annotations

import re
import socket
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from guest.families import NAMES
from oracle.compare import Sample, Verdict, Window, compare, summary
from oracle.families import as_listed, netlink_tuple, parse, raw_name, vsock_tuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import Dump

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

Record = dict[str, Any]
Command = dict[str, Any]
OTHERS = {
    "mptcp",
    "udp",
    "udplite",
    "raw",
    "ping",
    "unix",
    "packet",
    "netlink",
    "vsock",
    "xdp",
    "inet",
    "other",
}
# kind: the option of ss that lists it. All of these tell cookies, UNIX inodes; XDP has a diag module since v6.12 only.
SS = {
    "udp": "-uaneOm",
    "raw": "-waneOm",
    "mptcp": "-Maein",
    "unix": "-xaneOm",
    "packet": "-0aneOm",
    "xdp": "--xdp",
}
LISTED_IN_PROC = {"udplite": ("udplite", "udplite6"), "ping": ("icmp", "icmp6")}
SOCK_PACKET = 10  # its getsockname tells no ethertype
LEAST_EQUAL = 0.9  # ICMP comes in all the time
DIAG = "4:"  # NETLINK_SOCK_DIAG: by which ss itself asks


def of_kind(dump: Dump, *kinds: str) -> list[Record]:
    return [one for one in dump.records if one["kind"] in kinds]


def key_of(record: Record) -> int:
    return int(record["inode"] or 0) if record["kind"] == "unix" else int(record["cookie"] or "0", 16)


def commands(dump: Dump, when: str, option: str) -> Iterator[Command]:
    for command in dump.truth.raw[when]["commands"]:
        if command["argv"][0] == "ss" and option in command["argv"]:
            yield command


def files(dump: Dump, when: str, *names: str) -> Iterator[tuple[int, list[str]]]:
    """Words of the lines below the heading of files in /proc/net, with the namespace."""
    for file in dump.truth.raw[when]["files"]:
        if file["path"] in names and file["text"]:
            yield from ((file["netns"], line.split()) for line in file["text"].splitlines()[1:])


def listed(dump: Dump, kind: str, when: str) -> dict[int, tuple[int, Sample]]:
    """What ss told of a kind, by cookie or inode: the namespace, and its words."""
    found: dict[int, tuple[int, Sample]] = {}
    for command in commands(dump, when, SS[kind]):
        window = Window(command["start"] * 1000, command["end"] * 1000)
        for key, keys in parse(kind, command["stdout"]).items():
            assert key not in found, f"ss lists {kind} {key:#x} twice"
            found[key] = command["netns"], Sample(keys, window)
    return found


@pytest.mark.parametrize("kind", SS)
def test_every_key_of_ss(dump: Dump, kind: str, figures: Callable[[str], None]) -> None:
    before, after = listed(dump, kind, "before"), listed(dump, kind, "after")
    ours = {key_of(one): one for one in of_kind(dump, kind)}
    both = before.keys() & after.keys()
    compared = []
    for key in both:
        assert key in ours, f"{kind} {key:#x} is missing: {before[key][1].keys}"
        assert ours[key]["netns"] == before[key][0]
        who = f"{kind} {key:#x}"
        compared += compare(who, as_listed(ours[key]), before[key][1], after[key][1], dump.at)
    if not compared:
        assert (kind, dump.series) in {("mptcp", "5.10"), ("xdp", "5.10"), ("xdp", "6.1")}
        return
    share, text = summary(compared)
    figures(f"Linux {dump.series}, {kind}, {len(both)} sockets: {text}")
    assert [str(one) for one in compared if one.verdict is Verdict.WRONG] == []
    assert share >= LEAST_EQUAL


@pytest.mark.parametrize("kind", LISTED_IN_PROC)
def test_what_only_proc_lists(dump: Dump, kind: str) -> None:
    ours = {one["inode"]: one for one in of_kind(dump, kind)}
    lines = [(netns, words) for netns, words in files(dump, "before", *LISTED_IN_PROC[kind])]
    for netns, words in lines:
        one = ours[int(words[9])]
        queues = [int(part, 16) for part in words[4].split(":")]
        section = one["udp"] if kind == "udplite" else None
        mine = (
            (section["send_q"], section["recv_q"])
            if section
            else (one["sock"]["wmem_alloc_bytes"], one["sock"]["sk_rmem_alloc"])
        )
        assert (one["netns"], *mine) == (netns, *queues)
        assert (_proc_end(words[1]), _proc_end(words[2])) == (one["local"], one["peer"])
    assert lines or (kind, dump.series) == ("udplite", "newest")


def _proc_end(text: str) -> dict[str, Any]:
    """``0100007F:004D``, words of the address in the kernel's byte order."""
    words, port = text.split(":")
    raw = b"".join(bytes.fromhex(words[start : start + 8])[::-1] for start in range(0, len(words), 8))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return {"address": socket.inet_ntop(family, raw), "port": int(port, 16)}


def test_netlink(dump: Dump, figures: Callable[[str], None]) -> None:
    """/proc/net/netlink tells inodes of what is in the hash tables; ss has the others, too, but no name for them."""
    ours = {(one["netns"], one["inode"]): one for one in of_kind(dump, "netlink")}
    moments = [
        {(netns, int(words[9])): words for netns, words in files(dump, when, "netlink")}
        for when in ("before", "after")
    ]
    both = moments[0].keys() & moments[1].keys()
    for netns, inode in both:
        one = ours[netns, inode]
        words = moments[0][netns, inode]
        ends, _, groups = netlink_tuple(one)
        assert (ends, groups) == (f"{words[1]}:{int(words[2]) & 0xFFFFFFFF}", f"groups=0x{words[3]}")
        told = [
            (moment[netns, inode][4], moment[netns, inode][5], moment[netns, inode][8]) for moment in moments
        ]
        mine = tuple(
            str(value) for value in (one["netlink"]["recv_q"], one["netlink"]["send_q"], one["sock"]["drops"])
        )
        assert told[0] != told[1] or mine == told[0], (one, words)
    figures(f"Linux {dump.series}, netlink, {len(both)} sockets of /proc/net/netlink equal")
    seen = {
        (command["netns"], words[3], words[4], words[7])
        for command in commands(dump, "before", "netlink")
        for words in map(str.split, command["stdout"].splitlines()[1:])
        if not words[3].startswith(DIAG)
    }
    known = {netns for netns, *_ in seen}
    mine_too = {(one["netns"], *netlink_tuple(one)) for one in ours.values() if one["netns"] in known}
    assert seen - mine_too == set()


def test_kernel_sockets_of_netlink(dump: Dump) -> None:
    """Each namespace has one of the kernel's for rtnetlink at least, with port ID 0 and no descriptor."""
    kernels = [one for one in of_kind(dump, "netlink") if one["netlink"]["kernel_socket"]]
    assert {one["netns"] for one in dump.records} <= {
        one["netns"] for one in kernels if one["protocol"] == "NETLINK_ROUTE"
    }
    assert {one["local"]["portid"] for one in kernels} == {0}
    assert not [one for one in kernels if any(owner["kind"] == "fd" for owner in one["owners"])]


def test_vsock(dump: Dump) -> None:
    """ss tells nothing but states and ends of these."""
    told = Counter(
        (command["netns"], *words[1:2], *words[4:6])
        for command in commands(dump, "before", "vsock")
        for words in map(str.split, command["stdout"].splitlines()[1:])
    )
    ours = Counter((one["netns"], *vsock_tuple(one)) for one in of_kind(dump, "vsock"))
    assert ours == told
    assert ours.total() >= 7


def test_every_held_socket_is_there_with_its_ends(dump: Dump) -> None:
    by_inode = defaultdict(list)
    for one in dump.records:
        by_inode[one["inode"]].append(one)
    for label, held in dump.truth.sockets.items():
        found = [one for one in by_inode[held["inode"]] if not _is_subflow(one)]
        assert len(found) == 1, label
        one = found[0]
        assert int(one["cookie"] or "0", 16) in (held["cookie"], 0), label
        assert one["netns"] == held["netns"], label
        assert {(owner["pid"], owner["fd"]) for owner in one["owners"]} >= {(held["pid"], held["fd"])}, label
        if one["kind"] in ENDS and held["type"] != SOCK_PACKET:
            assert _matches(one["kind"], one["local"], held["local"]), (label, one["local"], held["local"])
            assert held["peer"] is None or _matches(one["kind"], one["peer"], held["peer"]), (
                label,
                held["peer"],
            )


def _is_subflow(one: Record) -> bool:
    return any(owner["kind"] == "mptcp-subflow" for owner in one["owners"] or ())


def _inet(end: Record | None, told: list[Any]) -> bool:
    return end is not None and [end["address"], end["port"]] == told[:2]


def _netlink(end: Record | None, told: list[Any]) -> bool:
    """An unconnected one has no peer: getpeername says 0."""
    if end is None:
        return told == [0, 0]
    return [end["portid"], sum(1 << number - 1 for number in end["groups"] if number <= 32)] == told


def _packet(end: Record | None, told: list[Any]) -> bool:
    return end is not None and [end["device"] or "", end["ethertype"]] == told[:2]


def _unix(end: Record | None, told: str) -> bool:
    """Python writes what is no UTF-8 as surrogates in paths; of abstract names, which are bytes, truth.py loses it."""
    if end is None or end["path"] is None:
        return told == ""
    raw = raw_name(end["path"])
    return told == ("@" if raw[:1] == b"\0" else "") + raw.lstrip(b"\0").decode(
        "utf-8", "replace" if raw[:1] == b"\0" else "surrogateescape"
    )


def _vsock(end: Record | None, told: list[int]) -> bool:
    return end is not None and [end["cid"], end["port"]] == told


ENDS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("udp", "udplite", "raw", "ping", "mptcp"), _inet),
    "netlink": _netlink,
    "packet": _packet,
    "unix": _unix,
    "vsock": _vsock,
}


def _matches(kind: str, end: Any, told: Any) -> bool:
    return ENDS[kind](end, told)


@pytest.mark.parametrize("label", NAMES)
def test_names_are_kept_byte_for_byte(dump: Dump, label: str) -> None:
    found = dump.labelled(f"fam-unix-{label}")

    assert raw_name(found["local"]["path"]) == NAMES[label]
    assert found["local"]["path"].isprintable()


def test_a_name_is_shown_safely(dump: Dump) -> None:
    """The escape sequence of `odd-bytes` never reaches a terminal, in no format."""
    for form in ("text", "table", "csv", "json", "crash"):
        out = dump.inspect(dump.labelled("fam-unix-odd-bytes")["address"], "--format", form).out
        assert "\x1b" not in out
        assert form == "crash" or r"\\x41 end" in out


def test_nothing_that_is_shown_is_unexplained(dump: Dump, figures: Callable[[str], None]) -> None:
    """Each socket is one that ss or /proc/net lists, that the scenario holds, or whose reason to be silent is known."""
    truth = dump.truth
    told = {(kind, key) for when in ("before", "after") for kind in SS for key in listed(dump, kind, when)}
    held = {one["inode"] for one in truth.sockets.values()} | {
        one.get("inode") for one in truth.raw["holders"]
    }
    proc = {
        int(words[9])
        for when in ("before", "after")
        for _, words in files(dump, when, "netlink", "udplite", "udplite6", "icmp", "icmp6")
    }
    reached = {one["inode"] for one in truth.raw["netns"]}
    unexplained = [
        one
        for one in of_kind(dump, *OTHERS)
        if (one["kind"], key_of(one)) not in told
        and one["inode"] not in held | proc
        and one["netns"] in reached
        and one["kind"] != "vsock"  # test_vsock: all are equal
        and not _is_embryo(one)
    ]
    assert [(one["kind"], one["local"], one["inode"], one["how"]) for one in unexplained] == []
    counts = Counter(one["kind"] for one in dump.records)
    figures(f"Linux {dump.series}: {', '.join(f'{kind} {count}' for kind, count in sorted(counts.items()))}")


def _is_embryo(one: Record) -> bool:
    """The server's end of a UNIX connection that nobody accepted yet: only /proc/net/unix lists it, with inode 0."""
    return bool(one["kind"] == "unix" and one["inode"] is None)


def test_unaccepted_unix_connections(dump: Dump) -> None:
    listed_in_proc = Counter(netns for netns, words in files(dump, "before", "unix") if words[6:7] == ["0"])
    ours = Counter(one["netns"] for one in of_kind(dump, "unix") if _is_embryo(one))

    assert ours == listed_in_proc
    assert ours.total() >= 4
    assert {one["peer"]["path"] for one in of_kind(dump, "unix") if _is_embryo(one)} == {None}


def test_in_flight(dump: Dump) -> None:
    """Sockets that only a message holds are in tables all the same."""
    for label, kind in (("in-flight-udp", "udp"), ("in-flight-unix", "unix")):
        told = dump.truth.without_fd[label]
        found = [
            one
            for one in of_kind(dump, kind)
            if _matches(kind, one["local"], told["local"] if kind == "udp" else told["local"][0])
        ]
        assert [one["netns"] for one in found] == [told["netns"]]


def test_each_is_shown_once(dump: Dump) -> None:
    counts = Counter(one["address"] for one in dump.records)
    assert [address for address, count in counts.items() if count > 1] == []
    cookies = Counter(one["cookie"] for one in dump.records if one["cookie"])
    assert [cookie for cookie, count in cookies.items() if count > 1] == []


def test_subflows_and_their_mptcp_socket_name_each_other(dump: Dump) -> None:
    carried = {one["address"]: set(one["mptcp"]["subflows"]) for one in of_kind(dump, "mptcp")}
    carriers = defaultdict(set)
    for one in of_kind(dump, "tcp"):
        for owner in one["owners"] or ():
            if owner["kind"] == "mptcp-subflow":
                carriers[owner["socket"]].add(one["address"])
    assert dict(carriers) == {address: flows for address, flows in carried.items() if flows}
    assert {len(flows) for flows in carried.values()} >= {1, 2} or dump.series == "5.10"


def test_recvq_of_udp_is_without_what_was_read(dump: Dump) -> None:
    """Four datagrams came, one was read: the others wait in the reader's queue."""
    found = dump.labelled("fam-udp-init")

    assert found["udp"]["reader_queue.qlen"] == 3
    assert 0 < found["udp"]["recv_q"] < found["sock"]["sk_rmem_alloc"]


def test_own_tables_of_a_namespace(dump: Dump) -> None:
    """Where the kernel can, this namespace has hash tables of its own: its sockets are there, and of it."""
    for label in ("fam-udp-own", "fam-udp-own-client", "fam-tcp-own", "fam-tcp-own-listen"):
        assert dump.labelled(label)["netns"] == dump.truth.netns("own")
    own, init = (dump.labelled(f"fam-udp-{name}") for name in ("own", "init"))
    assert own["local"] == init["local"]
    assert own["how"] == init["how"] == "udp"


def test_fallback_to_tcp(dump: Dump) -> None:
    if dump.series == "5.10":
        assert of_kind(dump, "mptcp") == []
        return
    assert dump.labelled("fam-mptcp-client-fallback")["mptcp"]["fallback"] == 1
    assert dump.labelled("fam-mptcp-two-paths")["mptcp"]["fallback"] == 0


def test_membership_beyond_32_groups(dump: Dump) -> None:
    local = dump.labelled("fam-netlink-groups")["local"]
    assert local == {"protocol": "NETLINK_ROUTE", "portid": 0x7FFF0001, "groups": [1, 5, 33]}


def test_keys_of_ends_do_not_depend_on_values(dump: Dump) -> None:
    keys = defaultdict(set)
    for one in dump.records:
        for which in ("local", "peer"):
            if one[which] is not None:
                keys[re.sub("-.*|lite", "", one["kind"]), which].add(tuple(one[which]))
    assert {key: found for key, found in keys.items() if len(found) > 1 and key[0] != "other"} == {}
