# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of every family that the kernel has, with known ends, in two namespaces and one with tables of its own."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .netns import INIT, add, inside, ip, link
from .tcp import listener, make, pair, talk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .registry import Registry

V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
NETLINK, PACKET, VSOCK, XDP = socket.AF_NETLINK, socket.AF_PACKET, 40, 44
STREAM, DGRAM, RAW, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET
UDPLITE, MPTCP = 136, 262
SOL_PACKET, SOL_NETLINK, SOL_XDP = 263, 270, 283
FOLDER = Path("/run/families")
OWN = "own"
FREED = 8  # of so many, one stays
KEPT: list[mmap.mmap] = []
_libc = ctypes.CDLL(None, use_errno=True)

# Names that a careless tool loses, cuts or lets loose on a terminal. Abstract ones begin with a NUL.
NAMES = {
    "odd-bytes": b"\0\xff\xfe\x1b[31m\n\\x41 end",
    "inner-nul": b"\0a\0b\0",
    "utf8": "\0é ☃".encode(),
    "like-abstract": b"@file",
    "like-escape": rb"\x40file",
    "odd-file": b"odd\xff\x07\nfile",
    "full-length": b"L" * 108,
}


@contextlib.contextmanager
def _may_lack(reg: Registry, label: str) -> Iterator[None]:
    """Note what this kernel refuses, and go on."""
    try:
        yield
    except OSError as error:
        reg.refuse(label, error)


def _keep(
    reg: Registry, label: str, family: int, kind: int, protocol: int = 0, netns: str = INIT
) -> socket.socket:
    with inside(netns):
        sock = socket.socket(family, kind, protocol)
    return reg.keep(label, sock, netns)


def _set(reg: Registry, sock: socket.socket, level: int, number: int, value: int | bytes) -> None:
    """Set an option of a held socket and remember it. Raises OSError."""
    label = next(label for label, held in reg.held.items() if held.socket is sock)
    reg.apply(label, f"{level}/{number}", level, number, value)
    error = reg.held[label].set[-1]["errno"]
    if error:
        raise OSError(error, os.strerror(error))


def _bind(sock: socket.socket, name: bytes) -> None:
    """bind(2) with an address that the socket module can't write."""
    if _libc.bind(sock.fileno(), name, len(name)):
        raise OSError(ctypes.get_errno(), f"bind {name!r}")


def prepare() -> None:
    """The namespace whose UDP and TCP tables are its own, where the kernel can do that (6.1 TCP, 6.2 UDP)."""
    knobs = [Path("/proc/sys/net/ipv4", f"{name}_entries") for name in ("udp_child_hash", "tcp_child_ehash")]
    there = [knob for knob in knobs if knob.exists()]
    for knob in there:
        knob.write_text("256")
    add(OWN, {})
    for knob in there:
        knob.write_text("0")


