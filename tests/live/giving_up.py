# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in a guest: connections that end soon, when sockcrash says that they will end, and when they do.

Prints JSON: by label what was foretold, how long it took to tell, and after how many ms it came true.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sockcrash.decode import decode
from sockcrash.kernel.view import Kernel, kernel_of
from sockcrash.locate import locate
from sockcrash.locate.spec import parse_spec
from sockcrash.render.json import dumps, record_object
from sockcrash.target import TargetOptions, open_target
from tests.guest import netns, spoof

PEER = "gone"
HERE, THERE = "10.77.9.1", "10.77.9.2"
NOWHERE = "10.98.0.1"
PORT, SMALL, ASKED, NEAR = 7001, 7002, 7003, 7004
TCP = socket.IPPROTO_TCP
OPTIONS = {
    "TCP_SYNCNT": 7, "TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6, "TCP_LINGER2": 8, "TCP_USER_TIMEOUT": 18,
    "TCP_THIN_LINEAR_TIMEOUTS": 16,
}  # fmt: skip
SYSCTLS = {"tcp_retries2": "4", "tcp_orphan_retries": "4", "tcp_fin_timeout": "7"}
PATIENCE = 45.0
Ended = Callable[[], bool]


def prepare() -> None:
    """A veth to a namespace that can vanish, and short limits."""
    netns.add(PEER, {})
    netns.link(netns.INIT, PEER, "vg", 9)
    netns.ip(f"route add {NOWHERE}/32 via {THERE}")
    netns.ip(f"route add blackhole {NOWHERE}/32", PEER)
    for name, value in SYSCTLS.items():
        Path("/proc/sys/net/ipv4", name).write_text(value)


def connected(port: int = PORT, **options: int) -> socket.socket:
    """A client of the server that will vanish."""
    client = socket.create_connection((THERE, port))
    for name, value in options.items():
        client.setsockopt(TCP, OPTIONS[name], value)
    return client


def connecting(**options: int) -> socket.socket:
    """A client of nobody."""
    client = socket.socket()
    for name, value in options.items():
        client.setsockopt(TCP, OPTIONS[name], value)
    client.setblocking(False)
    client.connect_ex((NOWHERE, 80))
    return client


def vanish() -> None:
    """From now on all is lost, both ways."""
    subprocess.run(["tc", "qdisc", "replace", "dev", "vg", "root", "netem", "loss", "100%"], check=True)
    subprocess.run(f"ip netns exec {PEER} tc qdisc replace dev vg root netem loss 100%".split(), check=True)


def fill(client: socket.socket) -> None:
    """Send until the peer's window is closed and the buffer full."""
    client.setblocking(False)
    quiet = 0
    while quiet < 5:
        try:
            client.send(b"z" * 16384)
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.05)


def ends_with_error(client: socket.socket) -> Ended:
    poller = select.poll()
    poller.register(client, select.POLLERR)
    return lambda: bool(poller.poll(0))


def ends_in_tables(port: int) -> Ended:
    """Gone from the kernel's tables but for a listener: nobody holds it, so /proc/net/tcp is asked."""

    def ended() -> bool:
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return not any(line[1].endswith(f":{port:04X}") and line[3] != "0A" for line in lines)

    return ended


def ino(client: socket.socket) -> str:
    return f"ino:{os.fstat(client.fileno()).st_ino}"


def ends_of(client: socket.socket) -> str:
    (here, port), (there, other) = client.getsockname(), client.getpeername()
    return f"tcp:{here}:{port}-{there}:{other}"


def held(client: socket.socket) -> tuple[str, Ended]:
    return ino(client), ends_with_error(client)


def orphan(client: socket.socket) -> tuple[str, Ended]:
    spec, port = ends_of(client), client.getsockname()[1]
    client.close()
    return spec, ends_in_tables(port)


