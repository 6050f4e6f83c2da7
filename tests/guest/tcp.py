# SPDX-License-Identifier: LGPL-2.1-or-later
"""TCP sockets of every state that can be had, with known options."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from . import spoof
from .netns import INIT, Way, inside, ip

if TYPE_CHECKING:
    from .registry import Registry

V4, V6, STREAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM


def make(netns: str = INIT, family: int = V4, protocol: int = 0) -> socket.socket:
    """A stream socket made in a namespace."""
    with inside(netns):
        return socket.socket(family, STREAM, protocol)


def listener(
    reg: Registry, label: str, address: tuple[str, int], netns: str = INIT, backlog: int = 16, protocol: int = 0,
    **options: int | bytes | str,
) -> socket.socket:  # fmt: skip
    """A listening socket; options are set before listen()."""
    family = V6 if ":" in address[0] else V4
    sock = reg.keep(label, make(netns, family, protocol), netns)
    reg.set(label, "SO_REUSEADDR", 1)
    if address[0] == "::":
        reg.set(label, "IPV6_V6ONLY", 0)
    reg.options(label, **options)
    sock.bind(address)
    sock.listen(backlog)
    return sock


def pair(
    reg: Registry, label: str, server: socket.socket, address: tuple[str, int], netns: str = INIT,
    server_netns: str | None = None, inherited_from: str | None = None, source: tuple[str, int] | None = None,
    family: int | None = None, protocol: int = 0, **options: int | bytes | str,
) -> tuple[socket.socket, socket.socket]:  # fmt: skip
    """A connected client LABEL and its child LABEL-child; options are the client's, set before connect()."""
    family = family or (V6 if ":" in address[0] else V4)
    client = reg.keep(label, make(netns, family, protocol), netns)
    reg.options(label, **options)
    client.settimeout(20)
    if source:
        client.bind(source)
    client.connect(address)
    client.settimeout(None)
    server.settimeout(20)
    child, _ = server.accept()
    child.settimeout(None)
    reg.keep(f"{label}-child", child, server_netns or netns, inherited_from)
    return client, child


def talk(one: socket.socket, other: socket.socket, rounds: int = 3, size: int = 1000) -> None:
    """Send data both ways and read it all, so that RTT and counters hold something."""
    for _ in range(rounds):
        for source, target in ((one, other), (other, one)):
            source.sendall(b"x" * size)
            left = size
            while left:
                left -= len(target.recv(left))


def fill(sender: socket.socket) -> int:
    """Send until the kernel takes no more; returns bytes sent."""
    sender.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 1 << 24:
            sent += sender.send(b"y" * 16384)
    return sent


def wait_state(sock: socket.socket, number: int, seconds: float = 10) -> None:
    """Wait until TCP_INFO shows a state."""
    deadline = time.monotonic() + seconds
    while sock.getsockopt(6, 11, 1)[0] != number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"state {number} does not come, still {sock.getsockopt(6, 11, 1)[0]}")
        time.sleep(0.02)


def plain(reg: Registry) -> None:
    """Fresh, bound, listening, established in v4, v6 and v4-mapped."""
    reg.keep("fresh-v4", make())
    reg.keep("fresh-v6", make(family=V6))
    reg.keep("bound-v4", make()).bind(("127.0.0.1", 975))
    reg.keep("bound-v6", make(family=V6)).bind(("::1", 976))
    server4 = listener(reg, "listen-v4", ("127.0.0.1", 16959))
    server6 = listener(reg, "listen-v6", ("::1", 16960), IPV6_V6ONLY=1)
    mapped = listener(reg, "listen-dual", ("::", 16961))
    talk(*pair(reg, "est-v4", server4, ("127.0.0.1", 16959)))
    talk(*pair(reg, "est-v6", server6, ("::1", 16960)))
    talk(*pair(reg, "est-mapped-child", mapped, ("127.0.0.1", 16961)))
    talk(*pair(reg, "est-mapped-both", mapped, ("::ffff:127.0.0.1", 16961), family=V6))
    silent, _ = pair(reg, "est-silent", server4, ("127.0.0.1", 16959))
    silent.setblocking(False)
    for label in ("reuseport-a", "reuseport-b"):
        listener(reg, label, ("127.0.0.1", 16962), SO_REUSEPORT=1)


