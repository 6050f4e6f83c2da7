# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in a guest: connections whose queues are full, some of them with holes; what sockcrash and the kernel say.

The lossy one loses segments, then all ways to it are cut, and its RTO is long: it stands still while both look.
Prints JSON: by label our record, SIOCINQ, SIOCOUTQ and SIOCOUTQNSD, and the lines of ss before and after.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sockcrash.decode import decode
from sockcrash.decode.want import EVERYTHING
from sockcrash.kernel.view import Kernel, kernel_of
from sockcrash.locate import locate
from sockcrash.locate.spec import parse_spec
from sockcrash.render.json import dumps, record_object
from sockcrash.render.text import record_text
from sockcrash.target import TargetOptions, open_target
from tests.guest import netns

PEER, HERE, THERE, PORT, UDP_PORT = "lossy", "10.77.8.1", "10.77.8.2", 7101, 7102
SIOCINQ, SIOCOUTQ, SIOCOUTQNSD = 0x541B, 0x5411, 0x894B
WANT = replace(EVERYTHING, segments=True, payload=16)


def shell(words: str) -> None:
    subprocess.run(words.split(), check=True)


def netem(netns_name: str, words: str) -> None:
    where = "" if netns_name == netns.INIT else f"ip netns exec {netns_name} "
    shell(f"{where}tc qdisc replace dev vl root netem {words} limit 10000")


def prepare() -> None:
    netns.add(PEER, {})
    netns.link(netns.INIT, PEER, "vl", 8)
    netns.ip(f"route replace 10.77.8.0/24 dev vl src {HERE} rto_min 20s")
    # Segments as they are on the wire: each can be lost alone.
    shell("ip link set dev vl gso_max_segs 1")


def pair(server: socket.socket, address: tuple[str, int]) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(address)
    return client, server.accept()[0]


def lossy(server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A sender with SACKed and lost segments that hears nothing any more, and its receiver.

    It is a matter of chance, so it is tried some times.
    """
    for _ in range(6):
        for where in (netns.INIT, PEER):
            netem(where, "delay 0ms")
        client, child = pair(server, (THERE, PORT))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for _ in range(4):  # opens the congestion window
            client.sendall(b"w" * 20000)
            left = 20000
            while left:
                left -= len(child.recv(left))
        netem(PEER, "delay 40ms")
        netem(netns.INIT, "delay 40ms loss 30%")
        client.setblocking(False)
        client.send(b"l" * 120_000)
        time.sleep(0.35)
        for where in (netns.INIT, PEER):
            netem(where, "loss 100%")
        time.sleep(1.5)
        sacked, lost = struct.unpack_from(
            "II", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28
        )
        if sacked and lost:
            break
    return client, child


def asked(sock: socket.socket, request: int) -> int:
    answer = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), request, answer)
    return answer[0]


def ss() -> list[str]:
    lines: list[str] = []
    for where in ("", f"ip netns exec {PEER} "):
        done = subprocess.run(f"{where}ss -tanieOmH".split(), capture_output=True, text=True, check=True)
        lines += done.stdout.splitlines()
    return lines


def look(kernel: Kernel, sockets: dict[str, socket.socket]) -> dict[str, dict[str, Any]]:
    specs = [parse_spec(f"ino:{os.fstat(one.fileno()).st_ino}") for one in sockets.values()]
    found: dict[str, dict[str, Any]] = {}
    for label, located in zip(sockets, list(locate(kernel, specs, lambda _: None)), strict=True):
        (handle,) = located.handles
        record = decode(kernel, handle, want=WANT)
        found[label] = {**record_object(record), "text": record_text(record)}
    return found


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """A message with two descriptors on its way, and one without."""
    one, other = socket.socketpair()
    socket.send_fds(one, [b"fds!"], [one.fileno(), other.fileno()])
    one.sendall(b"plain data")
    return one, other


def udp_pair() -> tuple[socket.socket, socket.socket]:
    """Three datagrams of which the first was read: the others lie in the reader's queue."""
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", UDP_PORT))
    client = socket.socket(type=socket.SOCK_DGRAM)
    for size in (10, 200, 3000):
        client.sendto(b"u" * size, ("127.0.0.1", UDP_PORT))
    server.recv(5000)
    return client, server


def refused() -> socket.socket:
    """An error in the error queue: ICMP port unreachable, with IP_RECVERR."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVERR if hasattr(socket, "IP_RECVERR") else 11, 1)
    sock.sendto(b"?", ("127.0.0.1", 7199))
    time.sleep(0.2)
    return sock


def main() -> None:
    prepare()
    with netns.inside(PEER):
        far = socket.create_server(("0.0.0.0", PORT))
    near = socket.create_server(("127.0.0.1", PORT))
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    kernel = kernel_of(open_target(TargetOptions()).prog)
    look(kernel, {"near": near})
    sockets: dict[str, socket.socket] = {}
    for label, (client, child) in {
        "unread": pair(near, ("127.0.0.1", PORT)),
        "partly-read": pair(near, ("127.0.0.1", PORT)),
        "full": pair(near, ("127.0.0.1", PORT)),
        "idle": pair(near, ("127.0.0.1", PORT)),
    }.items():
        sockets |= {label: client, f"{label}-child": child}
    sockets["unread"].sendall(b"first;" + b"a" * 994)
    sockets["partly-read"].sendall(bytes(range(256)) * 4)
    sockets["partly-read-child"].recv(100)
    sockets["full"].setblocking(False)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            sockets["full"].send(b"f" * 16384)
        except BlockingIOError:
            time.sleep(0.1)
    sockets["lossy"], sockets["lossy-child"] = lossy(far)
    sockets["waiting"] = socket.create_connection(("127.0.0.1", PORT))
    sockets["waiting"].sendall(b"x" * 77)
    sockets["listener"] = near
    sockets["unix"], sockets["unix-child"] = unix_pair()
    sockets["udp"], sockets["udp-child"] = udp_pair()
    sockets["refused"] = refused()
    before = ss()
    found = look(kernel, sockets)
    after = ss()
    for label, one in sockets.items():
        for name, request in (("inq", SIOCINQ), ("outq", SIOCOUTQ), ("outqnsd", SIOCOUTQNSD)):
            try:
                found[label][name] = asked(one, request)
            except OSError:
                found[label][name] = None
    print(dumps({"found": found, "before": before, "after": after}))


if __name__ == "__main__":
    main()
