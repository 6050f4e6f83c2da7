# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of every family with a spread of options, opened for the length of a block: something to compare on."""

from __future__ import annotations

import contextlib
import ctypes
import random
import socket
import struct
from typing import TYPE_CHECKING

from sockcrash.kernel import uapi
from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.kernel.options.origins import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("spread",)

V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
STREAM, DGRAM, RAW, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET
_MPTCP, _UDPLITE = uapi.IPPROTO_MPTCP, uapi.IPPROTO_UDPLITE
# label → family, type, protocol; what this kernel or this user can't have is left out
_KINDS = {
    "tcp": (V4, STREAM, 0), "tcp6": (V6, STREAM, 0), "mptcp": (V4, STREAM, _MPTCP), "mptcp6": (V6, STREAM, _MPTCP),
    "udp": (V4, DGRAM, 0), "udp6": (V6, DGRAM, 0), "udplite": (V4, DGRAM, _UDPLITE), "udplite6": (V6, DGRAM, _UDPLITE),
    "icmp": (V4, RAW, 1), "icmp6": (V6, RAW, 58), "raw": (V4, RAW, 255), "igmp": (V4, RAW, 2), "raw6": (V6, RAW, 89),
    "ping": (V4, DGRAM, 1), "ping6": (V6, DGRAM, 58), "unix": (UNIX, STREAM, 0), "unix-dgram": (UNIX, DGRAM, 0),
    "packet": (socket.AF_PACKET, RAW, 0), "netlink": (socket.AF_NETLINK, RAW, 0), "vsock": (uapi.AF_VSOCK, STREAM, 0),
    "xdp": (uapi.AF_XDP, RAW, 0),
}  # fmt: skip
_EACH = 3
# These change what the socket is, hold packets back, or need a counterpart.
_LEFT_ALONE = {
    "TCP_REPAIR", "TCP_REPAIR_QUEUE", "TCP_QUEUE_SEQ", "SO_LOCK_FILTER", "UDP_ENCAP", "UDP_CORK", "PACKET_FANOUT",
    "TCP_FASTOPEN_CONNECT", "TCP_ULP", "PACKET_VERSION", "XDP_UMEM_REG",
}  # fmt: skip
_NUMBERS = (0, 1, 1, 1, 2, 3, 7, 40, 64, 200, 5000, 70000)
_libc = ctypes.CDLL(None)
_TIME = struct.pack("qq", 3, 250000)
_STRUCTS = {
    "SO_LINGER": struct.pack("ii", 1, 9), "SO_RCVTIMEO_OLD": _TIME, "SO_SNDTIMEO_NEW": _TIME,
    "SO_TXTIME": struct.pack("iI", 1, 3), "SO_TIMESTAMPING_OLD": struct.pack("I", 0x10), "SO_BINDTODEVICE": b"lo\0",
    "TCP_CONGESTION": b"reno", "IP_OPTIONS": bytes((1, 1, 1, 0)),
}  # fmt: skip


@contextlib.contextmanager
def spread(seed: int) -> Iterator[dict[str, socket.socket]]:
    """Open sockets by label, each with options chosen by ``seed``; closed when the block ends."""
    dice = random.Random(seed)
    with contextlib.ExitStack() as stack:
        found: dict[str, socket.socket] = {}

        def keep(label: str, sock: socket.socket) -> socket.socket:
            found[label] = stack.enter_context(sock)
            return sock

        for label, (family, variant, protocol) in _KINDS.items():
            for number in range(_EACH):
                with contextlib.suppress(OSError):
                    sock = keep(f"{label}-{number}", socket.socket(family, variant, protocol))
                    if number:
                        _scatter(sock, dice)
        for label, (family, protocol) in {"tcp": (V4, 0), "tcp6": (V6, 0), "mptcp": (V4, _MPTCP)}.items():
            with contextlib.suppress(OSError):
                for role, sock in _connected(family, protocol, dice):
                    keep(f"{label}-{role}", sock)
        with contextlib.suppress(OSError):
            for role, sock in _mapped():
                keep(f"v4-mapped-{role}", sock)
        for variant in (STREAM, DGRAM, SEQPACKET):
            for number, sock in enumerate(socket.socketpair(UNIX, variant)):
                keep(f"unix-pair-{variant}-{number}", sock)
        with contextlib.suppress(OSError):
            keep("udp-connected", socket.socket(V4, DGRAM)).connect(("127.0.0.1", 9))
        yield found


def _scatter(sock: socket.socket, dice: random.Random) -> None:
    """Set each option with an even chance; what the kernel refuses stays as it is."""
    for row in ROWS:
        if row.origin is kernel or row.name in _LEFT_ALONE or dice.random() < 0.5:
            continue
        value = _STRUCTS.get(row.name)
        if value is None:
            if row.codec.json != "integer":
                continue
            value = struct.pack("Q" if row.level == "AF_VSOCK" else "i", dice.choice(_NUMBERS))
        # Not Python's own, which takes nothing but integers for AF_VSOCK.
        _libc.setsockopt(sock.fileno(), LEVELS[row.level], row.number, value, len(value))


def _connected(family: int, protocol: int, dice: random.Random) -> Iterator[tuple[str, socket.socket]]:
    """A listener with options, a client, and the child, which has them from the listener; they have talked."""
    server = socket.socket(family, STREAM, protocol)
    yield "listener", server
    for number in (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPCNT):
        with contextlib.suppress(OSError):
            value = 1 if number == socket.TCP_NODELAY else dice.randrange(2, 90)
            server.setsockopt(socket.IPPROTO_TCP, number, value)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    server.bind(("::1" if family == V6 else "127.0.0.1", 0))
    server.listen(4)
    client = socket.socket(family, STREAM, protocol)
    yield "client", client
    client.settimeout(20)
    client.connect(server.getsockname()[:2])
    server.settimeout(20)
    child, _ = server.accept()
    yield "child", child
    for sock in (server, client, child):
        sock.settimeout(None)
    client.sendall(b"sockcrash")
    child.recv(9)


def _mapped() -> Iterator[tuple[str, socket.socket]]:
    """An IPv6 listener that takes IPv4, and both ends of such a connection."""
    server = socket.socket(V6, STREAM)
    yield "listener", server
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", 0))
    server.listen(1)
    client = socket.socket(V4, STREAM)
    yield "client", client
    client.settimeout(20)
    client.connect(("127.0.0.1", server.getsockname()[1]))
    client.settimeout(None)
    server.settimeout(20)
    yield "child", server.accept()[0]
    server.settimeout(None)
