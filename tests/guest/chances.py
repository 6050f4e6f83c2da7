# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of every kind with options set at random: each option on about half of the sockets, by a recorded seed."""

from __future__ import annotations

import random
import socket
import struct
from typing import TYPE_CHECKING

from . import filters
from .names import (
    AF_VSOCK,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOL_NETLINK,
    SOL_PACKET,
    SOL_RAW,
    SOL_SOCKET,
    SOL_UDPLITE,
    levels_of,
)
from .netns import INIT, inside

if TYPE_CHECKING:
    from .registry import Registry

SEED = 20250
EACH = 8  # sockets of each kind
V4, V6, UNIX, STREAM, DGRAM, RAW = (
    socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW,
)  # fmt: skip
ON = (1,)
TIME = (struct.pack("qq", 1, 250000), struct.pack("qq", 30, 0))
STAMPING = (0x10, 0x52, 0x3F)
QUAD = tuple(struct.pack("Q", size) for size in (131072, 200000))


class Table(dict[str, tuple[int, tuple[int | bytes, ...]]]):
    """Option name → number and the values to choose from, of one level."""


SOCKET = Table({
    "SO_DEBUG": (1, ON), "SO_REUSEADDR": (2, (1, 2)), "SO_DONTROUTE": (5, ON), "SO_BROADCAST": (6, ON),
    "SO_SNDBUF": (7, (1, 20000, 90000)), "SO_RCVBUF": (8, (1, 30000, 100000)), "SO_KEEPALIVE": (9, ON),
    "SO_OOBINLINE": (10, ON), "SO_NO_CHECK": (11, ON), "SO_PRIORITY": (12, (1, 6, 9)),
    "SO_LINGER": (13, (struct.pack("ii", 1, 0), struct.pack("ii", 1, 30), struct.pack("ii", 0, 30))),
    "SO_REUSEPORT": (15, ON), "SO_PASSCRED": (16, ON), "SO_RCVLOWAT": (18, (2, 500)), "SO_RCVTIMEO_OLD": (20, TIME),
    "SO_SNDTIMEO_OLD": (21, TIME), "SO_BINDTODEVICE": (25, (b"lo\0",)), "SO_TIMESTAMP_OLD": (29, ON),
    "SO_PASSSEC": (34, ON), "SO_TIMESTAMPNS_OLD": (35, ON), "SO_MARK": (36, (1, 0x7FFFFFFF, 0x80000000)),
    "SO_TIMESTAMPING_OLD": (37, STAMPING), "SO_RXQ_OVFL": (40, ON), "SO_WIFI_STATUS": (41, ON),
    "SO_PEEK_OFF": (42, (0, 9)),
    "SO_NOFCS": (43, ON), "SO_SELECT_ERR_QUEUE": (45, ON), "SO_BUSY_POLL": (46, (10, 70)),
    "SO_MAX_PACING_RATE": (47, (50_000_000, struct.pack("Q", 5_000_000_000))), "SO_INCOMING_CPU": (49, (0,)),
    "SO_ZEROCOPY": (60, ON), "SO_TXTIME": (61, (struct.pack("iI", 1, 0), struct.pack("iI", 11, 3))),
    "SO_TIMESTAMP_NEW": (63, ON), "SO_TIMESTAMPNS_NEW": (64, ON), "SO_TIMESTAMPING_NEW": (65, STAMPING),
    "SO_RCVTIMEO_NEW": (66, TIME), "SO_SNDTIMEO_NEW": (67, TIME), "SO_PREFER_BUSY_POLL": (69, ON),
    "SO_BUSY_POLL_BUDGET": (70, (4, 16)), "SO_BUF_LOCK": (72, (0, 1, 2, 3)), "SO_RESERVE_MEM": (73, (8192,)),
    "SO_TXREHASH": (74, (0, 1)), "SO_RCVMARK": (75, ON), "SO_PASSPIDFD": (76, ON), "SO_RCVPRIORITY": (82, ON),
    "SO_PASSRIGHTS": (83, (0,)), "SO_INQ": (84, ON),
})  # fmt: skip
IP = Table({
    "IP_TOS": (1, (0x10, 0xB8, 0x03)), "IP_TTL": (2, (1, 65, 255)), "IP_OPTIONS": (4, (bytes((1, 1, 1, 0)),)),
    "IP_RECVOPTS": (6, ON), "IP_RETOPTS": (7, ON), "IP_PKTINFO": (8, ON), "IP_MTU_DISCOVER": (10, (0, 2, 3, 4, 5)),
    "IP_RECVERR": (11, ON), "IP_RECVTTL": (12, ON), "IP_RECVTOS": (13, ON), "IP_FREEBIND": (15, ON),
    "IP_PASSSEC": (18, ON), "IP_TRANSPARENT": (19, ON), "IP_RECVORIGDSTADDR": (20, ON), "IP_MINTTL": (21, (1, 20)),
    "IP_NODEFRAG": (22, ON), "IP_CHECKSUM": (23, ON), "IP_BIND_ADDRESS_NO_PORT": (24, ON),
    "IP_RECVFRAGSIZE": (25, ON),
    "IP_RECVERR_RFC4884": (26, ON), "IP_MULTICAST_IF": (32, (socket.inet_aton("127.0.0.1"),)),
    "IP_MULTICAST_TTL": (33, (0, 9, 255)), "IP_MULTICAST_LOOP": (34, (0,)),
    "IP_ADD_MEMBERSHIP": (35, (socket.inet_aton("239.1.2.3") + socket.inet_aton("127.0.0.1"),)),
    "IP_MULTICAST_ALL": (49, (0,)), "IP_UNICAST_IF": (50, (socket.htonl(1) & 0xFFFFFFFF,)),
    "IP_LOCAL_PORT_RANGE": (51, ((41000 << 16) | 40000,)),
})  # fmt: skip
IPV6 = Table({
    "IPV6_2292PKTINFO": (2, ON), "IPV6_2292HOPLIMIT": (8, ON), "IPV6_FLOWINFO": (11, ON),
    "IPV6_UNICAST_HOPS": (16, (1, 200)),
    "IPV6_MULTICAST_IF": (17, (1,)), "IPV6_MULTICAST_HOPS": (18, (0, 33)), "IPV6_MULTICAST_LOOP": (19, (0,)),
    "IPV6_ADD_MEMBERSHIP": (20, (socket.inet_pton(V6, "ff05::1:2") + struct.pack("I", 1),)),
    "IPV6_MTU_DISCOVER": (23, (0, 2, 3, 4, 5)), "IPV6_MTU": (24, (1300,)), "IPV6_RECVERR": (25, ON),
    "IPV6_V6ONLY": (26, (0, 1)),
    "IPV6_MULTICAST_ALL": (29, (0,)), "IPV6_ROUTER_ALERT_ISOLATE": (30, ON), "IPV6_RECVERR_RFC4884": (31, ON),
    "IPV6_FLOWINFO_SEND": (33, ON), "IPV6_RECVPKTINFO": (49, ON), "IPV6_RECVHOPLIMIT": (51, ON),
    "IPV6_RECVHOPOPTS": (53, ON), "IPV6_RECVRTHDR": (56, ON), "IPV6_RECVDSTOPTS": (58, ON),
    "IPV6_DSTOPTS": (59, (bytes((0, 0, 1, 4, 0, 0, 0, 0)),)), "IPV6_RECVPATHMTU": (60, ON), "IPV6_DONTFRAG": (62, ON),
    "IPV6_RECVTCLASS": (66, ON), "IPV6_TCLASS": (67, (0, 0x20, 0xB8)), "IPV6_AUTOFLOWLABEL": (70, (0, 1)),
    "IPV6_ADDR_PREFERENCES": (72, (1, 2, 4)), "IPV6_MINHOPCOUNT": (73, (1, 20)), "IPV6_RECVORIGDSTADDR": (74, ON),
    "IPV6_TRANSPARENT": (75, ON), "IPV6_UNICAST_IF": (76, (socket.htonl(1) & 0xFFFFFFFF,)),
    "IPV6_RECVFRAGSIZE": (77, ON), "IPV6_FREEBIND": (78, ON),
})  # fmt: skip
TCP = Table({
    "TCP_NODELAY": (1, ON), "TCP_MAXSEG": (2, (88, 1000, 9000)), "TCP_CORK": (3, ON),
    "TCP_KEEPIDLE": (4, (1, 100, 32767)),
    "TCP_KEEPINTVL": (5, (1, 99)), "TCP_KEEPCNT": (6, (1, 127)), "TCP_SYNCNT": (7, (1, 9)),
    "TCP_LINGER2": (8, (0xFFFFFFFF, 3, 500)), "TCP_DEFER_ACCEPT": (9, (1, 10, 200)),
    "TCP_WINDOW_CLAMP": (10, (5000, 100000)), "TCP_QUICKACK": (12, (0, 1)),
    "TCP_CONGESTION": (13, (b"reno", b"cubic", b"bbr", b"dctcp", b"vegas", b"westwood")),
    "TCP_THIN_LINEAR_TIMEOUTS": (16, ON), "TCP_USER_TIMEOUT": (18, (1, 90000)), "TCP_FASTOPEN": (23, (1, 7)),
    "TCP_TIMESTAMP": (24, (123456,)), "TCP_NOTSENT_LOWAT": (25, (1, 131072)), "TCP_SAVE_SYN": (27, (1, 2)),
    "TCP_FASTOPEN_CONNECT": (30, ON), "TCP_FASTOPEN_KEY": (33, (bytes(range(16)), bytes(range(32)))),
    "TCP_FASTOPEN_NO_COOKIE": (34, ON), "TCP_INQ": (36, ON), "TCP_TX_DELAY": (37, (500,)),
    "TCP_RTO_MAX_MS": (44, (30000,)), "TCP_RTO_MIN_US": (45, (100000,)), "TCP_DELACK_MAX_US": (46, (20000,)),
})  # fmt: skip
UDP = Table({
    "UDP_CORK": (1, ON), "UDP_ENCAP": (100, (2,)), "UDP_NO_CHECK6_TX": (101, ON), "UDP_NO_CHECK6_RX": (102, ON),
    "UDP_SEGMENT": (103, (1200,)), "UDP_GRO": (104, ON),
})  # fmt: skip
UDPLITE = Table({"UDPLITE_SEND_CSCOV": (10, (8, 20)), "UDPLITE_RECV_CSCOV": (11, (8, 30))})
PACKET = Table({
    "PACKET_COPY_THRESH": (7, (100,)), "PACKET_AUXDATA": (8, ON), "PACKET_ORIGDEV": (9, ON),
    "PACKET_VERSION": (10, (0, 1, 2)),
    "PACKET_RESERVE": (12, (64,)), "PACKET_LOSS": (14, ON), "PACKET_VNET_HDR": (15, ON),
    "PACKET_TIMESTAMP": (17, (64,)),
    "PACKET_TX_HAS_OFF": (19, ON), "PACKET_QDISC_BYPASS": (20, ON), "PACKET_IGNORE_OUTGOING": (23, ON),
    "PACKET_VNET_HDR_SZ": (24, (12,)),
})  # fmt: skip
NETLINK = Table({
    "NETLINK_ADD_MEMBERSHIP": (1, (1, 5)), "NETLINK_PKTINFO": (3, ON), "NETLINK_BROADCAST_ERROR": (4, ON),
    "NETLINK_NO_ENOBUFS": (5, ON), "NETLINK_LISTEN_ALL_NSID": (8, ON), "NETLINK_CAP_ACK": (10, ON),
    "NETLINK_EXT_ACK": (11, ON), "NETLINK_GET_STRICT_CHK": (12, ON),
})  # fmt: skip
VSOCK = Table({
    "SO_VM_SOCKETS_BUFFER_SIZE": (0, QUAD), "SO_VM_SOCKETS_BUFFER_MAX_SIZE": (2, (struct.pack("Q", 1 << 20),)),
    "SO_VM_SOCKETS_BUFFER_MIN_SIZE": (1, (struct.pack("Q", 512),)), "SO_VM_SOCKETS_CONNECT_TIMEOUT": (6, TIME),
})  # fmt: skip
TABLES = {
    SOL_SOCKET: SOCKET, IPPROTO_IP: IP, IPPROTO_IPV6: IPV6, IPPROTO_TCP: TCP, IPPROTO_UDP: UDP, SOL_UDPLITE: UDPLITE,
    SOL_RAW: Table({"ICMP_FILTER": (1, (0x1, 0xFFFF))}), SOL_PACKET: PACKET, SOL_NETLINK: NETLINK, AF_VSOCK: VSOCK,
    IPPROTO_ICMPV6: Table({"ICMPV6_FILTER": (1, (bytes(16) + b"\xff" * 16,))}),
}  # fmt: skip
KINDS = {  # label → family, type, protocol
    "tcp4": (V4, STREAM, 0), "tcp6": (V6, STREAM, 0), "mptcp4": (V4, STREAM, 262), "mptcp6": (V6, STREAM, 262),
    "udp4": (V4, DGRAM, 0), "udp6": (V6, DGRAM, 0), "udplite4": (V4, DGRAM, 136), "udplite6": (V6, DGRAM, 136),
    "icmp4": (V4, RAW, 1), "icmp6": (V6, RAW, 58), "raw4": (V4, RAW, 255), "raw6": (V6, RAW, 89),
    "ping4": (V4, DGRAM, 1), "ping6": (V6, DGRAM, 58), "stream": (UNIX, STREAM, 0), "dgram": (UNIX, DGRAM, 0),
    "seqpacket": (UNIX, socket.SOCK_SEQPACKET, 0), "packet": (socket.AF_PACKET, RAW, 0),
    "netlink": (socket.AF_NETLINK, RAW, 0), "vsock": (AF_VSOCK, STREAM, 0), "xdp": (44, RAW, 0),
}  # fmt: skip
# These would keep a connection over loopback from coming about, or delay it.
HINDER = {
    "TCP_DEFER_ACCEPT", "IP_MINTTL", "IPV6_MINHOPCOUNT", "IP_TTL", "IPV6_UNICAST_HOPS", "SO_SNDTIMEO_OLD",
    "SO_SNDTIMEO_NEW", "SO_RCVTIMEO_OLD", "SO_RCVTIMEO_NEW", "TCP_FASTOPEN_CONNECT", "IPV6_V6ONLY",
    "TCP_USER_TIMEOUT", "TCP_LINGER2", "IPV6_DSTOPTS",
}  # fmt: skip


