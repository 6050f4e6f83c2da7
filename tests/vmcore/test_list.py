# SPDX-License-Identifier: LGPL-2.1-or-later
"""``list`` and ``--filter`` on dumps: against what ss and getsockopt said in those kernels, and against ``inspect``."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from harness import sockcrash_here, sockcrash_process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness import Dump, Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

SS_STATES = {"ESTAB": "ESTABLISHED", "SYN-SENT": "SYN_SENT", "LISTEN": "LISTEN", "CLOSE-WAIT": "CLOSE_WAIT"}


def fields(dump: Dump, *args: str) -> dict[str, Record]:
    """The fields of each socket of a list, by address."""
    ended = dump.run("list", *args, "--format", "jsonl")
    # Linux 5.10 has no types of modules: what a filter can't tell for want of them it says.
    said = [
        line for line in ended.err.splitlines() if dump.series != "5.10" or "the types of module" not in line
    ]
    assert (ended.status, said) == (0, [])
    found = [(one["address"], one["fields"]) for one in ended.records]
    assert len(found) == len(dict(found)), "a socket is listed twice"
    return dict(found)


def told(dump: Dump) -> dict[int, Record]:
    """What ss printed of TCP sockets, alike before and after the dump, by cookie."""
    truth = dump.truth
    both = truth.before.keys() & truth.after.keys()
    keys = ("state", "Recv-Q", "Send-Q", "local", "peer")
    return {
        cookie: {key: truth.before[cookie].keys[key] for key in keys}
        for cookie in both
        if all(truth.before[cookie].keys[key] == truth.after[cookie].keys[key] for key in keys)
    }


def selected(dump: Dump, text: str) -> set[int]:
    """Cookies of what a filter selects."""
    found = fields(dump, text, "-o", "cookie").values()
    return {int(one["cookie"], 16) for one in found if one["cookie"] is not None}


def test_it_lists_every_socket_once(dump: Dump) -> None:
    assert fields(dump, "-o", "address").keys() == {one["address"] for one in dump.records}


def seen_by_ss(dump: Dump) -> list[set[int]]:
    """The cookies of all lines of ss, of every family and namespace, before and after the dump."""
    return [
        {
            int(cookie, 16)
            for command in dump.truth.raw[when]["commands"]
            if command["argv"][0].endswith("ss")
            for cookie in re.findall(r"\bsk:([0-9a-f]+)", command["stdout"])
        }
        for when in ("before", "after")
    ]


def test_every_socket_that_ss_saw_of_any_family_is_listed(dump: Dump) -> None:
    before, after = seen_by_ss(dump)
    listed = {
        int(one["cookie"], 16) for one in fields(dump, "-o", "cookie").values() if one["cookie"] is not None
    }
    assert len(before & after) > 200
    assert before & after <= listed


def unix_inodes(dump: Dump) -> set[int]:
    """What ss prints of UNIX sockets as their port."""
    commands = dump.truth.raw["before"]["commands"]
    lines = [line.split() for one in commands for line in one["stdout"].splitlines()]
    return {
        int(words[5]) for words in lines if len(words) > 5 and words[0][:2] == "u_" and words[5].isdigit()
    }


def test_no_socket_is_listed_that_nobody_knows(dump: Dump) -> None:
    """What neither ss nor the scenario names: the kernel's own netlink sockets, subflows, and what has no file yet."""
    cookies = set().union(*seen_by_ss(dump))
    inodes = {one["inode"] for one in dump.truth.sockets.values()} | unix_inodes(dump)
    asked = fields(dump, "-o", "cookie,inode,kind,owner,pid,local").values()
    strangers = [
        one
        for one in asked
        if (one["cookie"] is None or int(one["cookie"], 16) not in cookies) and one["inode"] not in inodes
    ]
    holders = {one["pid"] for one in dump.truth.sockets.values()}
    for one in strangers:
        kernels = one["kind"] == "netlink" and one["local"].get("portid") == 0
        held = bool(holders & set(one["pid"] or ()))
        assert kernels or held or "mptcp-subflow" in (one["owner"] or ()) or one["inode"] is None, one
    assert len(strangers) < len(asked) / 2


def test_every_socket_of_the_scenario_is_listed(dump: Dump) -> None:
    inodes = {one["inode"] for one in fields(dump, "-o", "inode").values()}
    assert {one["inode"] for one in dump.truth.sockets.values()} <= inodes