def optioned(reg: Registry) -> None:
    """Known options: on clients, on listeners whose children inherit them."""
    linger = struct.pack("ii", 1, 7)
    timeout = struct.pack("qq", 3, 500000)
    server = listener(
        reg, "listen-options", ("127.0.0.1", 16970), TCP_NODELAY=1, SO_KEEPALIVE=1, TCP_KEEPIDLE=77, TCP_KEEPINTVL=11,
        TCP_KEEPCNT=4, TCP_USER_TIMEOUT=55000, SO_RCVBUF=65536, SO_SNDBUF=131072, TCP_MAXSEG=1200, IP_TOS=0x10,
        IP_TTL=33, SO_MARK=0x1234, SO_PRIORITY=5, SO_LINGER=linger, TCP_NOTSENT_LOWAT=16384, TCP_SAVE_SYN=1,
        SO_RCVTIMEO_OLD=timeout, TCP_LINGER2=9, TCP_FASTOPEN=5, TCP_SYNCNT=3, SO_RCVLOWAT=2, TCP_WINDOW_CLAMP=40000,
    )  # fmt: skip
    client, child = pair(
        reg, "est-inherit", server, ("127.0.0.1", 16970), inherited_from="listen-options", TCP_QUICKACK=0,
    )  # fmt: skip
    talk(client, child)
    plain4 = reg.held["listen-v4"].socket
    wishes: dict[str, dict[str, Any]] = {
        "nodelay": {"TCP_NODELAY": 1},
        "keepalive": {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 600, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 5},
        "buffers": {"SO_RCVBUF": 30000, "SO_SNDBUF": 50000},
        "maxseg": {"TCP_MAXSEG": 536},
        "user-timeout": {"TCP_USER_TIMEOUT": 12345, "TCP_SYNCNT": 2},
        "clamp": {"TCP_WINDOW_CLAMP": 20000},
        "linger": {"SO_LINGER": linger, "TCP_LINGER2": 5},
        "ip": {"IP_TOS": 0x28, "IP_TTL": 77, "IP_MTU_DISCOVER": 2, "IP_RECVERR": 1, "IP_MINTTL": 3, "IP_FREEBIND": 1,
               "IP_TRANSPARENT": 1, "IP_PKTINFO": 1},
        "sock": {"SO_MARK": 77, "SO_PRIORITY": 3, "SO_RCVLOWAT": 100, "SO_RCVTIMEO_OLD": timeout,
                 "SO_SNDTIMEO_OLD": timeout, "SO_OOBINLINE": 1, "SO_BUSY_POLL": 50, "SO_MAX_PACING_RATE": 1000000,
                 "SO_ZEROCOPY": 1, "SO_TIMESTAMP_OLD": 1, "SO_INCOMING_CPU": 0, "SO_DONTROUTE": 1, "SO_BROADCAST": 1},
        "device": {"SO_BINDTODEVICE": b"lo\0"},
        "lowat": {"TCP_NOTSENT_LOWAT": 100000, "TCP_INQ": 1, "TCP_THIN_LINEAR_TIMEOUTS": 1, "TCP_TX_DELAY": 1000},
        "reno": {"TCP_CONGESTION": "reno"},
        "bbr": {"TCP_CONGESTION": "bbr"},
        "dctcp": {"TCP_CONGESTION": "dctcp"},
        "cubic": {"TCP_CONGESTION": "cubic"},
        "vegas": {"TCP_CONGESTION": "vegas"},
        "westwood": {"TCP_CONGESTION": "westwood"},
        "illinois": {"TCP_CONGESTION": "illinois"},
        "nv": {"TCP_CONGESTION": "nv"},
        "portrange": {"IP_LOCAL_PORT_RANGE": (50100 << 16) | 50000, "IP_BIND_ADDRESS_NO_PORT": 1},
    }  # fmt: skip
    for name, options in wishes.items():
        talk(*pair(reg, f"est-{name}", plain4, ("127.0.0.1", 16959), **options))
    server6 = reg.held["listen-v6"].socket
    talk(*pair(
        reg, "est-v6-options", server6, ("::1", 16960), IPV6_TCLASS=0x20, IPV6_UNICAST_HOPS=44, IPV6_RECVPKTINFO=1,
        IPV6_RECVTCLASS=1, IPV6_MINHOPCOUNT=2, TCP_NODELAY=1,
    ))  # fmt: skip
    talk(*pair(reg, "est-ulp", plain4, ("127.0.0.1", 16959)))
    reg.set("est-ulp", "TCP_ULP", "tls")