def _udp(reg: Registry) -> None:
    for netns in (INIT, "tuned", OWN):
        _keep(reg, f"fam-udp-{netns}", V4, DGRAM, netns=netns).bind(("127.0.0.1", 5400))
        client = _keep(reg, f"fam-udp-{netns}-client", V4, DGRAM, netns=netns)
        client.bind(("127.0.0.1", 5401))
        client.connect(("127.0.0.1", 5400))
    _keep(reg, "fam-udp6-any", V6, DGRAM).bind(("::", 5402))
    mapped = _keep(reg, "fam-udp6-mapped", V6, DGRAM)
    mapped.connect(("::ffff:127.0.0.1", 5402))
    six = _keep(reg, "fam-udp6-connected", V6, DGRAM)
    six.connect(("::1", 5402))
    device = _keep(reg, "fam-udp-device", V4, DGRAM)
    _set(reg, device, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    device.bind(("0.0.0.0", 5403))
    for label in ("a", "b"):
        shared = _keep(reg, f"fam-udp-reuseport-{label}", V4, DGRAM)
        _set(reg, shared, socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("127.0.0.1", 5404))
    # One datagram read of four: the others wait in the reader's queue, their memory not given back yet.
    sender = reg.held[f"fam-udp-{INIT}-client"].socket
    for size in (10, 200, 3000, 40):
        sender.send(b"u" * size)
    reg.held[f"fam-udp-{INIT}"].socket.recv(100)
    corked = _keep(reg, "fam-udp-corked", V4, DGRAM)
    corked.connect(("127.0.0.1", 5402))
    _set(reg, corked, 17, 1, 1)
    corked.send(b"half a datagram")
    with _may_lack(reg, "fam-udplite"):
        _keep(reg, "fam-udplite", V4, DGRAM, UDPLITE).bind(("127.0.0.1", 5405))
        _keep(reg, "fam-udplite6", V6, DGRAM, UDPLITE, "tuned").bind(("::1", 5405))


def _raw(reg: Registry) -> None:
    _keep(reg, "fam-raw-ospf", V4, RAW, 89).bind(("127.0.0.1", 0))
    connected = _keep(reg, "fam-raw-connected", V4, RAW, 253, "tuned")
    connected.connect(("127.0.0.1", 0))
    connected.send(b"r" * 60)
    _keep(reg, "fam-raw-raw", V4, RAW, 255)
    _keep(reg, "fam-raw6", V6, RAW, 58, "tuned").bind(("::1", 0))
    _keep(reg, "fam-raw6-any", V6, RAW, 253)
    with inside("tuned"):
        Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
    with _may_lack(reg, "fam-ping"):
        _keep(reg, "fam-ping", V4, DGRAM, 1).bind(("127.0.0.1", 77))
        connected = _keep(reg, "fam-ping-connected", V4, DGRAM, 1, "tuned")
        connected.connect(("127.0.0.1", 0))
        connected.send(b"\x08\0\0\0\0\0\0\1echo")
        _keep(reg, "fam-ping6", V6, DGRAM, 58).bind(("::1", 78))
        _keep(reg, "fam-ping-fresh", V4, DGRAM, 1)


def _unix(reg: Registry) -> None:
    FOLDER.mkdir(exist_ok=True)
    os.chdir(FOLDER)
    for label, name in NAMES.items():
        _bind(_keep(reg, f"fam-unix-{label}", UNIX, DGRAM), struct.pack("H", UNIX) + name)
    _keep(reg, "fam-unix-autobind", UNIX, DGRAM, netns="tuned").bind(b"")
    _keep(reg, "fam-unix-fresh", UNIX, SEQPACKET)
    for kind, label in ((STREAM, "stream"), (SEQPACKET, "seq")):
        server = _keep(reg, f"fam-unix-{label}-listen", UNIX, kind, netns="tuned")
        for number in (16, 34):  # SO_PASSCRED, SO_PASSSEC
            _set(reg, server, socket.SOL_SOCKET, number, 1)
        server.bind(f"\0families-{label}")
        server.listen(3)
        client = _keep(reg, f"fam-unix-{label}-client", UNIX, kind, netns="tuned")
        client.bind(f"\0families-{label}-client")
        client.connect(f"\0families-{label}")
        reg.keep(f"fam-unix-{label}-child", server.accept()[0], "tuned", f"fam-unix-{label}-listen")
        for number in range(2):
            waiting = _keep(reg, f"fam-unix-{label}-waiting-{number}", UNIX, kind, netns="tuned")
            waiting.connect(f"\0families-{label}")
            waiting.send(b"before accept")
    child = reg.held["fam-unix-stream-child"].socket
    reg.held["fam-unix-stream-client"].socket.send(b"0123456789")
    reg.held["fam-unix-stream-client"].socket.send(b"abcdef")
    child.recv(4)
    child.send(b"answer")
    one, two = socket.socketpair(UNIX, STREAM)
    reg.keep("fam-unix-half", one)
    one.shutdown(socket.SHUT_WR)
    reg.keep("fam-unix-half-peer", two)
    alone, gone = socket.socketpair(UNIX, STREAM)
    reg.keep("fam-unix-alone", alone)
    gone.close()
    to_name = _keep(reg, "fam-unix-dgram-connected", UNIX, DGRAM)
    to_name.connect(NAMES["odd-bytes"])
    to_name.send(b"d" * 33)
    to_name.send(b"d" * 44)
    _in_flight(reg)


def _in_flight(reg: Registry) -> None:
    """Sockets that only a message holds: no process has a descriptor of them."""
    one, two = socket.socketpair(UNIX, DGRAM)
    reg.keep("fam-unix-carrier-a", one)
    reg.keep("fam-unix-carrier-b", two)
    passenger = socket.socket(V4, DGRAM)
    passenger.bind(("127.0.0.1", 5410))
    named = socket.socket(UNIX, DGRAM)
    named.bind(b"\0in-flight")
    socket.send_fds(one, [b"two"], [passenger.fileno(), named.fileno()])
    passenger.close()
    named.close()
    reg.gone("in-flight-udp", "udp", INIT, ("127.0.0.1", 5410), ("0.0.0.0", 0))
    reg.gone("in-flight-unix", "unix", INIT, ("@in-flight",), (None,))


def _packet(reg: Registry) -> None:
    _keep(reg, "fam-packet-all", PACKET, RAW).bind(("lo", 3))
    _keep(reg, "fam-packet-ip", PACKET, DGRAM, netns="tuned").bind(("lo", 0x0800))
    _keep(reg, "fam-packet-any-device", PACKET, RAW, socket.htons(0x0806))
    with _may_lack(reg, "fam-packet-spkt"):
        _keep(reg, "fam-packet-spkt", PACKET, 10, socket.htons(0x88B5))
    for label in ("a", "b"):
        member = _keep(reg, f"fam-packet-fanout-{label}", PACKET, RAW)
        member.bind(("lo", 0x88B6))
        _set(reg, member, SOL_PACKET, 18, 4242 | 1 << 16)
    for version, label in ((1, "v2"), (2, "v3")):
        ring = _keep(reg, f"fam-packet-ring-{label}", PACKET, RAW)
        _set(reg, ring, SOL_PACKET, 10, version)
        frames = (
            struct.pack("7I", 8192, 4, 2048, 16, 60, 0, 0)
            if version == 2
            else struct.pack("4I", 8192, 4, 2048, 16)
        )
        _set(reg, ring, SOL_PACKET, 5, frames)
        ring.bind(("lo", 0x88B7))
    # An interface that is gone: the socket keeps -1.
    ip("link add fam0 type veth peer name fam1")
    _keep(reg, "fam-packet-gone-device", PACKET, RAW).bind(("fam0", 3))
    ip("link del fam0")


def _netlink(reg: Registry) -> None:
    route = _keep(reg, "fam-netlink-groups", NETLINK, RAW, 0)
    route.bind((0x7FFF0001, 0x11))
    _set(reg, route, SOL_NETLINK, 1, 33)
    _keep(reg, "fam-netlink-tuned", NETLINK, DGRAM, 0, "tuned").bind((4711, 0))
    generic = _keep(reg, "fam-netlink-generic", NETLINK, RAW, 16)
    generic.bind((0, 0))
    _set(reg, generic, SOL_NETLINK, 1, 16)
    unbound = _keep(reg, "fam-netlink-subscribed-unbound", NETLINK, RAW, 15)
    _set(reg, unbound, SOL_NETLINK, 1, 1)
    _keep(reg, "fam-netlink-fresh", NETLINK, RAW, 0)
    user = _keep(reg, "fam-netlink-usersock", NETLINK, DGRAM, 2)
    user.bind((5001, 0))
    connected = _keep(reg, "fam-netlink-connected", NETLINK, DGRAM, 2)
    connected.connect((5001, 0))
    connected.send(b"n" * 100)


def open_among_freed(reg: Registry) -> None:
    """Few that stay of many opened at once: beside them in their slabs lie freed ones."""
    for number, sock in enumerate([socket.socket(NETLINK, RAW, 0) for _ in range(FREED * 8)]):
        if number % FREED:
            sock.close()
        else:
            reg.keep(f"fam-netlink-among-freed-{number}", sock)


def _vsock(reg: Registry) -> None:
    os.system("modprobe -q vsock_loopback")
    for kind, label, port in ((STREAM, "stream", 6000), (SEQPACKET, "seq", 6001)):
        with _may_lack(reg, f"fam-vsock-{label}"):
            server = _keep(reg, f"fam-vsock-{label}-listen", VSOCK, kind)
            for number, size in (
                (2, 300_000),
                (1, 1000),
                (0, 200_000),
            ):  # SO_VM_SOCKETS_BUFFER_MAX_SIZE and its kin
                _set(reg, server, VSOCK, number, struct.pack("Q", size))
            _set(reg, server, VSOCK, 6, struct.pack("qq", 5, 0))
            server.bind((0xFFFFFFFF, port))
            server.listen(4)
            for number in range(2):
                client = _keep(reg, f"fam-vsock-{label}-client-{number}", VSOCK, kind)
                client.settimeout(20)
                client.connect((1, port))
                client.settimeout(None)
            server.settimeout(20)
            reg.keep(
                f"fam-vsock-{label}-child", server.accept()[0], inherited_from=f"fam-vsock-{label}-listen"
            )
            server.settimeout(None)
    with _may_lack(reg, "fam-vsock-bound"):
        _keep(reg, "fam-vsock-bound", VSOCK, STREAM).bind((1, 6002))
        _keep(reg, "fam-vsock-tuned", VSOCK, STREAM, netns="tuned")


def _xdp(reg: Registry) -> None:
    with _may_lack(reg, "fam-xdp"):
        bound = _keep(reg, "fam-xdp-bound", XDP, RAW)
        _umem(reg, bound, 64)
        _set(reg, bound, SOL_XDP, 2, struct.pack("I", 128))
        _set(reg, bound, SOL_XDP, 3, struct.pack("I", 256))
        _bind_xdp(bound, 2, socket.if_nametoindex("lo"))
        ready = _keep(reg, "fam-xdp-ready", XDP, RAW)
        _umem(reg, ready, 16)
        with inside("tuned"):
            index = socket.if_nametoindex("lo")
        other = _keep(reg, "fam-xdp-tuned", XDP, RAW, netns="tuned")
        _umem(reg, other, 32)
        _set(reg, other, SOL_XDP, 2, struct.pack("I", 64))
        _bind_xdp(other, 2, index)


def _umem(reg: Registry, sock: socket.socket, chunks: int) -> None:
    """Register memory for packets, with a fill and a completion ring."""
    area = mmap.mmap(-1, chunks * 4096)
    KEPT.append(area)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    _set(reg, sock, SOL_XDP, 4, struct.pack("QQII", address, chunks * 4096, 4096, 256))
    _set(reg, sock, SOL_XDP, 5, struct.pack("I", chunks))
    _set(reg, sock, SOL_XDP, 6, struct.pack("I", chunks * 2))


def _bind_xdp(sock: socket.socket, flags: int, ifindex: int) -> None:
    """To queue 0 of a device."""
    _bind(sock, struct.pack("HHIII", XDP, flags, ifindex, 0, 0))


def _tcp(reg: Registry) -> None:
    server = listener(reg, "fam-tcp-own-listen", ("127.0.0.1", 16804), OWN)
    talk(*pair(reg, "fam-tcp-own", server, ("127.0.0.1", 16804), OWN))


def _mptcp(reg: Registry) -> None:
    with _may_lack(reg, "fam-mptcp"):
        _keep(reg, "fam-mptcp-bound", V4, STREAM, MPTCP).bind(("127.0.0.1", 16800))
        for netns in (INIT, "tuned"):
            server = listener(reg, f"fam-mptcp6-listen-{netns}", ("::1", 16801), netns, protocol=MPTCP)
            talk(*pair(reg, f"fam-mptcp6-{netns}", server, ("::1", 16801), netns, protocol=MPTCP))
        waiting = _keep(reg, "fam-mptcp6-unaccepted", V6, STREAM, MPTCP)
        waiting.connect(("::1", 16801))
        waiting.send(b"not accepted")
        plain = listener(reg, "fam-mptcp-plain-listen", ("127.0.0.1", 16802))
        talk(*_fallback(reg, plain))
        link(OWN, "peer", "vo", 3)
        for netns in (OWN, "peer"):
            ip("mptcp limits set subflow 2 add_addr_accepted 2", netns)
        ip("addr add 10.77.3.50/24 dev vo", OWN)
        ip("mptcp endpoint add 10.77.3.50 dev vo subflow", OWN)
        far = listener(reg, "fam-mptcp-far-listen", ("10.77.3.2", 16803), "peer", protocol=MPTCP)
        ends = pair(reg, "fam-mptcp-two-paths", far, ("10.77.3.2", 16803), OWN, "peer", protocol=MPTCP)
        for _ in range(3):
            talk(*ends)
            time.sleep(0.1)


def _fallback(reg: Registry, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """An MPTCP client of a server that speaks plain TCP."""
    client = reg.keep("fam-mptcp-client-fallback", make(protocol=MPTCP))
    client.connect(server.getsockname())
    child, _ = server.accept()
    return client, reg.keep("fam-mptcp-plain-child", child)


def _others(reg: Registry) -> None:
    """Families that the kernel keeps in tables of their own, or in none."""
    for label, family, kind, protocol in (
        ("alg", 38, SEQPACKET, 0), ("key", 15, RAW, 2), ("smc", 43, STREAM, 0), ("sctp", V4, STREAM, 132),
        ("tipc", 30, STREAM, 0), ("l2tp", V4, DGRAM, 115), ("kcm", 41, DGRAM, 0),
    ):  # fmt: skip
        with _may_lack(reg, f"fam-{label}"):
            _keep(reg, f"fam-{label}", family, kind, protocol)


STEPS: tuple[Callable[[Registry], None], ...] = (
    _udp,
    _raw,
    _unix,
    _packet,
    _netlink,
    _vsock,
    _xdp,
    _tcp,
    _mptcp,
    _others,
)


def open_all(reg: Registry) -> None:
    """All of them."""
    for step in STEPS:
        start = time.monotonic()
        step(reg)
        os.write(2, f"{step.__name__}: {time.monotonic() - start:.2f} s\n".encode())