def test_the_columns_of_ss(dump: Dump) -> None:
    listed = {
        int(one["cookie"], 16): one
        for one in fields(dump, "netid = tcp", "-o", "cookie,state,recv_q,send_q,sport,dport").values()
        if one["cookie"] is not None
    }
    compared = 0
    for cookie, line in told(dump).items():
        one = listed[cookie]
        if line["state"] not in SS_STATES:
            continue
        compared += 1
        assert one["state"] == SS_STATES[line["state"]]
        assert (str(one["recv_q"]), str(one["send_q"])) == (line["Recv-Q"], line["Send-Q"])
        assert str(one["sport"] or "*") == line["local"].rpartition(":")[2]
        assert str(one["dport"] or "*") == line["peer"].rpartition(":")[2]
    assert compared > 80


def test_text_is_the_same_as_json(dump: Dump) -> None:
    lines = dump.run("list", "kind = tcp").out.splitlines()
    rows = fields(dump, "kind = tcp", "-o", "netid,state,recv_q,send_q")
    assert lines[0].split()[:4] == ["Netid", "State", "Recv-Q", "Send-Q"]
    assert [line.split()[:4] for line in lines[1:]] == [list(map(str, row.values())) for row in rows.values()]
    assert max(map(len, lines)) <= 140


def test_states_ports_and_addresses_as_ss_tells_them(dump: Dump) -> None:
    lines = told(dump)
    cases = {
        "state established": lambda one: one["state"] == "ESTAB",
        "state listening": lambda one: one["state"] == "LISTEN",
        "state established dst 127.0.0.0/8": lambda one: (
            one["state"] == "ESTAB" and "127.0.0.1]" in f"{one['peer'].rpartition(':')[0]}]"
        ),
        "sport >= :17100 and sport <= 17105": lambda one: (
            one["local"].rpartition(":")[2] in map(str, range(17100, 17106))
        ),
        "dport = 17101 or dport = 17103": lambda one: one["peer"].rpartition(":")[2] in ("17101", "17103"),
        "src [::1]": lambda one: one["local"].startswith("[::1]"),
    }  # fmt: skip
    for text, wanted in cases.items():
        expected = {cookie for cookie, one in lines.items() if wanted(one)}
        assert expected, text
        assert selected(dump, f"( {text} )" if " or " in text else text) & lines.keys() == expected, text


def option_values(dump: Dump, level: int, number: int) -> dict[int, int]:
    """What getsockopt gave for an int, alike before and after, by cookie."""
    values = {}
    for label, one in dump.truth.sockets.items():
        raws = {
            dump.truth.raw[when]["options"]
            .get(label, {})
            .get("value", {})
            .get(str(level), {})
            .get(str(number))
            for when in ("before", "after")
        }
        (raw, *more) = raws
        if not more and isinstance(raw, str) and one["cookie"]:
            values[one["cookie"]] = int.from_bytes(bytes.fromhex(raw)[:4], "little")
    return values


@pytest.mark.parametrize(
    ("name", "level", "number"),
    [("tcp_nodelay", 6, 1), ("SO_KEEPALIVE", 1, 9), ("ip_ttl", 0, 2), ("SO_RCVBUF", 1, 8)],
)
def test_options_as_getsockopt_tells_them(dump: Dump, name: str, level: int, number: int) -> None:
    values = option_values(dump, level, number)
    assert len(values) > 60
    for value, _ in Counter(values.values()).most_common(3):
        for text, expected in (
            (f"{name} = {value}", {cookie for cookie, one in values.items() if one == value}),
            (f"not {name} = {value}", {cookie for cookie, one in values.items() if one != value}),
            (f"{name} > {value}", {cookie for cookie, one in values.items() if one > value}),
        ):
            assert selected(dump, text) & values.keys() == expected, text


def test_option_columns_hold_what_getsockopt_gave(dump: Dump) -> None:
    values = option_values(dump, 6, 1)
    rows = fields(dump, "-o", "cookie,TCP_NODELAY")
    listed = {
        int(one["cookie"], 16): one["TCP_NODELAY"] for one in rows.values() if one["cookie"] is not None
    }
    assert {cookie: listed[cookie] for cookie in values} == values


def test_namespaces_by_name_are_those_in_which_ss_saw_them(dump: Dump) -> None:
    named = [one for one in dump.truth.raw["netns"] if one["name"] not in ("", "init")]
    assert named
    for one in named:
        rows = fields(dump, f"netns = {one['name']}", "-o", "netns")
        assert rows
        assert {row["netns"] for row in rows.values()} == {one["inode"]}
        assert len(rows) == sum(record["netns"] == one["inode"] for record in dump.records)
    ended = dump.run("list", "netns = nosuch")
    assert ended.status == 3
    assert ended.out == ""
    assert named[0]["name"] in ended.err


