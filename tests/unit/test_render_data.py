# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records as data for programs: JSON, CSV, tables."""

from __future__ import annotations

import csv
import io
import json
import pickle

import pytest

from records import (
    ADDRESS,
    NOT_IN_KERNEL,
    UNREADABLE,
    request_record,
    sock_section,
    tcp_record,
    tcp_section,
    timewait_record,
)
from sockcrash.model import Absent, OptionValue, Owner, Reason
from sockcrash.render.json import dumps, fields_object, record_json, record_object
from sockcrash.render.stream import objects
from sockcrash.render.table import RECORD_COLUMNS, fields_row, record_row, rows


def test_addresses_and_cookies_are_hexadecimal_text_and_the_rest_is_numbers() -> None:
    written = record_object(tcp_record())

    assert written["address"] == f"{ADDRESS:#x}"
    assert written["cookie"] == "0x1001"
    assert written["inode"] == 11138
    assert written["local"] == {"address": "127.0.0.1", "port": 41000}
    assert record_object(request_record())["owners"] == [
        {"kind": "request", "listener": "0xffff888012345678"}
    ]


def test_an_absent_value_is_null_and_its_reason_stands_in_absent() -> None:
    record = tcp_record(
        cookie=Absent(Reason.NOT_ASSIGNED, "nobody asked"), tcp=tcp_section(snd_nxt=NOT_IN_KERNEL)
    )

    written = record_object(record)

    assert written["cookie"] is None
    assert written["absent"]["cookie"] == "not_assigned: nobody asked"
    assert written["tcp"]["snd_nxt"] is None
    assert written["absent"]["tcp.snd_nxt"] == "not_in_kernel"


def test_options_that_many_sockets_have_alike_are_written_as_any_other() -> None:
    nodelay = OptionValue("IPPROTO_TCP", "TCP_NODELAY", 1, 1, "on", "set", b"\1\0", "tcp_sock.nonagle", 0)
    hidden = OptionValue("IPPROTO_TCP", "TCP_MD5SIG", 14, NOT_IN_KERNEL, "", None, NOT_IN_KERNEL, None)
    large = OptionValue("SOL_NETLINK", "LIST", 9, 1 << 70, "bits", "set", b"", None)

    for options in ((nodelay, hidden), (hidden, nodelay), (nodelay, large), (nodelay, hidden)):
        record = tcp_record(options=options)
        read = json.loads(record_json(record))

        assert read == json.loads(dumps(record_object(record)))
        assert [one["value"] for one in read["options"]] == [
            None if isinstance(one.value, Absent) else one.value for one in options
        ]
        assert ("options.IPPROTO_TCP.TCP_MD5SIG" in read["absent"]) is (hidden in options)


def test_zero_false_and_empty_are_values() -> None:
    written = record_object(tcp_record(mark=0, uid=0, cgroup="", owners=()))

    assert (written["mark"], written["uid"], written["cgroup"], written["owners"]) == (0, 0, "", [])
    assert not {"mark", "uid", "cgroup", "owners"} & set(written["absent"])


def test_a_section_that_a_kind_does_not_have_is_left_out() -> None:
    assert "minisock" not in record_object(tcp_record())
    assert not {"tcp", "sock"} & set(record_object(timewait_record()))


def test_unreadable_owners_are_null_and_none_is_empty() -> None:
    assert record_object(tcp_record(owners=UNREADABLE))["owners"] is None
    assert record_object(tcp_record(owners=()))["owners"] == []


def test_chosen_fields_keep_the_names_as_they_were_written() -> None:
    written = fields_object(tcp_record(), {"rx_opt.snd_wscale": 7, "raw": b"\x00\xff", "gone": NOT_IN_KERNEL})

    assert written["fields"] == {"rx_opt.snd_wscale": 7, "raw": "00ff", "gone": None}
    assert written["absent"] == {"fields.gone": "not_in_kernel"}


@pytest.mark.parametrize("number", [0, 1, 3])
def test_json_is_one_document_and_jsonl_one_object_a_line(number: int) -> None:
    made = [record_object(tcp_record(inode=inode)) for inode in range(number)]

    document = json.loads("".join(objects(iter(made), {"source": "live"}, "json")))
    lines = "".join(objects(iter(made), {"source": "live"}, "jsonl")).splitlines()

    assert document["schema"] == 1
    assert document["target"] == {"source": "live"}
    assert [one["inode"] for one in document["sockets"]] == list(range(number))
    assert [json.loads(line)["inode"] for line in lines] == list(range(number))


def test_a_hostile_name_stays_one_line_of_jsonl() -> None:
    record = tcp_record(owners=(Owner("fd", 1, 'a"\n\x1b\u2028', 3),))

    (line,) = "".join(objects([record_object(record)], {}, "jsonl")).split("\n")[:-1]

    assert json.loads(line)["owners"][0]["comm"] == 'a"\n\x1b\u2028'
    assert dumps({"a": 1}) == '{"a":1}'


def test_the_queues_of_a_row_are_those_of_ss() -> None:
    stream = tcp_record(tcp=tcp_section(receive_queue_bytes=5, send_queue_bytes=6))
    listener = tcp_record(state="LISTEN", sock=sock_section(sk_ack_backlog=1, sk_max_ack_backlog=128))

    queues = [dict(zip(RECORD_COLUMNS, record_row(record), strict=True)) for record in (stream, listener)]

    assert [(row["recv-q"], row["send-q"]) for row in queues] == [(5, 6), (1, 128)]
    assert queues[0]["held by"] == "nginx(132):3"


def test_csv_is_read_back_as_it_was() -> None:
    made = [("0x1", 'a "quoted", comma', NOT_IN_KERNEL, 0), ("0x2", "two\nlines", "", 1)]

    text = "\n".join(rows(("address", "name", "gone", "n"), made, "csv"))

    assert list(csv.reader(io.StringIO(text))) == [
        ["address", "name", "gone", "n"],
        ["0x1", 'a "quoted", comma', "", "0"],
        ["0x2", "two\nlines", "", "1"],
    ]


def test_a_table_aligns_escapes_and_says_why_something_is_absent() -> None:
    (table,) = rows(
        ("address", "name"), [fields_row(tcp_record(), {"name": "\x1b[2J"}), ("0x1", UNREADABLE)], "table"
    )

    lines = table.splitlines()
    assert len(lines) == 4
    assert "\x1b" not in table
    assert "\\x1b[2J" in lines[2]
    assert "(unreadable: 0xffff888000001000)" in lines[3]
    assert lines[2].index("\\x1b") == lines[3].index("(unreadable")


def test_numbers_in_a_table_stay_as_they_are() -> None:
    (table,) = rows(("a",), [("0x10",), ("1e5",), (16959,)], "table")

    assert [line.strip() for line in table.splitlines()[2:]] == ["0x10", "1e5", "16959"]


def test_records_travel_between_processes() -> None:
    record = tcp_record()

    again = pickle.loads(pickle.dumps(record))

    assert again == record
    assert hash(again.sock) == hash(record.sock)
    assert record_object(again) == record_object(record)
    with pytest.raises(AttributeError):
        again.inode = 5  # type: ignore[misc]
