# SPDX-License-Identifier: LGPL-2.1-or-later
"""The JSON Schema that is shipped: every record fits it, and what breaks the contract does not."""

from __future__ import annotations

import copy
import importlib.resources
import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from records import (
    NOT_IN_KERNEL,
    SOCK_NAMES,
    TCP_NAMES,
    UNREADABLE,
    names_of,
    request_record,
    tcp_record,
    tcp_section,
    timewait_record,
)
from sockcrash.kernel.fields_tcp import REQUEST, TIMEWAIT
from sockcrash.kernel.options import LEVELS
from sockcrash.kernel.registry import LayoutRow
from sockcrash.kernel.sockets import KINDS
from sockcrash.model import EMPTY, SECTIONS, Absent, Account, Disagreement, OptionValue, Reason, Tally
from sockcrash.render.json import dumps, fields_object, layout_object, members_object, record_object
from sockcrash.render.stream import objects
from sockcrash.render.verify import account_object

SCHEMA = json.loads((importlib.resources.files("sockcrash") / "schema.json").read_text())
TARGET = {
    "source": "vmcore",
    "release": "6.1.0-56-cloud-amd64",
    "types": "dwarf",
    "symbols": "elf",
    "taken": None,
    "tool": "sockcrash 0.1.0",
}
SECRET = Absent(Reason.SECRET, "2 keys")
OPTIONS = (
    OptionValue(
        "SOL_SOCKET", "SO_RCVBUF", 8, 131072, "131072 bytes", "default", b"\0\0\2\0", "sock.sk_rcvbuf", 131072
    ),
    OptionValue(
        "SOL_SOCKET",
        "SO_LINGER",
        13,
        {"onoff": 1, "linger": 3},
        "3 s",
        "set",
        bytes(8),
        None,
        inherited_from=9,
    ),
    OptionValue(
        "IPPROTO_TCP",
        "TCP_RTO_MIN_US",
        45,
        200000,
        "200 ms",
        None,
        NOT_IN_KERNEL,
        "tcp_sock.rto_min",
        1,
        "x.y",
    ),
    OptionValue("IPPROTO_TCP", "TCP_FASTOPEN_KEY", 33, SECRET, "", None, SECRET, None, UNREADABLE),
)
RECORDS = {
    "tcp": tcp_record(),
    "unreadable": tcp_record(
        **dict.fromkeys(("family", "state", "local", "inode", "cookie", "owners", "cgroup"), UNREADABLE),
        tcp=tcp_section(
            snd_nxt=UNREADABLE, negotiated=UNREADABLE, chrono_stat=UNREADABLE, congestion=UNREADABLE
        ),
    ),
    "other": tcp_record(kind="other", local=NOT_IN_KERNEL, peer=NOT_IN_KERNEL, tcp=EMPTY, timers=None),
    "timewait": timewait_record(),
    "request": request_record(),
    "options": tcp_record(options=OPTIONS),
    "no options": tcp_record(options=UNREADABLE),
}