def test_filters_over_members_and_owners_select_what_inspect_shows(dump: Dump) -> None:
    def tcp(record: Record, name: str) -> Any:
        return record.get("tcp", {}).get(name)

    def owners(record: Record, key: str) -> Iterable[Any]:
        return [owner.get(key) for owner in record["owners"]]

    cases = {
        "snd_cwnd > 3 and unacked = 0": lambda r: (tcp(r, "snd_cwnd") or 0) > 3 and tcp(r, "packets_out") == 0,
        "not snd_cwnd = 10": lambda r: tcp(r, "snd_cwnd") not in (None, 10),
        "rtt > 1": lambda r: (tcp(r, "rtt_us") or 0) > 1000,
        "congestion != cubic": lambda r: (
            r["kind"] in ("tcp", "mptcp")
            and (r.get("tcp") or r["mptcp"])["congestion"] not in (None, "cubic")
        ),
        "( comm = python3 and fd < 100 )": lambda r: (
            "python3" in owners(r, "comm") and any(fd is not None and fd < 100 for fd in owners(r, "fd"))
        ),
        "owner = timewait": lambda r: "timewait" in owners(r, "kind"),
        "timers = keepalive": lambda r: any(t["name"] == "keepalive" and t["pending"] for t in r.get("timers", ())),
        "cc.cnt >= 0": lambda r: ((r.get("cc") or {}).get("cnt") or 0) >= 0 and "cnt" in (r.get("cc") or {}),
        "wmem > 0": lambda r: (r.get("sock", {}).get("wmem_alloc_bytes") or 0) > 0,
        "kind = unix and path = @*": lambda r: r["kind"] == "unix" and (r["local"]["path"] or "").startswith("@"),
    }  # fmt: skip
    for text, wanted in cases.items():
        expected = {record["address"] for record in dump.records if wanted(record)}
        assert expected, text
        assert fields(dump, text, "-o", "kind").keys() == expected, text


def test_columns_have_what_inspect_shows(dump: Dump) -> None:
    names = (
        "kind",
        "inode",
        "netns",
        "uid",
        "cgroup",
        "snd_cwnd",
        "sk_rcvbuf",
        "drops",
        "in_flight",
        "ca_state",
        "recv_q",
    )
    rows = fields(dump, "-o", ",".join(names))
    for record in dump.records:
        row = rows[record["address"]]
        for name in ("kind", "inode", "netns", "uid", "cgroup"):
            assert row[name] == record[name]
        for section in ("tcp", "sock"):
            for name in set(names) & record.get(section, {}).keys():
                assert row[name] == record[section][name]
        assert row["snd_cwnd"] is None or record["kind"] == "tcp"


@pytest.mark.parametrize("command", ["inspect", "options", "snapshot"])
def test_the_same_filter_in_other_commands(dump_6_1: Dump, command: str, tmp_path: Any) -> None:
    text = "state listening and tcp_congestion = dctcp"
    expected = set(fields(dump_6_1, text, "-o", "kind"))
    assert expected
    if command == "snapshot":
        path = tmp_path / "some.core"
        assert dump_6_1.run("snapshot", "--filter", text, "-o", str(path)).status == 0
        ended = sockcrash_here("list", "-c", str(path), "--format", "jsonl")
        assert "--filter" in sockcrash_here("info", str(path)).out
    else:
        ended = dump_6_1.run(command, "--filter", text, "--format", "jsonl")
    assert {one["address"] for one in ended.records} == expected
    both = dump_6_1.run("inspect", next(iter(expected)), "--filter", "state established", "--format", "jsonl")
    assert (both.status, both.out) == (0, "")


def test_a_filter_that_needs_the_common_part_decodes_no_tcp(dump_6_1: Dump) -> None:
    from sockcrash import decode

    with mock.patch.object(decode, "tcp_section", side_effect=AssertionError("a tcp_sock was decoded")):
        ended = dump_6_1.run(
            "list", "state established dst 127.0.0.0/8 dport > 1000 not netns = 1", "-o", "local,peer"
        )
        assert ended.status == 0
        assert len(ended.out.splitlines()) > 30
        assert dump_6_1.run("inspect", "--filter", "kind = tcp-timewait", "--format", "jsonl").records
        with pytest.raises(AssertionError, match="a tcp_sock was decoded"):
            dump_6_1.run("list", "snd_cwnd = 1")


