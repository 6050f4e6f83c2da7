# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lines, JSON and names of columns of ``sockcrash list``, on records written by hand; and its command line."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from records import (
    ADDRESS,
    NOT_IN_KERNEL,
    request_record,
    sock_section,
    tcp_record,
    tcp_section,
    timewait_record,
)
from sockcrash.cli import group
from sockcrash.cli.progress import counted
from sockcrash.decode.want import NOTHING
from sockcrash.filter import values
from sockcrash.filter.values import find_value, known_names
from sockcrash.kernel.options import ROWS
from sockcrash.model import SECTIONS, Absent, Endpoint, OptionValue, Owner, Reason, Section, SocketRecord
from sockcrash.render.list import NARROW, Column, cell, default_columns, lines, row_object, texts

EVERY_KIND = (
    tcp_record(),
    tcp_record(state="LISTEN"),
    timewait_record(),
    request_record(),
    tcp_record(
        kind="other", local=NOT_IN_KERNEL, peer=NOT_IN_KERNEL, tcp=Section({}, ()), sock=Section({}, ())
    ),
    tcp_record(owners=NOT_IN_KERNEL, cc=NOT_IN_KERNEL, options=NOT_IN_KERNEL, timers=None),
)


def shown(record: SocketRecord, *names: str) -> str:
    found = [find_value(name) for name in names]
    columns = [Column(one.name, one.words, one.hexadecimal) for one in found if one]
    _, line = lines(columns, [[one.get(record) for one in found if one]])
    return line


def test_the_default_columns_look_like_those_of_ss_and_fit() -> None:
    assert default_columns(NARROW) == ("netid", "state", "recv_q", "send_q", "local", "peer", "owners")
    record = tcp_record(tcp=tcp_section(receive_queue_bytes=12, send_queue_bytes=345))
    line = shown(record, *default_columns(NARROW))
    assert line.split() == [
        "tcp",
        "ESTABLISHED",
        "12",
        "345",
        "127.0.0.1:41000",
        "127.0.0.1:80",
        "nginx(132):3",
    ]
    assert len(line) <= NARROW


@pytest.mark.parametrize("width", [120, 131, 140, 160, 200, 400])
def test_wider_terminals_get_more_columns_that_still_fit(width: int) -> None:
    columns = default_columns(width)
    assert columns[-1] == "owners"
    heading = next(
        lines([Column(name, (find_value(name) or pytest.fail(name)).words) for name in columns], [])
    )
    assert heading.index("Process") + 30 <= width
    assert len(default_columns(400)) > len(default_columns(160)) > len(default_columns(120))


