# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of the other families, where the kernel has them."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .names import AF_VSOCK, SOL_PACKET
from .netns import INIT, inside

if TYPE_CHECKING:
    from .registry import Registry

V4, V6 = socket.AF_INET, socket.AF_INET6
VMADDR_CID_ANY, VMADDR_CID_LOCAL = 0xFFFFFFFF, 1
PLAIN = {  # label → family, type, protocol
    "udp-fresh": (V4, socket.SOCK_DGRAM, 0),
    "udp6-fresh": (V6, socket.SOCK_DGRAM, 0),
    "udplite-fresh": (V4, socket.SOCK_DGRAM, 136),
    "raw-icmp": (V4, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "raw-icmp6": (V6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
    "ping": (V4, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "packet": (socket.AF_PACKET, socket.SOCK_RAW, 0),
    "packet-dgram": (socket.AF_PACKET, socket.SOCK_DGRAM, 0),
    "netlink-route": (socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "netlink-uevent": (socket.AF_NETLINK, socket.SOCK_DGRAM, 15),
    "unix-fresh": (socket.AF_UNIX, socket.SOCK_STREAM, 0),
    "vsock-fresh": (AF_VSOCK, socket.SOCK_STREAM, 0),
    "xdp-fresh": (44, socket.SOCK_RAW, 0),
}


def open_all(reg: Registry) -> None:
    """One or more of each family."""
    Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
    for label, (family, kind, protocol) in PLAIN.items():
        try:
            reg.keep(label, socket.socket(family, kind, protocol))
        except OSError as error:
            reg.refuse(label, error)
    for step in (_udp, _unix, _packet, _vsock):
        try:
            step(reg)
        except OSError as error:
            reg.refuse(step.__name__, error)


def _udp(reg: Registry) -> None:
    server = reg.keep("udp-bound", socket.socket(V4, socket.SOCK_DGRAM))
    reg.options("udp-bound", SO_RCVBUF=100000, SO_BROADCAST=1, IP_PKTINFO=1, IP_TOS=8)
    server.bind(("127.0.0.1", 5353))
    client = reg.keep("udp-connected", socket.socket(V4, socket.SOCK_DGRAM))
    client.connect(("127.0.0.1", 5353))
    client.send(b"unread datagram")
    reg.keep("udp-corked", socket.socket(V4, socket.SOCK_DGRAM)).connect(("127.0.0.1", 5353))
    reg.apply("udp-corked", "UDP_CORK", socket.IPPROTO_UDP, 1, 1)
    reg.held["udp-corked"].socket.send(b"pending")
    member = reg.keep("udp-member", socket.socket(V4, socket.SOCK_DGRAM))
    member.bind(("0.0.0.0", 5356))
    group, here, source = (socket.inet_aton(one) for one in ("239.9.8.7", "127.0.0.1", "10.1.2.3"))
    reg.apply("udp-member", "IP_ADD_SOURCE_MEMBERSHIP", 0, 39, group + here + source)
    for label in ("udp-reuseport-a", "udp-reuseport-b"):
        reg.keep(label, socket.socket(V4, socket.SOCK_DGRAM))
        reg.set(label, "SO_REUSEPORT", 1)
        reg.held[label].socket.bind(("127.0.0.1", 5357))
    reg.keep("udp6-bound", socket.socket(V6, socket.SOCK_DGRAM)).bind(("::1", 5354))
    with inside("tuned"):
        reg.keep("tuned-udp", socket.socket(V4, socket.SOCK_DGRAM), "tuned").bind(("127.0.0.1", 5355))


def _packet(reg: Registry) -> None:
    """Two sockets of a fanout group on the loopback device, one of them with a ring and a membership."""
    for label in ("packet-fanout-a", "packet-fanout-b"):
        sock = reg.keep(label, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)))
        if label.endswith("a"):
            reg.apply(label, "PACKET_VERSION", SOL_PACKET, 10, 1)
            reg.apply(label, "PACKET_RX_RING", SOL_PACKET, 5, struct.pack("4I", 4096, 1, 2048, 2))
            reg.apply(label, "PACKET_ADD_MEMBERSHIP", SOL_PACKET, 1, struct.pack("iHH8x", 1, 1, 0))
        sock.bind(("lo", 0x88B5))
        reg.apply(label, "PACKET_FANOUT", SOL_PACKET, 18, 77 | 1 << 16)


def _vsock(reg: Registry) -> None:
    """A listener, a client and a child over the loopback transport."""
    subprocess.run(["modprobe", "-q", "vsock_loopback"])
    server = reg.keep("vsock-listen", socket.socket(AF_VSOCK, socket.SOCK_STREAM))
    server.bind((VMADDR_CID_ANY, 5000))
    server.listen(2)
    client = reg.keep("vsock-client", socket.socket(AF_VSOCK, socket.SOCK_STREAM))
    client.settimeout(20)
    client.connect((VMADDR_CID_LOCAL, 5000))
    client.settimeout(None)
    reg.keep("vsock-child", server.accept()[0])


def _unix(reg: Registry) -> None:
    path = Path("/run/sockcrash-test.sock")
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    server = reg.keep("unix-listen", socket.socket(socket.AF_UNIX))
    server.bind(str(path))
    server.listen(5)
    reg.keep("unix-client", socket.socket(socket.AF_UNIX)).connect(str(path))
    reg.keep("unix-child", server.accept()[0])
    reg.keep("unix-abstract", socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)).bind("\0sockcrash-test")
    for kind, name in (
        (socket.SOCK_STREAM, "stream"),
        (socket.SOCK_DGRAM, "dgram"),
        (socket.SOCK_SEQPACKET, "seq"),
    ):
        one, two = socket.socketpair(socket.AF_UNIX, kind)
        reg.keep(f"unix-pair-{name}-a", one, INIT)
        reg.keep(f"unix-pair-{name}-b", two, INIT)
    reg.set("unix-pair-dgram-a", "SO_PASSCRED", 1)
    reg.held["unix-pair-dgram-a"].socket.send(b"unread")