def validator(definition: str | None = None) -> jsonschema.Draft202012Validator:
    """A validator of the whole schema, or of one of its definitions."""
    schema = SCHEMA if definition is None else {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{definition}"}
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", RECORDS)
def test_records_fit(name: str) -> None:
    written = json.loads(dumps(record_object(RECORDS[name])))

    validator("socket").validate(written)
    validator().validate(written)


def nulls(value: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of every null; a timer is named, an owner is not looked into.

    Of an option that has no value only that is told, and what is null because it does not apply is not.
    """
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, one in value.items():
            if path == "" and key == "options" and one is not None:
                yield from option_nulls(one)
            elif (path, key) not in {("", "absent"), ("", "owners")} or one is None:
                yield from nulls(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for one in value:
            yield from nulls(one, f"{path}.{one['name']}" if isinstance(one, dict) else path)


def option_nulls(options: list[dict[str, Any]]) -> Iterator[str]:
    for one in options:
        path = f"options.{one['level']}.{one['name']}"
        if one["value"] is None:
            yield path
        elif one["raw"] is None:
            yield f"{path}.raw"


@pytest.mark.parametrize("name", RECORDS)
def test_absent_names_every_null_and_nothing_else(name: str) -> None:
    written = record_object(RECORDS[name])

    assert sorted(nulls(written)) == sorted(written["absent"])


ACCOUNT = Account(
    3,
    (Tally("IPPROTO_TCP", 10, 8, 1, {("TCP_TIMESTAMP", "not_applicable: it depends"): 2}),),
    (Disagreement("est-v4", "IPPROTO_TCP", "TCP_NODELAY", 1, "01000000", "ENOPROTOOPT"),),
    {("SOL_SOCKET", 120): ("est-v4",)},
    ("gone",),
)


def test_documents_fit() -> None:
    written = [record_object(record) for record in RECORDS.values()]
    chosen = fields_object(
        tcp_record(), {"snd_nxt": 1, "raw": b"\x01", "list": (1, 2), "gone": NOT_IN_KERNEL}
    )
    row = LayoutRow("tcp", "snd_nxt", "struct tcp_sock", "snd_nxt", "+1234 u32", 1234, None)
    gone = LayoutRow("tcp", "new", "struct tcp_sock", None, "", None, "not_in_kernel")
    members = members_object({"rcv_nxt": 1, "name": "x", "far": Absent(Reason.UNREADABLE, "0x10")})
    documents: list[dict[str, Any]] = [
        json.loads("".join(objects(written, TARGET, "json"))),
        json.loads("".join(objects([chosen], TARGET, "json"))),
        json.loads("".join(objects([], TARGET, "json"))),
        json.loads("".join(objects([chosen], TARGET, "jsonl"))),
        {
            "schema": 1,
            "target": TARGET,
            "struct": {"type": "struct tcp_sock", "address": "0xffff888012345678", **members},
        },
        {"schema": 1, "target": TARGET, "layout": [layout_object(row), layout_object(gone)]},
        {"schema": 1, "target": TARGET, "verify": account_object(ACCOUNT)},
    ]

    for document in documents:
        validator().validate(document)
    assert len(documents[0]["sockets"]) == len(RECORDS)


Spoil = Callable[[dict[str, Any]], object]
SPOILED: dict[str, Spoil] = {
    "an address as a number": lambda r: r.update(address=5),
    "a cookie as a number": lambda r: r.update(cookie=4097),
    "a counter as text": lambda r: r["tcp"].update(snd_nxt="1"),
    "a key nobody knows": lambda r: r["tcp"].update(snd_next=1),
    "a kind nobody knows": lambda r: r.update(kind="sctp"),
    "no schema number": lambda r: r.pop("schema"),
    "another schema number": lambda r: r.update(schema=2),
    "no absent": lambda r: r.pop("absent"),
    "a reason nobody knows": lambda r: r["absent"].update(inode="lost"),
    "an owner without its pid": lambda r: r["owners"][0].pop("pid"),
    "a timer nobody knows": lambda r: r["timers"][0].update(name="rto"),
    "an option of no level": lambda r: r["options"][0].update(level="SOL_SCTP"),
    "an option without its origin": lambda r: r["options"][0].pop("origin"),
    "an origin nobody knows": lambda r: r["options"][0].update(origin="inherited"),
    "bytes that are none": lambda r: r["options"][0].update(raw="0"),
    "a port out of range": lambda r: r["local"].update(port=65536),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_breaks_the_contract_is_refused(what: str) -> None:
    written = copy.deepcopy(json.loads(dumps(record_object(tcp_record(options=OPTIONS)))))
    SPOILED[what](written)

    assert not validator("socket").is_valid(written)


@pytest.mark.parametrize(
    ("definition", "names"),
    [
        ("sock", SOCK_NAMES),
        ("tcp", TCP_NAMES),
        ("timewait", names_of(TIMEWAIT)),
        ("request", names_of(REQUEST)),
    ],
)
def test_every_row_stands_in_the_schema_and_nothing_else(definition: str, names: tuple[str, ...]) -> None:
    assert sorted(SCHEMA["$defs"][definition]["properties"]) == sorted(names)


def test_every_section_of_a_record_stands_in_the_schema() -> None:
    assert {*SECTIONS, "cc", "timers"} <= set(SCHEMA["$defs"]["socket"]["properties"])


def test_every_level_stands_in_the_schema() -> None:
    assert SCHEMA["$defs"]["level"]["enum"] == list(LEVELS)


def test_every_kind_stands_in_the_schema() -> None:
    assert sorted(SCHEMA["$defs"]["kind"]["enum"]) == sorted(KINDS)


def test_every_reason_stands_in_the_schema() -> None:
    pattern = SCHEMA["$defs"]["absent"]["additionalProperties"]["pattern"]

    assert pattern == f"^({'|'.join(reason.value for reason in Reason)})(: .+)?$"