def _scatter(reg: Registry, label: str, dice: random.Random, leave: frozenset[str] = frozenset()) -> None:
    """Set about half of the options that the socket's levels have, in random order."""
    sock = reg.held[label].socket
    wishes = [
        (name, level, number, dice.choice(values))
        for level in levels_of(sock.family, sock.type, sock.proto)
        for name, (number, values) in TABLES.get(level, {}).items()
        if dice.random() < 0.5 and name not in leave
    ]
    dice.shuffle(wishes)
    for name, level, number, value in wishes:
        reg.apply(label, name, level, number, value)


def _alone(reg: Registry, dice: random.Random) -> None:
    """Unconnected sockets of every kind; every fourth in a namespace with changed sysctls, every fifth untouched."""
    for kind, (family, variant, protocol) in KINDS.items():
        for number in range(EACH):
            netns = "tuned" if number % 4 == 3 else INIT
            label = f"chance-{kind}-{number}"
            try:
                with inside(netns):
                    reg.keep(label, socket.socket(family, variant, protocol), netns)
            except OSError as error:
                reg.refuse(label, error)
                continue
            if number % 5 != 4:
                _scatter(reg, label, dice)
            if number == 1:
                filters.classic(reg, label)
            if number == 2:
                filters.extended(reg, label)


def _connected(reg: Registry, dice: random.Random) -> None:
    """Listeners with random options, their children, which inherit, and clients, which get theirs afterwards."""
    hinder = frozenset(HINDER)
    for number in range(6):
        family, address = (V4, "127.0.0.1") if number % 2 else (V6, "::1")
        netns = "tuned" if number % 3 == 2 else INIT
        with inside(netns):
            server = reg.keep(f"chance-listen-{number}", socket.socket(family, STREAM), netns)
            client = reg.keep(f"chance-client-{number}", socket.socket(family, STREAM), netns)
        _scatter(reg, f"chance-listen-{number}", dice, hinder)
        server.bind((address, 17100 + number))
        server.listen(4)
        client.settimeout(20)
        client.connect((address, 17100 + number))
        client.settimeout(None)
        server.settimeout(20)
        reg.keep(f"chance-child-{number}", server.accept()[0], netns, f"chance-listen-{number}")
        server.settimeout(None)
        _scatter(reg, f"chance-client-{number}", dice)


def open_all(reg: Registry) -> None:
    """All of them."""
    dice = random.Random(SEED)
    _alone(reg, dice)
    _connected(reg, dice)
