# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first story of docs/stories.md: an option of a running binary, and the same from its machine's last memory."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from conftest import booted, on_6_1
from vmlib.errors import GuestError
from vmlib.guest import PROJECT_IN_GUEST

if TYPE_CHECKING:
    from pathlib import Path

PORT = 6390
SERVER = ("redis-server", "--port", str(PORT), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no")
CLIENT = f"""
import socket, time
for _ in range(200):
    try:
        client = socket.create_connection(("127.0.0.1", {PORT}))
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
client.sendall(b"PING\\r\\n")
print(client.recv(100), flush=True)
time.sleep(10000)
"""
WAIT = 300.0


def rows(text: str) -> dict[str, list[str]]:
    """The matrix: what each option is in the listener, and in the connection of the client."""
    lines = [line.removeprefix("*").split(maxsplit=2) for line in text.splitlines()]
    return {name: values for name, *values in (line for line in lines if len(line) == 3) if name.isupper()}


@pytest.mark.vm
@pytest.mark.timeout(900)
@on_6_1
def test_nodelay_of_a_binary_that_runs_and_of_its_dead_machine(tmp_path: Path) -> None:
    core = tmp_path / "vmcore"
    with booted("6.1", mem=768) as guest:
        guest.run(["ip", "link", "set", "lo", "up"]).check()
        server = guest.spawn(SERVER)
        guest.spawn(["python3", "-c", CLIENT])
        time.sleep(2)
        live = guest.run(
            ["python3", "-m", "sockcrash", "options", f"pid:{server.pid}", "--name", "TCP_NODELAY"],
            timeout=WAIT,
            cwd=PROJECT_IN_GUEST,
        )
        assert live.rc == 0, live.stderr
        assert rows(live.stdout) == {"TCP_NODELAY": ["off", "on"]}
        # The machine dies, and what is left is its memory.
        guest.expect_crash = True
        with pytest.raises(GuestError):
            guest.run(
                ["sh", "-c", "echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger"], timeout=5
            )
        guest.dump(core)
    command = [sys.executable, "-m", "sockcrash", "options", "-c", str(core)]
    dead = subprocess.run(
        [*command, f"pid:{server.pid}", "--name", "TCP_NODELAY"], capture_output=True, text=True
    )
    assert (dead.returncode, dead.stdout, dead.stderr) == (0, live.stdout, "")
    whole = subprocess.run([*command, f"pid:{server.pid}"], capture_output=True, text=True)
    assert whole.returncode == 0
    # `tcp-keepalive 300`, as redis.conf explains it: that many seconds, a third of it between probes.
    options = {name: values[-1].split() for name, values in rows(whole.stdout).items()}
    assert options["SO_KEEPALIVE"][-1] == "on"
    assert options["TCP_KEEPIDLE"][-2:] == ["300", "s"]
    assert options["TCP_KEEPINTVL"][-2:] == ["100", "s"]
    assert options["TCP_KEEPCNT"][-1] == "3"
