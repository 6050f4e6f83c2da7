# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``inspect`` prints on dumps: chosen fields of any struct on the way, every format, JSON by its schema."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from harness import only

if TYPE_CHECKING:
    from harness import Dump

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

FORMATS = ("text", "table", "json", "jsonl", "csv", "crash")
# name as -f takes it: the struct that has it
MEMBERS = {
    "rcv_nxt": "struct tcp_sock",
    "snd_una": "struct tcp_sock",
    "reordering": "struct tcp_sock",
    "nonagle": "struct tcp_sock",
    "rx_opt.snd_wscale": "struct tcp_sock",
    "rtt_min.s[0].v": "struct tcp_sock",
    "rttvar_us": "struct tcp_sock",
    "icsk_rto": "struct inet_connection_sock",
    "icsk_ack.quick": "struct inet_connection_sock",
    "inet_sport": "struct inet_sock",
    "sk_rcvbuf": "struct sock",
    "sk_backlog.len": "struct sock",
    "__sk_common.skc_dport": "struct sock",
    "skc_family": "struct sock_common",
    "skc_cookie.counter": "struct sock_common",
}
POINTERS = ("icsk_ca_ops", "sk_socket", "skc_prot")


# Chosen fields


@pytest.mark.parametrize("label", ["est-v4", "est-v6-child", "dead-peer-child", "listen-v4", "fresh-v6"])
def test_members_of_every_struct_on_the_way(dump: Dump, label: str) -> None:
    record = dump.labelled(label)
    ended = dump.inspect(record["address"], "-f", ",".join(MEMBERS), "--format", "jsonl")
    assert (ended.status, ended.err) == (0, "")
    shown = only(ended.records)
    assert list(shown["fields"]) == list(MEMBERS)
    assert shown["absent"] == {}
    by_drgn = {name: dump.object(record, ctype).subobject_(name).value_() for name, ctype in MEMBERS.items()}
    assert shown["fields"] == by_drgn


def test_pointers_structs_arrays_and_texts(dump: Dump) -> None:
    record = dump.labelled("est-v4")
    names = (
        *POINTERS,
        "icsk_ca_ops->name",
        "sk_socket->file->f_pos",
        "rx_opt",
        "chrono_stat",
        "icsk_ulp_ops->name",
    )
    ended = dump.inspect(record["address"], "-f", ",".join(names), "--format", "jsonl")
    assert ended.status == 0
    shown = only(ended.records)["fields"]
    tp, sk = dump.object(record), dump.object(record, "struct sock")
    icsk = tp.inet_conn
    assert shown["icsk_ca_ops"] == f"{icsk.icsk_ca_ops.value_():#x}"
    assert shown["sk_socket"] == f"{sk.sk_socket.value_():#x}"
    assert shown["icsk_ca_ops->name"] == icsk.icsk_ca_ops.name.string_().decode()
    assert shown["sk_socket->file->f_pos"] == sk.sk_socket.file.f_pos.value_()
    assert shown["chrono_stat"] == list(tp.chrono_stat.value_())
    assert shown["rx_opt"]["mss_clamp"] == tp.rx_opt.mss_clamp
    assert set(shown["rx_opt"]) == {one.name for one in tp.rx_opt.type_.members}
    assert shown["icsk_ulp_ops->name"] is None
    assert only(ended.records)["absent"] == {"fields.icsk_ulp_ops->name": "not_applicable: NULL pointer"}


def test_values_and_members_side_by_side(dump: Dump) -> None:
    """rtt_us is the tool's, srtt_us the kernel's; a name that both have is the kernel's."""
    record = dump.labelled("est-v4")
    ended = dump.inspect(
        record["address"], "-f", "rtt_us,srtt_us,rttvar_us,drops,in_flight", "--format", "jsonl"
    )
    shown = only(ended.records)["fields"]
    tp = dump.object(record)
    assert shown["srtt_us"] == tp.srtt_us
    assert shown["rtt_us"] == tp.srtt_us.value_() >> 3
    assert shown["rttvar_us"] == tp.rttvar_us
    assert (shown["drops"], shown["in_flight"]) == (record["sock"]["drops"], record["tcp"]["in_flight"])


