# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash explain``, and the meanings beside the values of a record."""

from __future__ import annotations

import json

import jsonschema
import pytest
from click.testing import CliRunner

from records import MINI, NOT_IN_KERNEL, request_record, tcp_record, tcp_section, timer, timewait_record
from sockcrash.cli import group
from sockcrash.cli.errors import run
from sockcrash.cli.explain import kept
from sockcrash.errors import UsageError
from sockcrash.glossary import Entry, entries, meaning
from sockcrash.model import OptionValue
from sockcrash.render.glossary import entry_text, explained_fields, explained_record
from test_schema import SCHEMA


def explain(*args: str) -> str:
    """The output of the command; its errors are raised."""
    result = CliRunner().invoke(group, ["explain", *args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def found(name: str) -> Entry:
    """The one entry of a member of TCP."""
    entry = meaning("member", "tcp", name)
    assert entry
    return entry


def test_one_name_says_everything() -> None:
    said = explain("SND.UNA")

    for words in (
        "snd_una  member of tcp\n",
        "Oldest byte sent",
        "sequence number, modulo 2**32",
        "RFC 9293 section 3.3.1",
        "tcp_snd_una_update() in net/ipv4/tcp_input.c",
        "struct tcp_sock: snd_una",
        "misread",
    ):
        assert words in said


def test_several_meanings_and_several_names_are_all_shown() -> None:
    said = explain("snd_nxt", "TCP_NODELAY")

    assert "snd_nxt  member of tcp\n" in said
    assert "snd_nxt  member of mptcp\n" in said
    assert "TCP_NODELAY  option of IPPROTO_TCP\n" in said
    assert "IPPROTO_TCP (6) option 1" in said


def test_names_of_ss_are_known() -> None:
    assert "icsk_rto (rto_ms, rto_us)" in explain("rto")
    assert explain("unacked") == explain("packets_out")


def test_a_name_is_shown_once() -> None:
    assert explain("snd_una", "SND_UNA").count("snd_una  member of tcp\n") == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "--help"),
        (("snd_una", "--search", "window"), "--help"),
    ],
)
def test_what_is_no_question_says_what_to_do(args: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError) as error:
        explain(*args)

    assert says in str(error.value.hint)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("snd_sstresh",), "snd_ssthresh"),
        (("qqqqqq",), "--search"),
        (("--search", "qqqqqq zzzz"), "fewer words"),
    ],
)
def test_what_is_not_known_says_what_to_do(
    args: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(group, ["explain", *args]) == 3

    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err


def test_what_is_known_is_shown_beside_what_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(group, ["explain", "snd_sstresh", "snd_una", "qqqqqq"]) == 3

    shown = capsys.readouterr()
    assert shown.out == explain("snd_una")
    assert "'snd_sstresh'" in shown.err
    assert "'qqqqqq'" in shown.err


def test_json_has_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(group, ["explain", "snd_una", "qqqqqq", "--json"]) == 3
    assert {one["name"] for one in json.loads(capsys.readouterr().out)["explain"]} == {"snd_una"}


def test_search_shows_a_line_for_each() -> None:
    lines = explain("--search", "Zero Window").splitlines()

    assert any(line.startswith("persist  (timer)") for line in lines)
    assert all(line.count("  ") >= 2 for line in lines)


@pytest.mark.parametrize("args", [("snd_nxt", "persist", "SO_RCVBUF"), ("--search", "window")])
def test_json_fits_the_schema(args: tuple[str, ...]) -> None:
    document = json.loads(explain(*args, "--json"))
    schema = {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/explain_document"}

    jsonschema.Draft202012Validator(schema).validate(document)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    assert document["explain"]


def test_every_entry_can_be_shown() -> None:
    schema = {"$defs": SCHEMA["$defs"], "$ref": "#/$defs/explain_document"}
    document = json.loads(explain(*{entry.name for entry in entries()}, "--json"))

    jsonschema.Draft202012Validator(schema).validate(document)
    assert len(document["explain"]) == len(entries())
    assert all(max(map(len, entry_text(entry, ()).splitlines()[1:])) <= 100 for entry in entries())


def test_where_it_is_kept_comes_from_the_rows() -> None:
    assert kept(found("keepalive_expires"))[0] == "struct inet_connection_sock: icsk_keepalive_timer.expires"
    assert len(kept(found("keepalive_expires"))) == 2
    assert kept(found("in_flight")) == []


def test_a_record_has_every_value_with_its_meaning() -> None:
    record = tcp_record(
        tcp=tcp_section(snd_cwnd=17, total_rto=NOT_IN_KERNEL), timers=(timer("persist", 400),)
    )
    lines = explained_record(record).splitlines()

    assert next(line for line in lines if line.startswith("    snd_cwnd ")).split(None, 2)[1:] == [
        "17",
        found("snd_cwnd").means,
    ]
    assert not any("total_rto " in line for line in lines)
    assert any(line.startswith("    persist  400 ms") and "probe" in line for line in lines)
    assert any(line.startswith("    state ") and line.endswith("both sides may send.") for line in lines)


def test_no_shown_value_is_without_a_meaning() -> None:
    for record in (tcp_record(), timewait_record(), request_record()):
        lines = [line for line in explained_record(record).splitlines() if line.startswith("    ")]

        assert lines
        assert [line for line in lines if not line.endswith((".", ")"))] == []


def test_a_converted_value_tells_its_unit_behind_the_member() -> None:
    lines = explained_record(tcp_record()).splitlines()
    raw, converted = (
        next(line for line in lines if line.split()[0] == name) for name in ("srtt_us", "rtt_us")
    )

    assert raw.endswith(found("srtt_us").means)
    assert converted.endswith(f"({found('srtt_us').unit})")


def test_mini_sockets_have_meanings_of_their_own() -> None:
    request = meaning("member", "request", "mss")

    assert request
    assert request.means in explained_record(request_record())
    assert "Which late" not in explained_record(timewait_record())
    assert "tw_substate" in explained_record(timewait_record())


def test_options_that_differ_are_explained() -> None:
    options = tuple(
        OptionValue("IPPROTO_TCP", name, number, 1, "on", origin, bytes(4), None)
        for name, number, origin in (("TCP_NODELAY", 1, "set"), ("TCP_CORK", 3, "default"))
    )
    said = explained_record(tcp_record(options=options))

    assert "    TCP_NODELAY  on            Turns Nagle's algorithm off" in said
    assert "TCP_CORK  on" not in said
    assert "\n  options\n" in said
    assert "\n  options\n" not in explained_record(tcp_record(options=MINI))


def test_chosen_fields_have_their_meanings() -> None:
    said = explained_fields(tcp_record(), {"rtt_us": 488, "sk_sndbuf": 16384, "icsk_inet": 3})

    assert f"rtt_us     488           {found('srtt_us').means}" in said
    assert "Limit of the memory for data to send" in said
    assert said.splitlines()[-1].split() == ["icsk_inet", "3"]
