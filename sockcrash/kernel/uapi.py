# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of numbers that are part of Linux's ABI or stand in no debug information."""

from __future__ import annotations

import errno

__all__ = (
    "CA_STATES",
    "ERRORS",
    "FAMILIES",
    "PROTOCOLS",
    "TCP_FLAGS",
    "TCP_MARKS",
    "TCP_STATES",
    "TYPES",
    "bits_of",
    "error_name",
    "name_of",
    "netlink_state",
)

# include/linux/socket.h
FAMILIES = {
    0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 3: "AF_AX25", 4: "AF_IPX", 5: "AF_APPLETALK", 6: "AF_NETROM",
    7: "AF_BRIDGE", 8: "AF_ATMPVC", 9: "AF_X25", 10: "AF_INET6", 11: "AF_ROSE", 15: "AF_KEY", 16: "AF_NETLINK",
    17: "AF_PACKET", 20: "AF_ATMSVC", 21: "AF_RDS", 23: "AF_IRDA", 24: "AF_PPPOX", 26: "AF_LLC", 27: "AF_IB",
    28: "AF_MPLS", 29: "AF_CAN", 30: "AF_TIPC", 31: "AF_BLUETOOTH", 32: "AF_IUCV", 33: "AF_RXRPC", 34: "AF_ISDN",
    35: "AF_PHONET", 36: "AF_IEEE802154", 37: "AF_CAIF", 38: "AF_ALG", 39: "AF_NFC", 40: "AF_VSOCK", 41: "AF_KCM",
    42: "AF_QIPCRTR", 43: "AF_SMC", 44: "AF_XDP", 45: "AF_MCTP",
}  # fmt: skip

# include/linux/net.h, enum sock_type
TYPES = {
    1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 4: "SOCK_RDM", 5: "SOCK_SEQPACKET", 6: "SOCK_DCCP",
    10: "SOCK_PACKET",
}  # fmt: skip

# include/uapi/linux/in.h
PROTOCOLS = {
    0: "IPPROTO_IP", 1: "IPPROTO_ICMP", 2: "IPPROTO_IGMP", 4: "IPPROTO_IPIP", 6: "IPPROTO_TCP", 8: "IPPROTO_EGP",
    12: "IPPROTO_PUP", 17: "IPPROTO_UDP", 22: "IPPROTO_IDP", 29: "IPPROTO_TP", 33: "IPPROTO_DCCP", 41: "IPPROTO_IPV6",
    46: "IPPROTO_RSVP", 47: "IPPROTO_GRE", 50: "IPPROTO_ESP", 51: "IPPROTO_AH", 58: "IPPROTO_ICMPV6",
    92: "IPPROTO_MTP", 94: "IPPROTO_BEETPH", 98: "IPPROTO_ENCAP", 103: "IPPROTO_PIM", 108: "IPPROTO_COMP",
    115: "IPPROTO_L2TP", 132: "IPPROTO_SCTP", 136: "IPPROTO_UDPLITE", 137: "IPPROTO_MPLS", 143: "IPPROTO_ETHERNET",
    255: "IPPROTO_RAW", 256: "IPPROTO_SMC", 262: "IPPROTO_MPTCP",
}  # fmt: skip

# include/uapi/linux/netlink.h: the "protocol" of an AF_NETLINK socket
NETLINK_PROTOCOLS = {
    0: "NETLINK_ROUTE", 2: "NETLINK_USERSOCK", 3: "NETLINK_FIREWALL", 4: "NETLINK_SOCK_DIAG", 5: "NETLINK_NFLOG",
    6: "NETLINK_XFRM", 7: "NETLINK_SELINUX", 8: "NETLINK_ISCSI", 9: "NETLINK_AUDIT", 10: "NETLINK_FIB_LOOKUP",
    11: "NETLINK_CONNECTOR", 12: "NETLINK_NETFILTER", 13: "NETLINK_IP6_FW", 14: "NETLINK_DNRTMSG",
    15: "NETLINK_KOBJECT_UEVENT", 16: "NETLINK_GENERIC", 18: "NETLINK_SCSITRANSPORT", 19: "NETLINK_ECRYPTFS",
    20: "NETLINK_RDMA", 21: "NETLINK_CRYPTO", 22: "NETLINK_SMC",
}  # fmt: skip

# include/net/tcp_states.h
TCP_STATES = {
    1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE",
    8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "NEW_SYN_RECV", 13: "BOUND_INACTIVE",
}  # fmt: skip
FIN_WAIT2, TIME_WAIT, CLOSE, LISTEN, NEW_SYN_RECV = 5, 6, 7, 10, 12
# net/netlink/af_netlink.c: sk_state of a connected socket; others have 0, or the CLOSE that they were born with.
NETLINK_CONNECTED = 1

# include/linux/proc_ns.h: the inode of the initial PID namespace
PROC_PID_INIT_INO = 0xEFFFFFFC

# include/uapi/linux/tcp.h, enum tcp_ca_state
CA_STATES = {0: "Open", 1: "Disorder", 2: "CWR", 3: "Recovery", 4: "Loss"}

# The low byte of a TCP header's flags (RFC 9293 section 3.1)
TCP_FLAGS = {1: "FIN", 2: "SYN", 4: "RST", 8: "PSH", 16: "ACK", 32: "URG", 64: "ECE", 128: "CWR"}
# include/net/tcp.h, TCPCB_*: what a sender knows of a segment. TCPCB_REPAIRED goes with any retransmission.
TCP_MARKS = {1: "sacked", 2: "retransmitted", 4: "lost", 0x80: "sent-before"}

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_XDP = 1, 2, 10, 16, 17, 40, 44
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_PACKET = 1, 2, 3, 10
IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6, IPPROTO_UDPLITE = 1, 6, 17, 58, 136
IPPROTO_SMC, IPPROTO_MPTCP = 256, 262


def netlink_state(number: int) -> str:
    """The state of a NETLINK socket, which has but two."""
    return "CONNECTED" if number == NETLINK_CONNECTED else "UNCONNECTED"


def name_of(names: dict[int, str], number: int) -> str:
    """The name of a number, or the number itself as text."""
    return names.get(number, str(number))


# Of two names of one number Python has the one that libc adds; the kernel's, and strace's, is the other.
ERRORS = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EDEADLK: "EDEADLK", 524: "ENOTSUPP"}


def error_name(number: int) -> str:
    """``EINVAL`` for 22; the number itself where it has no name. Some drivers let 524 out (include/linux/errno.h)."""
    return name_of(ERRORS, number)


def bits_of(names: dict[int, str], number: int) -> tuple[str, ...]:
    """The names of the bits that are set; those without a name are left out."""
    return tuple(name for bit, name in names.items() if number & bit)
