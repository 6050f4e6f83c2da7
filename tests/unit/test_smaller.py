# SPDX-License-Identifier: LGPL-2.1-or-later
"""``list`` without the kernel's memory: against the sockets that this test itself holds on this machine."""

from __future__ import annotations

import importlib.resources
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import jsonschema
import pytest
from click.testing import CliRunner

from sockcrash.cli.list import command
from sockcrash.errors import TargetError
from this_kernel import needs_sock_diag

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json.loads((importlib.resources.files("sockcrash") / "schema.json").read_text())
REFUSAL = TargetError("only root may read the running kernel's memory", hint="run it with sudo")


pytestmark = needs_sock_diag


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=7) as sock:
        yield sock


def run(*args: str) -> tuple[int, str]:
    """The status, and what is printed; errors are raised."""
    with mock.patch("sockcrash.cli.session.Session", side_effect=REFUSAL):
        done = CliRunner().invoke(command, args, standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.return_value, done.stdout


def rows(*args: str) -> list[dict[str, Any]]:
    status, out = run(*args, "--format", "jsonl")
    assert status == 4, "it is not all that there is to know"
    return [json.loads(line) for line in out.splitlines()]


def test_a_listener_and_who_holds_it(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    (row,) = rows("state", "listening", f"sport = :{port}")
    jsonschema.validate(row, SCHEMA)
    fields = row["fields"]
    assert row["address"] is None
    assert (row["kind"], fields["state"], fields["recv_q"], fields["send_q"]) == ("tcp", "LISTEN", 0, 7)
    assert fields["local"] == {"address": "127.0.0.1", "port": port}
    assert fields["inode"] == os.fstat(listener.fileno()).st_ino
    assert fields["uid"] == os.getuid()
    assert fields["netns"] == Path("/proc/self/ns/net").stat().st_ino
    assert {"kind": "fd", "pid": os.getpid(), "fd": listener.fileno()}.items() <= fields["owners"][0].items()


def test_what_is_not_told_is_absent(listener: socket.socket) -> None:
    (row,) = rows(f"sport = :{listener.getsockname()[1]}", "-o", "mark,protocol")
    assert row["fields"] == {"mark": None, "protocol": None}
    assert row["absent"]["fields.mark"].startswith("unreadable: ")


@pytest.mark.parametrize(
    "args", [["snd_cwnd = 1"], ["-o", "snd_cwnd"], ["-o", "tcp_nodelay"], ["tcp_nodelay = 1"], ["--drgn"]]
)
def test_what_only_memory_knows_is_refused_with_the_reason(args: list[str]) -> None:
    with pytest.raises(TargetError, match="only root may read") as raised:
        run(*args)
    assert "run it with sudo" in (raised.value.hint or "")


def test_a_dump_that_does_not_open_is_no_reason_to_list_this_machine() -> None:
    with pytest.raises(TargetError, match="only root may read"):
        run("-c", "/nonexistent")


def test_text_and_counts(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    status, out = run(f"sport = :{port}")
    assert status == 4
    assert out.splitlines()[1].split()[:5] == ["tcp", "LISTEN", "0", "7", f"127.0.0.1:{port}"]
    assert run(f"sport = :{port}", "--count-by", "kind,state")[1].split()[-3:] == ["1", "tcp", "LISTEN"]