def test_columns_stay_in_line_until_something_is_too_wide() -> None:
    columns = [Column("local", None), Column("uid", words=False), Column("comm")]
    heading, narrow, wide = lines(
        columns,
        [
            (Endpoint(address="10.0.0.1", port=80), 7, ("a",)),
            (Endpoint(address="f" * 30, port=1), 70000, ("b",)),
        ],
    )
    assert heading.index("uid") + 3 == narrow.index("7") + 1
    assert heading.index("comm") == narrow.index("a")
    assert wide.split() == ["f" * 30 + ":1", "70000", "b"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Absent(Reason.UNLIMITED), "-"),
        (Absent(Reason.UNREADABLE, "0x1ff2d960"), "?"),
        (Absent(Reason.NO_TYPE_INFO), "?"),
        (12, "12"),
        (0.4880, "0.488"),
        (True, "True"),
        ((), "-"),
        (("a", "b"), "a,b"),
        ("\x1b[2J", "\\x1b[2J"),
        ((Owner("fd", 1, "\x1b]0;x", 2), Owner("orphan")), "\\x1b]0;x(1):2 orphan"),
        (b"\xab\x01", "ab01"),
        (OptionValue("L", "N", 1, 5, "5 s\n", "set", b"", None), "5 s\\n"),
        (OptionValue("L", "N", 1, NOT_IN_KERNEL, "", None, b"", None), "-"),
        (Endpoint(path="@x"), "@x"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell(value) == text


def test_json_of_a_row_has_the_names_as_they_were_written_and_says_what_is_absent() -> None:
    names = (
        "recv-q",
        "local",
        "cookie",
        "TCP_NODELAY",
        "owners",
        "rtt",
        "device",
        "negotiated",
        "tcp.snd_cwnd",
    )
    record = tcp_record(
        tcp=tcp_section(receive_queue_bytes=4, rtt_us=488, snd_cwnd=10),
        options=(OptionValue("IPPROTO_TCP", "TCP_NODELAY", 1, 1, "on", "set", b"", None),),
    )
    found = [value for name in names if (value := find_value(name))]
    columns = [Column(one.name, one.words, one.hexadecimal) for one in found]
    made = row_object(ADDRESS, "tcp", columns, [one.get(record) for one in found])
    assert json.loads(json.dumps(made)) == {
        "schema": 1,
        "address": f"{ADDRESS:#x}",
        "kind": "tcp",
        "fields": {
            "recv-q": 4,
            "local": {"address": "127.0.0.1", "port": 41000},
            "cookie": "0x1001",
            "TCP_NODELAY": 1,
            "owners": [{"kind": "fd", "pid": 132, "comm": "nginx", "fd": 3}],
            "rtt": 0.488,
            "device": None,
            "negotiated": ["ts", "sack", "wscale"],
            "tcp.snd_cwnd": 10,
        },
        "absent": {"fields.device": "not_applicable: not bound to a device"},
    }


def test_texts_keep_what_is_absent() -> None:
    columns = [Column("cookie", words=False, hexadecimal=True), Column("timers"), Column("uid", words=False)]
    assert list(texts(columns, [(4097, (), NOT_IN_KERNEL)])) == [["0x1001", "", NOT_IN_KERNEL]]


def test_every_name_finds_a_value_that_every_kind_of_record_has_or_lacks() -> None:
    names = [*known_names(), "cc.ssthresh", "tcp.snd_cwnd", "unix.recv_q"]
    assert len(names) > 500
    for name in names:
        value = find_value(name)
        assert value is not None, name
        assert value.name == name
        for record in EVERY_KIND:
            cell(value.get(record))


def test_every_member_of_the_schema_and_every_option_has_a_name() -> None:
    assert set(values._SECTIONS) == set(SECTIONS)
    for section, members in values._members().items():
        for member in members:
            assert find_value(f"{section}.{member}") is not None
    for row in ROWS:
        for name in (row.name, row.name.lower()):
            value = find_value(name)
            assert value is not None
            assert value.options == {row.name} or name in values._ALIASES


def test_an_alias_hides_no_member_but_one_of_requests() -> None:
    """``minisock.mss`` is that one; ss's mss is that of connections."""
    members = {name for section in values._members().values() for name in section}
    assert values._ALIASES.keys() & members == {"mss"}


@pytest.mark.parametrize("name", ["nope", "tcp.nope", "cc.", "", "snd_cwnd ", "nope.snd_cwnd"])
def test_other_names_have_none(name: str) -> None:
    assert find_value(name) is None


def test_what_stands_in_every_record_costs_nothing_more() -> None:
    for name in ("netid", "state", "local", "peer", "netns", "cookie", "uid", "device", "dport"):
        want = (find_value(name) or pytest.fail(name)).want
        assert replace(want, at_once=frozenset()) == NOTHING


def test_queues_of_a_listener_are_its_accept_queue() -> None:
    record = tcp_record(state="LISTEN", sock=sock_section(sk_ack_backlog=2, sk_max_ack_backlog=16))
    assert shown(record, "recv_q", "send_q").split() == ["2", "16"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("snd_cwmd < 3",), "Did you mean snd_cwnd"),
        (("-o", "local,pear"), "no field or option is called 'pear'. Did you mean peer"),
        (("-o", "local,,peer"), "called ''"),
        (("--sort", "-snd_cwmd"), "Did you mean snd_cwnd"),
        (("--count-by", "stat"), "Did you mean state"),
        (("--count-by", "state", "--sort", "rtt"), "its own columns and order"),
        (("--format", "crash"), "this command can't give it"),
    ],
)
def test_usage_errors_come_before_any_kernel_is_opened(args: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(group, ["list", "-c", "/nonexistent", *args])
    assert says in result.output + str(result.exception)
    assert (getattr(result.exception, "exit_code", None) or result.exit_code) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_after_a_second_and_wiped_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(now) * 0.3)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(counted(range(640), "sockets", quiet=False)) == list(range(640))
    shown_pieces = terminal.getvalue().split("\r\x1b[K")
    assert shown_pieces[0] == ""
    assert shown_pieces[1] == "256 sockets"
    assert shown_pieces[-1] == ""


def test_progress_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    for stream, quiet in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(counted(range(640), "sockets", quiet=quiet)) == list(range(640))
        assert stream.getvalue() == ""
