# SPDX-License-Identifier: LGPL-2.1-or-later
"""--drgn: the code that is printed is run, and yields what the command itself shows, for every socket of a dump."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bundles import BUNDLED, SHELF, Bundle, run
from sockcrash.filter.values import find_value
from sockcrash.model import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=[BUNDLED[0], BUNDLED[-1]])
def bundle(request: pytest.FixtureRequest) -> Iterator[Bundle]:
    opened = Bundle(SHELF / request.param)
    yield opened
    opened.close()


def executed(bundle: Bundle, command: str, *args: str) -> dict[str, Any]:
    """The names that the printed code defines."""
    ended = run(bundle, command, *args, "--drgn")
    assert (ended.status, ended.err) == (0, "")
    names: dict[str, Any] = {"prog": bundle.prog}
    exec(ended.out, names)
    return names


def as_shown(value: object, shown: object) -> object:
    """A value as the JSON of a command writes it: pointers in hexadecimal, whether a pointer is set as a bool."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(shown, bool):
        return bool(value)
    if isinstance(shown, str) and isinstance(value, int):
        return f"{value:#x}"
    return None if isinstance(value, Absent) else json.loads(json.dumps(value))


def differing(shown: dict[str, Any], by_hand: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    both = {
        name: (shown[name], as_shown(by_hand[name], shown[name])) for name in shown.keys() & by_hand.keys()
    }
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def test_every_field_of_every_tcp_socket(bundle: Bundle) -> None:
    filter_ = "kind = tcp or kind = tcp-timewait or kind = tcp-request"
    fields = executed(bundle, "inspect", "--filter", filter_)["fields"]
    shown = run(bundle, "inspect", "--filter", filter_, "--format", "jsonl").records
    compared = 0
    for record in shown:
        sections = {**record.get("sock", {}), **record.get("minisock", {}), **record.get("tcp", {})}
        mine = fields[int(record["address"], 16)]
        sections.pop("rttvar_us", None)  # TCP_INFO's there, the member here
        assert differing(sections, mine) == {}, record["address"]
        compared += len(sections.keys() & mine.keys())

    assert compared > 150 * len([record for record in shown if record["kind"] == "tcp"])


def test_every_kind_has_code_that_runs(bundle: Bundle) -> None:
    fields = executed(bundle, "inspect", "--all")["fields"]

    assert {f"{address:#x}" for address in fields} == {record["address"] for record in bundle.records}


def test_chosen_fields(bundle: Bundle) -> None:
    names = "snd_wnd,nonagle,rx_opt.snd_wscale,sk_rcvbuf,rtt_us,in_flight,congestion,tw_substate,sk_shutdown"
    filter_ = "((kind = tcp or kind = udp) and (sk_rmem_alloc > 0 or unacked > 0)) or kind = tcp-timewait"
    fields = executed(bundle, "inspect", "--filter", filter_, "-f", names)["fields"]
    for record in run(bundle, "inspect", "--filter", filter_, "-f", names, "--format", "jsonl").records:
        assert differing(record["fields"], fields[int(record["address"], 16)]) == {}, record["address"]


def test_every_option(bundle: Bundle) -> None:
    """Of one socket of each kind."""
    specs = {record["kind"]: record["address"] for record in bundle.records}.values()
    options = executed(bundle, "options", *specs, "--every")["options"]
    for record in run(bundle, "options", *specs, "--every", "--format", "jsonl").records:
        mine = options[int(record["address"], 16)]
        shown = {f"{one['level']}.{one['name']}": one["value"] for one in record["options"]}
        assert shown.keys() == mine.keys()
        assert differing(shown, mine) == {}, record["kind"]


def test_columns_of_a_list(bundle: Bundle) -> None:
    columns = "address,local,state,snd_cwnd,rtt_us,so_keepalive,tcp_nodelay,sk_rcvbuf,comm"
    filter_ = ("state", "established", "or", "kind", "=", "udp")
    rows = executed(bundle, "list", "-o", columns, *filter_)["rows"]
    shown = run(
        bundle, "list", "-o", "address,snd_cwnd,rtt_us,so_keepalive,sk_rcvbuf", *filter_, "--format", "jsonl"
    )
    mine = {f"{row['address']:#x}": row for row in rows}

    assert mine.keys() == {record["address"] for record in shown.records}
    for record in shown.records:
        assert differing(record["fields"], mine[record["address"]] | {"address": record["address"]}) == {}


def test_columns_that_are_no_members_are_asked_for(bundle: Bundle) -> None:
    assert find_value("comm") is not None
    assert 'find_value("comm").get(record)' in run(bundle, "list", "-o", "comm", "--drgn").out
    assert len(executed(bundle, "list", "-o", "comm,local", "state", "listening")["rows"]) > 10


def test_names_that_are_none_are_refused(bundle: Bundle) -> None:
    ended = run(bundle, "inspect", "--all", "-f", "snd_wmd", "--drgn")
    assert (ended.status, ended.out) == (2, "")
    assert "snd_wnd" in ended.err


def test_it_runs_where_a_kernel_keeps_things_elsewhere() -> None:
    """IP_FREEBIND is a bit of inet_flags since Linux 6.6, and a bit-field before."""
    made = {}
    for series in ("6.1", "6.12"):
        opened = Bundle(SHELF / series)
        made[series] = run(opened, "options", "tcp::16971", "--name", "IP_FREEBIND", "--drgn").out
        opened.close()

    assert "inet.freebind.value_()" in made["6.1"]
    assert "inet.inet_flags.value_()" in made["6.12"]