def keys(reg: Registry) -> None:
    """Sockets that hold keys: kTLS (version, cipher AES-GCM-128, iv, key, salt, sequence) and MD5 signatures."""
    address = ("127.0.0.1", 16973)
    server = listener(reg, "listen-keys", address)
    talk(*pair(reg, "est-ktls", server, address))
    reg.set("est-ktls", "TCP_ULP", "tls")
    key = reg.secret("kTLS key of est-ktls", 16)
    info = struct.pack("HH", 0x0303, 51) + bytes(8) + key + bytes(12)
    reg.apply("est-ktls", "TLS_TX", 282, 1, info)
    key = reg.secret("TCP MD5 key of est-md5 and its listener")
    for label, sock in (("listen-md5", make()), ("est-md5", make())):
        reg.keep(label, sock)
        peer = struct.pack("H", int(V4)) + bytes(2) + socket.inet_aton("127.0.0.1") + bytes(120)
        reg.apply(
            label, "TCP_MD5SIG", 6, 14, peer + struct.pack("BBHi", 0, 0, len(key), 0) + key.ljust(80, b"\0")
        )
    server, client = (reg.held[label].socket for label in ("listen-md5", "est-md5"))
    server.bind(("127.0.0.1", 16974))
    server.listen(2)
    client.settimeout(20)
    client.connect(("127.0.0.1", 16974))
    client.settimeout(None)
    talk(client, reg.keep("est-md5-child", server.accept()[0], inherited_from="listen-md5"))


def queues(reg: Registry) -> None:
    """Bytes that wait: corked, unread, urgent, a closed window, children that nobody accepted."""
    server = reg.held["listen-v4"].socket
    address = ("127.0.0.1", 16959)
    client, _ = pair(reg, "unread", server, address)
    client.sendall(reg.secret("receive queue of unread-child") * 135)
    client, _ = pair(reg, "urgent", server, address)
    client.send(b"abc!", socket.MSG_OOB)
    small = listener(reg, "listen-small", ("127.0.0.1", 16971), SO_RCVBUF=4096)
    client, _ = pair(reg, "zero-window", small, ("127.0.0.1", 16971), inherited_from="listen-small")
    fill(client)
    listener(reg, "listen-unaccepted", ("127.0.0.1", 16972), backlog=4, TCP_NODELAY=1)
    for number in range(3):
        client = reg.keep(f"unaccepted-{number}", make())
        client.connect(("127.0.0.1", 16972))
        if number:
            client.sendall(b"q" * (100 * number))
        reg.gone(f"unaccepted-{number}-child", "tcp", INIT, client.getpeername(), client.getsockname())


