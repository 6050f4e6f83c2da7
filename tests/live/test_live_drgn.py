# SPDX-License-Identifier: LGPL-2.1-or-later
"""drgn's Program of the running kernel, with the plugin, without debug files: helpers on sockets of our own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from vmlib.guest import PROJECT_IN_GUEST

if TYPE_CHECKING:
    from conftest import Live

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

PROGRAM = """
import contextlib, io, json, os, socket
import drgn
from drgn.commands import run_command

prog = drgn.Program()
prog.set_kernel()
drgn.set_default_prog(prog)
from sockcrash.helpers import *

listener = socket.create_server(("127.0.0.1", 0))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
client = socket.create_connection(listener.getsockname())
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
child, _ = listener.accept()
child.sendall(b"unread")
spec = f"fd:{os.getpid()}/{client.fileno()}"
sk = find_sock(spec)
screen = io.StringIO()
with contextlib.redirect_stdout(screen):
    record = run_command(prog, f"sock {spec} -f snd_cwnd")
print(json.dumps({
    "kind": sk_kind(sk),
    "port": int.from_bytes(inet_sk(sk).inet_sport.value_().to_bytes(2, "little"), "big"),
    "wanted_port": client.getsockname()[1],
    "nodelay": sk_option(sk, "TCP_NODELAY").value,
    "keepalive": sk_option(f"fd:{os.getpid()}/{listener.fileno()}", "SO_KEEPALIVE").value,
    "unread": (tcp_sk(sk).rcv_nxt - tcp_sk(sk).copied_seq).value_(),
    "receive_queue": {queue.name: queue.bytes for queue in sk_queues(sk)}["receive"],
    "owners": [[owner.pid == os.getpid(), owner.fd == client.fileno()] for owner in sk_owners(sk)],
    "found": any(one == sk for one in for_each_sock(kind="tcp", netns=f"pid:{os.getpid()}")),
    "record": record.inode == os.fstat(client.fileno()).st_ino,
    "screen": "snd_cwnd" in screen.getvalue(),
}))
"""


def test_helpers_on_the_running_kernel(live: Live) -> None:
    """What they say of sockets equals what this process did with them."""
    plugin = "DRGN_PLUGINS=sockcrash=sockcrash.plugin"
    done = live.guest.run(["env", plugin, "python3", "-c", PROGRAM], timeout=300, cwd=PROJECT_IN_GUEST)
    assert done.rc == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])

    assert said.pop("port") == said.pop("wanted_port")
    assert said == {
        "kind": "tcp",
        "nodelay": 1,
        "keepalive": 1,
        "unread": 6,
        "receive_queue": 6,
        "owners": [[True, True]],
        "found": True,
        "record": True,
        "screen": True,
    }