def test_fields_of_all_kinds(dump: Dump) -> None:
    ended = dump.inspect("--all", "-f", "rcv_nxt,skc_state,sk_rcvbuf", "--format", "jsonl")
    assert ended.status == 0
    assert len(ended.records) == len(dump.records)
    for shown, record in zip(ended.records, dump.records, strict=True):
        assert shown["address"] == record["address"]
        assert shown["fields"]["skc_state"] == dump.object(record, "struct sock_common").skc_state
        assert (shown["fields"]["rcv_nxt"] is None) == (record["kind"] not in ("tcp", "tcp-request"))
        assert (shown["fields"]["sk_rcvbuf"] is None) == record["kind"].startswith("tcp-")
        for name, why in shown["absent"].items():
            assert (name.removeprefix("fields."), why.split(":")[0]) in (
                ("rcv_nxt", "not_applicable"),
                ("sk_rcvbuf", "not_applicable"),
            )


@pytest.mark.parametrize(
    ("written", "nearest"),
    [("rcv_nx", "rcv_nxt"), ("snd_cwd", "snd_cwnd"), ("rtt_ms", "rto_ms"), ("skrcvbuf", "sk_rcvbuf")],
)
def test_a_mistyped_name(dump: Dump, written: str, nearest: str) -> None:
    ended = dump.inspect("--all", "-f", f"snd_una,{written}")
    assert (ended.status, ended.out) == (2, "")
    assert repr(written) in ended.err
    assert nearest in ended.err.split("Did you mean")[1]


@pytest.mark.parametrize(
    "written",
    [
        "",
        ",",
        "snd_una,",
        "rcv_nxt[",
        ".rcv_nxt",
        "rcv_nxt.",
        "rcv_nxt->x",
        "icsk_ca_ops->",
        "a b",
        "[0]",
        "ä",
    ],
)
def test_what_is_no_name(dump: Dump, written: str) -> None:
    ended = dump.inspect("--all", "-f", written)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("sockcrash: error: -f: ")


# Formats


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_shows_every_socket(dump: Dump, output_format: str) -> None:
    ended = dump.inspect("--all", "--format", output_format)
    assert (ended.status, ended.err) == (0, "")
    shown = re.findall(r"\b(?:0x)?(ff[0-9a-f]{14})\b", ended.out)
    assert {f"0x{address}" for address in shown} >= {one["address"] for one in dump.records}
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", ended.out)


@pytest.mark.parametrize("output_format", FORMATS)
def test_every_format_of_chosen_fields(dump: Dump, output_format: str) -> None:
    record = dump.labelled("est-v4")
    ended = dump.inspect(record["address"], "-f", "rcv_nxt,rx_opt.snd_wscale", "--format", output_format)
    assert (ended.status, ended.err) == (0, "")
    assert str(record["tcp"]["rcv_nxt"]) in ended.out
    assert "rx_opt.snd_wscale" in ended.out


def test_text_says_who_and_how_it_is(dump: Dump) -> None:
    for label in ("est-v4", "zero-window", "listen-unaccepted", "dead-peer-child", "fin-wait2-child"):
        record = dump.labelled(label)
        text = dump.inspect(record["address"]).out
        first = text.splitlines()[0]
        assert all(
            word in first for word in ("tcp", record["state"], record["address"], record["local"]["address"])
        )
        assert f"inode {record['inode']}" in text
        assert max(map(len, text.splitlines())) <= 160
        assert len(text.splitlines()) <= 45


def test_csv_is_the_table(dump: Dump) -> None:
    rows = list(csv.DictReader(io.StringIO(dump.inspect("--all", "--format", "csv").out)))
    assert [row["address"] for row in rows] == [one["address"] for one in dump.records]
    by_address = {row["address"]: row for row in rows}
    for one in dump.records:
        row = by_address[one["address"]]
        assert (row["kind"], row["state"]) == (one["kind"], one["state"] or "")
        assert row["inode"] == ("" if one["inode"] is None else str(one["inode"]))
        if one["kind"] == "tcp":
            assert row["local"].endswith(f":{one['local']['port'] or '*'}")


def test_json_document_holds_the_lines_of_jsonl(dump: Dump) -> None:
    document = json.loads(dump.inspect("--all", "--json").out)
    assert document["sockets"] == dump.records
    target = document["target"]
    assert (target["source"], target["release"]) == ("vmcore", dump.truth.raw["release"])


def test_crash_format_has_members_as_crash_prints_them(dump: Dump) -> None:
    record = dump.labelled("est-v4")
    names = ("rcv_nxt", "snd_una", "reordering")
    members = [f"  {name} = {dump.object(record).member_(name).value_()}," for name in names]
    out = dump.inspect(record["address"], "-f", ",".join(names), "--format", "crash").out
    assert out.splitlines() == [record["address"][2:], *members]


def test_an_unknown_format(dump: Dump) -> None:
    ended = dump.inspect("--all", "--format", "xml")
    assert (ended.status, ended.out) == (2, "")
    assert all(name in ended.err for name in FORMATS)
