# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers of options and states, from Linux's uapi headers (socket.h, tcp.h, in.h, in6.h)."""

from __future__ import annotations

import socket

SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6 = 1, 0, 6, 17, 41
IPPROTO_ICMPV6, SOL_UDPLITE, SOL_RAW, SOL_PACKET, SOL_NETLINK = 58, 136, 255, 263, 270
SOL_TLS, SOL_XDP, SOL_MPTCP, AF_VSOCK = 282, 283, 284, 40
IPPROTO_MPTCP = 262

LEVELS = {
    "SOL_SOCKET": SOL_SOCKET,
    "IPPROTO_IP": IPPROTO_IP,
    "IPPROTO_TCP": IPPROTO_TCP,
    "IPPROTO_UDP": IPPROTO_UDP,
    "IPPROTO_IPV6": IPPROTO_IPV6,
    "IPPROTO_ICMPV6": IPPROTO_ICMPV6,
    "IPPROTO_UDPLITE": SOL_UDPLITE,
    "SOL_RAW": SOL_RAW,
    "SOL_PACKET": SOL_PACKET,
    "SOL_NETLINK": SOL_NETLINK,
    "SOL_TLS": SOL_TLS,
    "SOL_XDP": SOL_XDP,
    "SOL_MPTCP": SOL_MPTCP,
    "AF_VSOCK": AF_VSOCK,
}

# Reading these changes the socket, opens a descriptor, or depends on what the caller passes in.
UNSAFE = {
    SOL_SOCKET: {4, 77},  # SO_ERROR, SO_PEERPIDFD
    IPPROTO_TCP: {28, 35},  # TCP_SAVED_SYN, TCP_ZEROCOPY_RECEIVE
    SOL_PACKET: {6},  # PACKET_STATISTICS
}

STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip

# (level, number) of the options that the scenario sets.
OPTIONS = {
    "SO_REUSEADDR": (SOL_SOCKET, 2),
    "SO_DONTROUTE": (SOL_SOCKET, 5),
    "SO_BROADCAST": (SOL_SOCKET, 6),
    "SO_SNDBUF": (SOL_SOCKET, 7),
    "SO_RCVBUF": (SOL_SOCKET, 8),
    "SO_KEEPALIVE": (SOL_SOCKET, 9),
    "SO_OOBINLINE": (SOL_SOCKET, 10),
    "SO_PRIORITY": (SOL_SOCKET, 12),
    "SO_LINGER": (SOL_SOCKET, 13),
    "SO_REUSEPORT": (SOL_SOCKET, 15),
    "SO_PASSCRED": (SOL_SOCKET, 16),
    "SO_RCVLOWAT": (SOL_SOCKET, 18),
    "SO_RCVTIMEO_OLD": (SOL_SOCKET, 20),
    "SO_SNDTIMEO_OLD": (SOL_SOCKET, 21),
    "SO_BINDTODEVICE": (SOL_SOCKET, 25),
    "SO_TIMESTAMP_OLD": (SOL_SOCKET, 29),
    "SO_MARK": (SOL_SOCKET, 36),
    "SO_BUSY_POLL": (SOL_SOCKET, 46),
    "SO_MAX_PACING_RATE": (SOL_SOCKET, 47),
    "SO_INCOMING_CPU": (SOL_SOCKET, 49),
    "SO_COOKIE": (SOL_SOCKET, 57),
    "SO_ZEROCOPY": (SOL_SOCKET, 60),
    "IP_TOS": (IPPROTO_IP, 1),
    "IP_TTL": (IPPROTO_IP, 2),
    "IP_RECVERR": (IPPROTO_IP, 11),
    "IP_MTU_DISCOVER": (IPPROTO_IP, 10),
    "IP_PKTINFO": (IPPROTO_IP, 8),
    "IP_FREEBIND": (IPPROTO_IP, 15),
    "IP_MINTTL": (IPPROTO_IP, 21),
    "IP_TRANSPARENT": (IPPROTO_IP, 19),
    "IP_BIND_ADDRESS_NO_PORT": (IPPROTO_IP, 24),
    "IP_LOCAL_PORT_RANGE": (IPPROTO_IP, 51),
    "IPV6_UNICAST_HOPS": (IPPROTO_IPV6, 16),
    "IPV6_V6ONLY": (IPPROTO_IPV6, 26),
    "IPV6_RECVPKTINFO": (IPPROTO_IPV6, 49),
    "IPV6_TCLASS": (IPPROTO_IPV6, 67),
    "IPV6_RECVTCLASS": (IPPROTO_IPV6, 66),
    "IPV6_MINHOPCOUNT": (IPPROTO_IPV6, 73),
    "TCP_NODELAY": (IPPROTO_TCP, 1),
    "TCP_MAXSEG": (IPPROTO_TCP, 2),
    "TCP_CORK": (IPPROTO_TCP, 3),
    "TCP_KEEPIDLE": (IPPROTO_TCP, 4),
    "TCP_KEEPINTVL": (IPPROTO_TCP, 5),
    "TCP_KEEPCNT": (IPPROTO_TCP, 6),
    "TCP_SYNCNT": (IPPROTO_TCP, 7),
    "TCP_LINGER2": (IPPROTO_TCP, 8),
    "TCP_DEFER_ACCEPT": (IPPROTO_TCP, 9),
    "TCP_WINDOW_CLAMP": (IPPROTO_TCP, 10),
    "TCP_INFO": (IPPROTO_TCP, 11),
    "TCP_QUICKACK": (IPPROTO_TCP, 12),
    "TCP_CONGESTION": (IPPROTO_TCP, 13),
    "TCP_THIN_LINEAR_TIMEOUTS": (IPPROTO_TCP, 16),
    "TCP_USER_TIMEOUT": (IPPROTO_TCP, 18),
    "TCP_FASTOPEN": (IPPROTO_TCP, 23),
    "TCP_NOTSENT_LOWAT": (IPPROTO_TCP, 25),
    "TCP_SAVE_SYN": (IPPROTO_TCP, 27),
    "TCP_FASTOPEN_CONNECT": (IPPROTO_TCP, 30),
    "TCP_ULP": (IPPROTO_TCP, 31),
    "TCP_INQ": (IPPROTO_TCP, 36),
    "TCP_TX_DELAY": (IPPROTO_TCP, 37),
}


def levels_of(family: int, kind: int, protocol: int) -> list[int]:
    """The option levels that a socket answers to."""
    levels = [SOL_SOCKET]
    if family in (socket.AF_INET, socket.AF_INET6):
        levels.append(IPPROTO_IP)
        if family == socket.AF_INET6:
            levels.append(IPPROTO_IPV6)
        if kind == socket.SOCK_STREAM:
            levels += [IPPROTO_TCP, SOL_TLS] + ([SOL_MPTCP] if protocol == IPPROTO_MPTCP else [])
        elif kind == socket.SOCK_DGRAM:
            levels += [IPPROTO_UDP] if protocol in (0, IPPROTO_UDP) else []
            levels += [SOL_UDPLITE] if protocol == SOL_UDPLITE else []
        else:
            levels += [SOL_RAW, IPPROTO_ICMPV6]
    levels += {
        socket.AF_PACKET: [SOL_PACKET],
        socket.AF_NETLINK: [SOL_NETLINK],
        44: [SOL_XDP],
        AF_VSOCK: [AF_VSOCK],
    }.get(family, [])
    return levels