def test_sorted(dump_6_1: Dump) -> None:
    rows = list(fields(dump_6_1, "-o", "snd_cwnd,rtt_us", "--sort", "rtt_us").values())
    values = [row["rtt_us"] for row in rows]
    known = [value for value in values if value is not None]
    assert len(known) > 30
    assert values == [None] * (len(values) - len(known)) + sorted(known)
    turned = list(fields(dump_6_1, "-o", "rtt_us", "--sort", "-rtt_us").values())
    assert [row["rtt_us"] for row in turned] == values[::-1]


def test_counted(dump_6_1: Dump) -> None:
    expected = Counter((one["kind"], one["state"]) for one in dump_6_1.records)
    document = json.loads(dump_6_1.run("list", "--count-by", "kind,state", "--json").out)
    assert document["schema"] == 1
    assert document["target"]["source"] == "vmcore"
    told_counts = {(one["fields"]["kind"], one["fields"]["state"]): one["count"] for one in document["list"]}
    assert told_counts == expected
    lines = dump_6_1.run("list", "--count-by", "kind,state").out.splitlines()
    assert [int(line.split()[0]) for line in lines[1:]] == sorted(expected.values(), reverse=True)
    rows = list(
        csv.DictReader(io.StringIO(dump_6_1.run("list", "--count-by", "kind,state", "--format", "csv").out))
    )
    assert {(row["kind"], row["state"]): int(row["count"]) for row in rows} == expected


def test_csv_and_table(dump_6_1: Dump) -> None:
    ended = dump_6_1.run("list", "kind = tcp", "--format", "csv", "-o", "local,snd_cwnd,rtt,comm")
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert len(rows) == sum(one["kind"] == "tcp" for one in dump_6_1.records)
    assert {row["comm"] for row in rows} >= {"python3", ""}
    table = dump_6_1.run("list", "kind = tcp", "--format", "table", "-o", "local,snd_cwnd").out.splitlines()
    assert len(table) == len(rows) + 2
    assert table[2].split()[0] == rows[0]["local"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("dev", "nope"), "there is no device 'nope'"),
        (("dev", "loo"), "Did you mean lo?"),
        (("--cgroup", "/nope"), "there is no control group '/nope'"),
        (("--cgroup", "0123abcd"), "there is no container"),
        (("cgroup = '/no*' and state established",), "there is no control group"),
        (("dev lo and cgroup = / and pid = 999999999",), ""),
        (("not dev nope or state established",), ""),
    ],
)
def test_names_of_what_the_target_has_not_are_said(dump: Dump, args: tuple[str, ...], says: str) -> None:
    """An empty list is no failure, but that the name itself stands for nothing is news."""
    ended = dump.run("list", *args)
    assert ended.status == 0
    assert ended.err == "" if says == "" else says in ended.err


def test_the_whole_command(dump_6_1: Dump) -> None:
    args = [*dump_6_1.target_options]
    ended = sockcrash_process(
        "list", *args, "state", "listening", "(", "sport", "=", ":17101", "or", "sport", "=", ":1", ")"
    )
    assert ended.status == 0
    heading, line = ended.out.splitlines()
    assert heading.startswith("Netid")
    assert "127.0.0.1:17101" in line
    wrong = sockcrash_process("list", *args, "dport = 80 and snd_cwmd < 3")
    assert wrong.status == 2
    assert wrong.out == ""
    assert "Did you mean snd_cwnd" in wrong.err
    assert wrong.err.splitlines()[-1].index("^") == wrong.err.splitlines()[-2].index("snd_cwmd")


def test_a_snapshot_lists_the_same(dump_6_1: Dump, tmp_path: Any) -> None:
    path = tmp_path / "all.core"
    assert dump_6_1.run("snapshot", "--all", "-o", str(path)).status in (0, 4)
    absent = sockcrash_here("list", "-c", str(path), "dev", "nope")
    assert (absent.status, absent.err) == (0, ""), "a snapshot has no list of all devices"
    names = "kind,state,local,peer,inode,snd_cwnd,tcp_nodelay,owners,netns,timers"
    mine = sockcrash_here("list", "-c", str(path), "-o", names, "--format", "jsonl").records
    theirs = dump_6_1.run("list", "-o", names, "--format", "jsonl").records
    assert sorted(mine, key=lambda one: one["address"]) == sorted(theirs, key=lambda one: one["address"])