def cases(servers: dict[int, socket.socket]) -> tuple[dict[str, tuple[str, Ended]], list[Any]]:
    """By label a SPEC, and how one sees that it has ended; and what must live on meanwhile."""
    found: dict[str, tuple[str, Ended]] = {}
    kept: list[Any] = []
    clients = {
        "retries2": connected(),
        "user-timeout": connected(TCP_USER_TIMEOUT=7000),
        "thin": connected(TCP_THIN_LINEAR_TIMEOUTS=1),
        "orphan": connected(),
        "keepalive": connected(TCP_KEEPIDLE=4, TCP_KEEPINTVL=1, TCP_KEEPCNT=3),
        "keepalive-user-timeout": connected(TCP_KEEPIDLE=4, TCP_KEEPINTVL=1, TCP_USER_TIMEOUT=6500),
        "window": connected(SMALL),
        "window-user-timeout": connected(SMALL, TCP_USER_TIMEOUT=6000),
        "fin-wait2": connected(),
        "fin-wait2-long": connected(TCP_LINGER2=65),
    }
    for label, client in clients.items():
        kept += [client, servers[SMALL if label.startswith("window") else PORT].accept()[0]]
    for label in ("keepalive", "keepalive-user-timeout"):
        clients[label].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for label in ("window", "window-user-timeout"):
        fill(clients[label])
    for label in ("fin-wait2", "fin-wait2-long"):
        found[label] = orphan(clients[label])
    time.sleep(0.5)
    vanish()
    answered = clients["window-answered"] = socket.create_connection((HERE, NEAR))
    answered.setsockopt(TCP, OPTIONS["TCP_USER_TIMEOUT"], 9000)
    kept += [answered, servers[NEAR].accept()[0]]
    fill(answered)
    for label in ("retries2", "user-timeout", "thin", "orphan"):
        clients[label].sendall(b"d" * 3000)
    found["orphan"] = orphan(clients["orphan"])
    found |= {label: held(client) for label, client in clients.items() if label not in found}
    for label, options in (("syn", {"TCP_SYNCNT": 3}), ("syn-user-timeout", {"TCP_USER_TIMEOUT": 5500})):
        client = connecting(**options)
        kept.append(client)
        found[label] = held(client)
    spoof.syn((NOWHERE, 40001), (HERE, ASKED))
    found["syn-ack"] = (f"tcp:{HERE}:{ASKED}-{NOWHERE}:40001", ends_in_tables(ASKED))
    return found, kept


def look(kernel: Kernel, specs: dict[str, str]) -> dict[str, dict[str, Any]]:
    """By label what sockcrash says of a socket, when it began to look, and for how long it looked."""
    found: dict[str, dict[str, Any]] = {}
    parsed = [parse_spec(spec) for spec in specs.values()]
    for label, located in zip(specs, list(locate(kernel, parsed, lambda _: None)), strict=True):
        for handle in located.handles:
            start = time.monotonic()
            record = record_object(decode(kernel, handle))
            found[label] = {"at": start, "took_ms": (time.monotonic() - start) * 1000, **record}
    return found


def main() -> None:
    prepare()
    servers: dict[int, socket.socket] = {}
    for where, port in ((PEER, PORT), (PEER, SMALL), (netns.INIT, ASKED), (netns.INIT, NEAR)):
        with netns.inside(where):
            servers[port] = server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port in (SMALL, NEAR):
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            if port == ASKED:
                server.setsockopt(TCP, OPTIONS["TCP_SYNCNT"], 3)
            server.bind(("0.0.0.0", port))
            server.listen(16)
    kernel = kernel_of(open_target(TargetOptions()).prog)
    look(kernel, {"": f"tcp:0.0.0.0:{ASKED}"})  # what is bound and compiled once is done before it counts
    found, kept = cases(servers)
    told = look(kernel, {label: spec for label, (spec, _) in found.items()})
    waiting = dict(found)
    until = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < until:
        for label, (_, ended) in list(waiting.items()):
            if ended():
                now = time.monotonic()
                del waiting[label]
                if label in told:
                    told[label]["ended_ms"] = (now - told[label]["at"]) * 1000
        time.sleep(0.02)
    print(dumps({"told": told, "never": sorted(waiting), "missed": sorted(found.keys() - told.keys())}))
    with contextlib.suppress(OSError):
        for one in kept:
            (one[0] if isinstance(one, tuple) else one).close()


if __name__ == "__main__":
    main()
