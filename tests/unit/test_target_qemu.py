# SPDX-License-Identifier: LGPL-2.1-or-later
"""Addresses of --qemu behind which there is no QEMU that answers: each has its message, and none hangs."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sockcrash.errors import TargetError
from sockcrash.target import qemu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)

GREETING = (
    b'{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}\r\n'
)


@pytest.fixture(autouse=True)
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu, "TIMEOUT_SECONDS", 1)


SERVER = """
import socket, sys
client, _address = socket.socket(fileno=int(sys.argv[1])).accept()
for number, words in enumerate(sys.argv[2:]):
    if number:
        client.recv(1000)
    client.sendall(bytes.fromhex(words))
if len(sys.argv) > 2:
    sys.stdin.read()
"""


@contextmanager
def serving(listener: socket.socket, *words: bytes) -> Iterator[None]:
    """Say ``words`` one by one, each after the client said something; hang up if there are none.

    In a process of its own, since drgn keeps the interpreter's lock while it waits for QEMU.
    """
    command = [sys.executable, "-c", SERVER, str(listener.fileno()), *(part.hex() for part in words)]
    server = subprocess.Popen(command, pass_fds=[listener.fileno()], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        server.communicate(timeout=20)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "qmp"))
        server.listen(1)
        yield server


def refusal(address: str | Path) -> str:
    with pytest.raises(TargetError) as caught:
        qemu.open_guest(str(address), None, None)
    assert str(address) in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}"


def test_nothing_there(tmp_path: Path) -> None:
    assert "no such socket" in refusal(tmp_path / "nothing")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "vmcore").touch()
    assert "this is not a socket" in refusal(tmp_path / "vmcore")
    assert f"-c {tmp_path / 'vmcore'}" in refusal(tmp_path / "vmcore")


def test_a_path_that_no_socket_can_have() -> None:
    assert "--qemu" in refusal("/" + "x" * 300)
    assert "--qemu" in refusal("a\0b")


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "qmp"))
    assert "nobody listens" in refusal(tmp_path / "qmp")


def test_nobody_listens_on_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in refusal(f"127.0.0.1:{port}")
    assert "refused" in refusal(f":{port}")


def test_unknown_host() -> None:
    assert "HOST:PORT" in refusal("no.such.host.invalid:1234")


@pytest.mark.usefixtures("listener")
def test_busy_with_another_client(tmp_path: Path) -> None:
    """The listener's backlog takes the connection, nobody ever speaks: so it is when QEMU has a client."""
    start = time.monotonic()
    assert "serves one client at a time" in refusal(tmp_path / "qmp")
    assert time.monotonic() - start < 5


def test_full_backlog(listener: socket.socket, tmp_path: Path) -> None:
    waiting = []
    for _client in range(3):
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        client.connect_ex(str(tmp_path / "qmp"))
        waiting.append(client)
    assert "serves one client at a time" in refusal(tmp_path / "qmp")
    for client in waiting:
        client.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (b"QEMU 10.0.2 monitor - type 'help' for more information\r\n(qemu) ", "monitor for people"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is not QMP"),
        (b"[1, 2]\r\n", "is not QMP"),
        (b"7\r\n", "is not QMP"),
        (b"[" * 20000 + b"\r\n", "is not QMP"),
        (b'{"QMP": ', "is not QMP"),
    ],
)
def test_other_words(listener: socket.socket, tmp_path: Path, words: bytes, says: str) -> None:
    with serving(listener, words):
        assert says in refusal(tmp_path / "qmp")


def test_hung_up_on(listener: socket.socket, tmp_path: Path) -> None:
    with serving(listener):
        assert "closed at once" in refusal(tmp_path / "qmp")


def test_silence_after_the_greeting(listener: socket.socket, tmp_path: Path) -> None:
    """drgn itself would wait for ever."""
    start = time.monotonic()
    with serving(listener, GREETING):
        assert "within 1 seconds" in refusal(tmp_path / "qmp")
    assert time.monotonic() - start < 5


def test_error_after_the_greeting(listener: socket.socket, tmp_path: Path) -> None:
    with serving(listener, GREETING, b'{"error": {"class": "GenericError", "desc": "not today"}}\r\n'):
        assert "not today" in refusal(tmp_path / "qmp")
