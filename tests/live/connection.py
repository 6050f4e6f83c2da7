# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in the guest: a connection over a slow line that starts, loses everything for a while, and recovers.

And a listener that is closed, whose memory another one gets. Each line of its input is a step; it says when the step
is done, and what TCP_INFO says of the sender by then. Nothing changes until the next one, so that who watches may be
slow: the line takes 300 ms, no time-out is shorter than 3 s, Reno's window doubles whatever the line's delay seems to
be, and a pause does not shrink it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

LINE = "delay 300ms limit 5000"
ROUTE = "ip route change 10.9.0.0/24 dev near proto kernel scope link src 10.9.0.1 rto_min 3s"
NO_RESTART = Path("/proc/sys/net/ipv4/tcp_slow_start_after_idle")
PORT, OTHER = 7001, 7009
MOST_TRIES = 300
SIOCOUTQ = 0x5411
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
ROOM = 4 << 20
PATIENCE = 300  # the longer the line was dead, the longer until the next retransmission
LOST = 20  # segments


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


def info(client: socket.socket) -> dict[str, int]:
    """Of struct tcp_info, by the names of struct tcp_sock."""
    content = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    names = ("mss", "snd_cwnd", "total_retrans", "bytes_acked")
    return dict(zip(names, struct.unpack_from("=16xI60xI16xI16xQ", content), strict=True))


def sink(server: socket.socket) -> None:
    peer, _ = server.accept()
    while peer.recv(1 << 16):
        pass


def send(client: socket.socket, segments: int) -> None:
    client.sendall(bytes(segments * info(client)["mss"]))


def drained(client: socket.socket) -> None:
    """Wait until all that was sent is acknowledged."""
    begun = time.monotonic()
    while int.from_bytes(fcntl.ioctl(client, SIOCOUTQ, bytes(4)), "little"):
        if time.monotonic() - begun > PATIENCE:
            raise TimeoutError("the line is dead")
        time.sleep(0.05)


def connected() -> socket.socket:
    """A connection over the slow line; who listens is in another namespace, and takes all at once."""
    run("modprobe sch_netem")
    run("ip netns add far")
    run("ip link add near type veth peer name there netns far")
    run("ip addr add 10.9.0.1/24 dev near")
    run("ip link set near up")
    run("ip netns exec far ip addr add 10.9.0.2/24 dev there")
    run("ip netns exec far ip link set there up")
    run("ip netns exec far ip link set lo up")
    run(f"tc qdisc add dev near root netem {LINE}")
    run(ROUTE)
    NO_RESTART.write_text("0")
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    with Path("/run/netns/far").open() as far:
        setns(far.fileno())
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        server.bind(("10.9.0.2", PORT))
        server.listen()
        setns(before)
    threading.Thread(target=sink, args=(server,), daemon=True).start()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, ROOM)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    client.connect(("10.9.0.2", PORT))
    return client


def setns(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


def used_again(other: socket.socket) -> bool:
    """Close a listener, and open others until one gets its memory: the kernel alone decides whether one does."""
    (address,) = addresses(OTHER)
    os.sched_setaffinity(0, {0})
    other.close()
    kept = []
    while address not in addresses(OTHER) and len(kept) < MOST_TRIES:
        kept.append(listener(OTHER))
    return address in addresses(OTHER)


def main() -> None:
    client, other = connected(), listener(OTHER)
    say(tcp=inode(client), listener=inode(other), **info(client))
    while (step := input()) != "close":
        if step == "window":
            send(client, info(client)["snd_cwnd"])
            drained(client)
        elif step == "lose":
            run(f"tc qdisc change dev near root netem {LINE} loss 100%")
            send(client, LOST)
        elif step == "recover":
            run(f"tc qdisc change dev near root netem {LINE} loss 0%")
            send(client, LOST)
            drained(client)
        say(**info(client))
    say(used_again=used_again(other))
    client.close()
    input()


if __name__ == "__main__":
    main()
