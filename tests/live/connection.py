# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in the guest: a connection over a slow line that starts, loses everything for a while, and recovers.

And a listener that is closed, whose memory another one gets. Says what it does in lines, goes on when it is told.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

LINE = "delay 100ms rate 20mbit limit 2000"
PORT, OTHER = 7001, 7009
MOST_TRIES = 300
SIOCOUTQ = 0x5411
PATIENCE = 60


def run(text: str) -> None:
    subprocess.run(text.split(), check=True)


def listener(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made


def addresses(port: int) -> set[str]:
    """What /proc/net/tcp prints for the addresses of listeners: hashed, but alike for the same address."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {row[11] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def sink(server: socket.socket) -> None:
    peer, _ = server.accept()
    while peer.recv(1 << 16):
        pass


def drained(client: socket.socket) -> None:
    """Wait until all that was sent is acknowledged, and for who watches to see it."""
    begun = time.monotonic()
    while (
        int.from_bytes(fcntl.ioctl(client, SIOCOUTQ, bytes(4)), "little")
        and time.monotonic() - begun < PATIENCE
    ):
        time.sleep(0.05)
    time.sleep(1.5)


def main() -> None:
    run("modprobe sch_netem")
    run("ip netns add far")
    run("ip link add near type veth peer name there netns far")
    run("ip addr add 10.9.0.1/24 dev near")
    run("ip link set near up")
    run("ip netns exec far ip addr add 10.9.0.2/24 dev there")
    run("ip netns exec far ip link set there up")
    run("ip netns exec far ip link set lo up")
    run(f"tc qdisc add dev near root netem {LINE}")
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    with Path("/run/netns/far").open() as far:
        os_setns(far.fileno())
        server = socket.create_server(("10.9.0.2", PORT))
        os_setns(before)
    threading.Thread(target=sink, args=(server,), daemon=True).start()
    client = socket.create_connection(("10.9.0.2", PORT))
    other = listener(OTHER)
    say(tcp=inode(client), listener=inode(other))
    input()
    client.sendall(bytes(600_000))
    drained(client)
    say(phase="started")
    run(f"tc qdisc change dev near root netem {LINE} loss 100%")
    client.sendall(bytes(30_000))
    time.sleep(2.5)
    say(phase="lost")
    run(f"tc qdisc change dev near root netem {LINE} loss 0%")
    client.sendall(bytes(30_000))
    drained(client)
    say(phase="recovered")
    (address,) = addresses(OTHER)
    os.sched_setaffinity(0, {0})
    other.close()
    kept = []
    while address not in addresses(OTHER) and len(kept) < MOST_TRIES:
        kept.append(listener(OTHER))
    say(used_again=address in addresses(OTHER))
    client.close()
    input()


def os_setns(fd: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    main()