def closing(reg: Registry) -> None:
    """Half closed and closed, over loopback."""
    server = reg.held["listen-v4"].socket
    address = ("127.0.0.1", 16959)
    client, child = pair(reg, "fin-wait2", server, address)
    talk(client, child)
    client.shutdown(socket.SHUT_WR)
    wait_state(child, 8)
    reset, child = pair(reg, "reset", server, address)
    child.setsockopt(1, 13, struct.pack("ii", 1, 0))
    reg.held.pop("reset-child").socket.close()
    wait_state(reset, 7)
    gone, child = pair(reg, "disconnected", server, address)
    talk(gone, child)
    with contextlib.suppress(OSError):
        _disconnect(gone)
    reg.held.pop("disconnected-child").socket.close()


def _disconnect(sock: socket.socket) -> None:
    """connect(2) to AF_UNSPEC."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), bytes(16), 16):
        raise OSError(ctypes.get_errno(), "connect AF_UNSPEC")


def far(reg: Registry) -> None:
    """Connections whose packets are lost, in one direction or both, to the namespace `peer`."""
    server = listener(reg, "listen-peer", ("0.0.0.0", 16980), netns="peer")
    for last in range(3, 9):
        ip(f"addr add 10.77.1.{last}/24 dev va", "peer")
        ip(f"addr add 10.77.1.{last + 100}/24 dev va")

    def lossy(label: str, last: int) -> tuple[socket.socket, socket.socket, Way, Way]:
        there, here = f"10.77.1.{last}", f"10.77.1.{last + 100}"
        to, back = Way(INIT, "va", there, "peer"), Way("peer", "va", here, INIT)
        to.set(True)
        back.set(True)
        client, child = pair(reg, label, server, (there, 16980), server_netns="peer", source=(here, 0))
        talk(client, child)
        return client, child, to, back

    client, _, to, back = lossy("dead-peer", 3)
    to.set(False)
    back.set(False)
    client.sendall(b"d" * 5000)
    client, child, to, back = lossy("fin-wait1", 4)
    to.set(False)
    client.shutdown(socket.SHUT_WR)
    client, child, to, back = lossy("closing", 5)
    to.set(False)
    client.shutdown(socket.SHUT_WR)
    child.shutdown(socket.SHUT_WR)
    wait_state(client, 11)
    client, child, to, back = lossy("last-ack", 6)
    to.set(False)
    child.shutdown(socket.SHUT_WR)
    wait_state(client, 8)
    client.shutdown(socket.SHUT_WR)
    client, child, to, back = lossy("out-of-order", 7)
    reg.set("out-of-order-child", "TCP_NODELAY", 1)
    to.set(False)  # no selective acknowledgement comes back that would repair the loss
    back.set(False)
    child.sendall(b"1" * 500)
    back.set(True)
    child.sendall(b"2" * 600)
    back.set(False)
    client, child, to, back = lossy("corked", 8)
    reg.set("corked-child", "TCP_CORK", 1)
    back.set(False)  # bytes in flight keep the kernel from sending the corked ones after 200 ms
    child.sendall(b"c" * (2 * 1448 + 333))


def link_down(reg: Registry) -> None:
    """Retransmission to a peer whose interface went down, in the namespace `dead`."""
    server = listener(reg, "listen-dead", ("10.77.2.2", 16981), netns="dead")
    client, child = pair(reg, "peer-down", server, ("10.77.2.2", 16981), server_netns="dead")
    talk(client, child)
    ip("link set vd down", "dead")
    client.sendall(b"r" * 3000)


def tuned(reg: Registry) -> None:
    """Connections in the namespace `tuned`, whose sysctls change what untouched sockets hold."""
    server = listener(reg, "tuned-listen", ("127.0.0.1", 16990), netns="tuned")
    talk(*pair(reg, "tuned-est", server, ("127.0.0.1", 16990), netns="tuned"))
    server6 = listener(reg, "tuned-listen-v6", ("::1", 16991), netns="tuned")
    talk(*pair(reg, "tuned-est-v6", server6, ("::1", 16991), netns="tuned", TCP_CONGESTION="cubic"))
    server = listener(reg, "tuned-listen-dctcp", ("127.0.0.1", 16993), netns="tuned", TCP_CONGESTION="dctcp")
    talk(*pair(reg, "tuned-dctcp", server, ("127.0.0.1", 16993), netns="tuned", TCP_CONGESTION="dctcp"))
    reg.keep("tuned-fresh", make("tuned"), "tuned")


def multipath(reg: Registry) -> None:
    """MPTCP, with fallback and without, where the kernel has it."""
    try:
        server = listener(reg, "mptcp-listen", ("127.0.0.1", 16992), protocol=262)
    except OSError as error:
        reg.held.pop("mptcp-listen", None)
        reg.refuse("mptcp", error)
        return
    talk(*pair(reg, "mptcp", server, ("127.0.0.1", 16992), protocol=262))
    talk(*pair(reg, "mptcp-fallback", server, ("127.0.0.1", 16992)))
    reg.keep("mptcp-fresh", make(protocol=262))


def opening(reg: Registry) -> None:
    """Handshakes that never end: SYN_SENT to an address that drops, requests from an address that never answers."""
    ip("route add 10.99.0.0/16 via 10.77.1.2")
    ip("route add fd99::/32 via fd77:1::2")
    ip("route add blackhole fd99::/32", "peer")
    for label, address in (("syn-sent-v4", ("10.99.0.1", 80)), ("syn-sent-v6", ("fd99::1", 80))):
        sock = reg.keep(label, make(family=V6 if ":" in address[0] else V4))
        reg.set(label, "TCP_SYNCNT", 20)
        sock.setblocking(False)
        sock.connect_ex(address)
    listener(reg, "listen-request-v4", ("10.77.1.1", 16982), TCP_SYNCNT=20, TCP_NODELAY=1)
    listener(reg, "listen-request-v6", ("fd77:1::1", 16983), TCP_SYNCNT=20)
    with inside("peer"):
        for number in range(3):
            source = ("10.99.0.5", 40000 + number)
            spoof.syn(source, ("10.77.1.1", 16982))
            reg.gone(f"request-v4-{number}", "tcp-request", INIT, ("10.77.1.1", 16982), source)
        spoof.syn(("fd99::5", 40010), ("fd77:1::1", 16983))
        reg.gone("request-v6", "tcp-request", INIT, ("fd77:1::1", 16983), ("fd99::5", 40010))


def waiting(reg: Registry) -> None:
    """TIME_WAIT, and FIN_WAIT2 without a descriptor, which the kernel keeps as TIME_WAIT objects."""
    for label, family, address in (("time-wait-v4", V4, "127.0.0.1"), ("time-wait-v6", V6, "::1")):
        server = reg.held["listen-v4" if family == V4 else "listen-v6"].socket
        client, child = pair(reg, label, server, server.getsockname()[:2])
        talk(client, child)
        local, peer = client.getsockname(), client.getpeername()
        client.shutdown(socket.SHUT_RDWR)
        wait_state(child, 8)
        reg.held.pop(label).socket.close()
        reg.held.pop(f"{label}-child").socket.close()
        reg.gone(label, "tcp-timewait", INIT, local, peer)
        assert address == local[0]
    server = reg.held["listen-v4"].socket
    client, child = pair(reg, "orphan-fin-wait2", server, server.getsockname())
    talk(client, child)
    local, peer = client.getsockname(), client.getpeername()
    reg.held.pop("orphan-fin-wait2").socket.close()
    wait_state(child, 8)
    reg.gone("orphan-fin-wait2", "tcp-timewait", INIT, local, peer)


LASTING = (plain, optioned, keys, queues, closing, tuned, multipath, far, link_down)
FLEETING = (opening, waiting)


def open_lasting(reg: Registry) -> None:
    """Sockets that stay as they are."""
    for step in LASTING:
        step(reg)


def open_fleeting(reg: Registry) -> None:
    """What the kernel gives up after a minute."""
    for step in FLEETING:
        step(reg)
