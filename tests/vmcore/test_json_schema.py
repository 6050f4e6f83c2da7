# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every document that commands print of a real kernel fits the JSON Schema that is shipped."""

from __future__ import annotations

import importlib.resources
import json
from typing import TYPE_CHECKING

import jsonschema
import pytest

if TYPE_CHECKING:
    from harness import Dump

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

SCHEMA = json.loads((importlib.resources.files("sockcrash") / "schema.json").read_text())


def faults(document: object, definition: str) -> list[str]:
    """Where a document breaks one of the schema's definitions."""
    schema = {"$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{definition}"}
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


def test_every_socket(dump: Dump) -> None:
    records = dump.inspect("--all", "--format", "jsonl").records

    assert {fault for record in records for fault in faults(record, "socket")} == set()
    assert {record["kind"] for record in records} >= {
        "tcp",
        "tcp-timewait",
        "tcp-request",
        "udp",
        "unix",
        "netlink",
    }


@pytest.mark.parametrize(
    ("command", "arguments", "definition"),
    [
        ("inspect", ("--all", "-f", "snd_cwnd,rx_opt,sk_rcvbuf,rtt_us"), "sockets_document"),
        ("layout", (), "layout_document"),
        ("summary", (), "summary_document"),
    ],
)
def test_documents(dump: Dump, command: str, arguments: tuple[str, ...], definition: str) -> None:
    document = json.loads(dump.run(command, *arguments, "--json").out)

    assert faults(document, definition) == []


def test_a_whole_struct(dump: Dump) -> None:
    socket = next(
        record for record in dump.inspect("--all", "--format", "jsonl").records if record["kind"] == "tcp"
    )

    document = json.loads(dump.run("struct", "tcp_sock", socket["address"], "--json").out)

    assert faults(document, "struct_document") == []
    assert document["struct"]["members"]["snd_cwnd"] == socket["tcp"]["snd_cwnd"]
