# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of the other families, where the kernel has them."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from .netns import INIT, inside

if TYPE_CHECKING:
    from .registry import Registry

V4, V6 = socket.AF_INET, socket.AF_INET6
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
    "vsock-fresh": (40, socket.SOCK_STREAM, 0),
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
    _udp(reg)
    _unix(reg)


def _udp(reg: Registry) -> None:
    server = reg.keep("udp-bound", socket.socket(V4, socket.SOCK_DGRAM))
    reg.options("udp-bound", SO_RCVBUF=100000, SO_BROADCAST=1, IP_PKTINFO=1, IP_TOS=8)
    server.bind(("127.0.0.1", 5353))
    client = reg.keep("udp-connected", socket.socket(V4, socket.SOCK_DGRAM))
    client.connect(("127.0.0.1", 5353))
    client.send(b"unread datagram")
    reg.keep("udp6-bound", socket.socket(V6, socket.SOCK_DGRAM)).bind(("::1", 5354))
    with inside("tuned"):
        reg.keep("tuned-udp", socket.socket(V4, socket.SOCK_DGRAM), "tuned").bind(("127.0.0.1", 5355))


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
