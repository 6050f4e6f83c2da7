# SPDX-License-Identifier: LGPL-2.1-or-later
"""What setsockopt(2) takes: how the bytes that a caller passes are read, by level and number, and what is secret.

Most options take what getsockopt gives, so that their rows say it. Here stand the others: those that can only be set
(net/ipv4/ip_sockglue.c, net/ipv6/ipv6_sockglue.c, net/core/sock.c, net/packet/af_packet.c), and those that take
something else than they give. A multicast request of a 32-bit program lacks the padding after its first member.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sockcrash.kernel import uapi
from sockcrash.kernel.options import ROWS
from sockcrash.kernel.options.codecs import (
    BLOB,
    BYTES,
    INT,
    SWITCH,
    TEXT,
    Codec,
    shown,
    unpacked,
    whole_number,
)
from sockcrash.kernel.options.row import LEVELS
from sockcrash.kernel.options.timeouts import TIMEVAL

__all__ = (
    "FETCHED",
    "HELD_AS",
    "LEVEL_NUMBERS",
    "STORAGE",
    "Given",
    "given",
    "level_name",
    "names",
    "options_called",
)

# Levels of include/linux/socket.h whose options have no rows.
_OTHER_LEVELS = {
    279: "SOL_ALG", 132: "SOL_SCTP", 269: "SOL_DCCP", 271: "SOL_TIPC", 272: "SOL_RXRPC", 273: "SOL_PPPOL2TP",
    274: "SOL_BLUETOOTH", 276: "SOL_RDS", 277: "SOL_IUCV", 278: "SOL_CAIF", 280: "SOL_NFC", 281: "SOL_KCM",
    285: "SOL_MCTP", 286: "SOL_SMC", 287: "SOL_VSOCK", 100: "SOL_CAN_BASE", 101: "SOL_CAN_RAW",
}  # fmt: skip
_LEVEL_NAMES = {**_OTHER_LEVELS, **{number: name for name, number in LEVELS.items()}}
LEVEL_NUMBERS = {name: number for number, name in _LEVEL_NAMES.items()}
"""The levels by the names that ``level_name`` gives."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one option takes. ``read(bytes, byte_order)`` gives its value (ValueError if they are too few).

    ``switch``: it turns something on or off. ``secret``: its value is never fetched. ``sparse``: all that is read of
    it lies in the parts that are fetched, however long it is.
    """

    level: str
    name: str
    number: int
    read: Callable[[bytes, str], Any] | None
    text: Callable[[Any], str]
    switch: bool
    secret: bool
    sparse: bool


def _v4(content: bytes) -> str:
    return str(ipaddress.IPv4Address(content))


def _v6(content: bytes) -> str:
    return str(ipaddress.IPv6Address(content))


def _on_device(value: dict[str, Any]) -> str:
    device = value.get("ifindex")
    where = f"device {device}" if device else str(value.get("address", "any device"))
    words = f"{value['group']} on {where}" if "group" in value else str(where)
    return words + (f" from {value['source']}" if "source" in value else "")


def _mreq(content: bytes, order: str) -> dict[str, Any]:
    """struct ip_mreq or ip_mreqn."""
    group, address = unpacked("4s4s", content, order)
    found: dict[str, Any] = {"group": _v4(group), "address": _v4(address)}
    if len(content) >= 12:
        found["ifindex"] = whole_number(content[8:], order)
    return found


def _mreq_source(content: bytes, order: str) -> dict[str, Any]:
    group, address, source = unpacked("4s4s4s", content, order)
    return {"group": _v4(group), "address": _v4(address), "source": _v4(source)}


def _multicast_if(content: bytes, order: str) -> dict[str, Any]:
    """struct in_addr, ip_mreq or ip_mreqn (whose group nobody looks at)."""
    if len(content) < 8:
        return {"address": _v4(unpacked("4s", content, order)[0])}
    found = _mreq(content, order)
    del found["group"]
    return found


def _mreq6(content: bytes, order: str) -> dict[str, Any]:
    """struct ipv6_mreq, in6_pktinfo: an address and the index of a device."""
    group, ifindex = unpacked("16si", content, order)
    return {"group": _v6(group), "ifindex": ifindex}


def _address_in(content: bytes, order: str, family: int | None = None) -> str:
    """The address of a struct sockaddr_in or sockaddr_in6."""
    family = int(unpacked("H", content, order)[0]) if family is None else family
    if family == uapi.AF_INET6:
        return _v6(unpacked("16s", content[8:], order)[0])
    if family != uapi.AF_INET:
        raise ValueError(f"an address of family {family}")
    return _v4(unpacked("4s", content[4:], order)[0])


STORAGE = 128  # sizeof(struct sockaddr_storage)


def _group(content: bytes, order: str) -> dict[str, Any]:
    """struct group_req and group_source_req (include/uapi/linux/in.h), and compat_group_req."""
    narrow = len(content) % (STORAGE * 2) in (4, STORAGE + 4)
    first = 4 if narrow else 8
    family = int(unpacked("H", content[first:], order)[0])
    found: dict[str, Any] = {
        "group": _address_in(content[first:], order),
        "ifindex": whole_number(content, order),
    }
    if len(content) > first + STORAGE:
        found["source"] = _address_in(content[first + STORAGE :], order, family)
    return found


def _flow_label(content: bytes, _order: str) -> dict[str, Any]:
    """struct in6_flowlabel_req; the label is in network order."""
    address, label, action, share = unpacked("16sIBB", content, ">")
    return {"address": _v6(address), "label": label, "action": action, "share": share}


def _program(content: bytes, order: str) -> dict[str, int]:
    """struct sock_fprog: how many instructions, and a pointer to them."""
    return {"instructions": int(unpacked("H", content, order)[0])}


def _old_timeval(content: bytes, order: str) -> dict[str, int]:
    """struct __kernel_old_timeval, of which a 32-bit program has a narrower one."""
    layout = "qq" if len(content) >= 16 else "ii"
    return dict(zip(("sec", "usec"), unpacked(layout, content, order), strict=True))


def _packet_mreq(content: bytes, order: str) -> dict[str, Any]:
    ifindex, kind, length, address = unpacked("iHH8s", content, order)
    return {"ifindex": ifindex, "type": kind, "address": address[: min(length, 8)].hex(":")}


def _named(layout: str, *names: str) -> Callable[[bytes, str], dict[str, int]]:
    return lambda content, order: dict(zip(names, unpacked(layout, content, order), strict=True))


def _pairs(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items())


def _takes(read: Callable[[bytes, str], Any], text: Callable[[Any], str] = _pairs) -> Codec:
    codec = shown("object", text)
    return Codec(codec.json, codec.pack, codec.text, read)


_DESCRIPTOR = Codec("integer", INT.pack, lambda value: f"the program of descriptor {value}", INT.unpack)
_PROGRAM = _takes(_program, lambda value: f"classic BPF, {value['instructions']} instructions")
_MREQ, _MREQ_SOURCE, _GROUP = (_takes(read, _on_device) for read in (_mreq, _mreq_source, _group))
_MREQ6 = _takes(_mreq6, _on_device)
_OLD_TIMEVAL = _takes(_old_timeval, TIMEVAL.text)
_RING = _takes(_named("IIII", "block_size", "blocks", "frame_size", "frames"))
_MULTICAST = {
    42: ("MCAST_JOIN_GROUP", _GROUP), 43: ("MCAST_BLOCK_SOURCE", _GROUP), 44: ("MCAST_UNBLOCK_SOURCE", _GROUP),
    45: ("MCAST_LEAVE_GROUP", _GROUP), 46: ("MCAST_JOIN_SOURCE_GROUP", _GROUP),
    47: ("MCAST_LEAVE_SOURCE_GROUP", _GROUP), 48: ("MCAST_MSFILTER", BLOB),
}  # fmt: skip
_ROUTING = ("INIT", "DONE", "ADD_VIF", "DEL_VIF", "ADD_MFC", "DEL_MFC", "VERSION", "ASSERT", "PIM", "TABLE")
_ROUTING_BLOBS = ("ADD_VIF", "DEL_VIF", "ADD_MFC", "DEL_MFC")


def _routing(prefix: str) -> dict[int, tuple[str, Codec]]:
    return {
        200 + at: (f"{prefix}_{name}", BLOB if name in _ROUTING_BLOBS else INT)
        for at, name in enumerate(_ROUTING)
    }


# level: number: name and what it takes, of options that take something else than they give, or give nothing
_TAKES: dict[str, dict[int, tuple[str, Codec]]] = {
    "SOL_SOCKET": {
        2: ("SO_REUSEADDR", SWITCH), 20: ("SO_RCVTIMEO_OLD", _OLD_TIMEVAL), 21: ("SO_SNDTIMEO_OLD", _OLD_TIMEVAL),
        25: ("SO_BINDTODEVICE", TEXT),
        26: ("SO_ATTACH_FILTER", _PROGRAM), 32: ("SO_SNDBUFFORCE", BYTES), 33: ("SO_RCVBUFFORCE", BYTES),
        50: ("SO_ATTACH_BPF", _DESCRIPTOR), 51: ("SO_ATTACH_REUSEPORT_CBPF", _PROGRAM),
        52: ("SO_ATTACH_REUSEPORT_EBPF", _DESCRIPTOR),
    },
    "IPPROTO_IP": {
        4: ("IP_OPTIONS", BLOB), 16: ("IP_IPSEC_POLICY", BLOB),
        32: ("IP_MULTICAST_IF", _takes(_multicast_if, _on_device)),
        35: ("IP_ADD_MEMBERSHIP", _MREQ), 36: ("IP_DROP_MEMBERSHIP", _MREQ), 37: ("IP_UNBLOCK_SOURCE", _MREQ_SOURCE),
        38: ("IP_BLOCK_SOURCE", _MREQ_SOURCE), 39: ("IP_ADD_SOURCE_MEMBERSHIP", _MREQ_SOURCE),
        40: ("IP_DROP_SOURCE_MEMBERSHIP", _MREQ_SOURCE), 41: ("IP_MSFILTER", BLOB), **_MULTICAST, **_routing("MRT"),
    },
    "IPPROTO_TCP": {
        22: ("TCP_REPAIR_OPTIONS", BLOB), 32: ("TCP_MD5SIG_EXT", BLOB), 35: ("TCP_ZEROCOPY_RECEIVE", BLOB),
        39: ("TCP_AO_DEL_KEY", BLOB),
    },
    "IPPROTO_IPV6": {
        6: ("IPV6_2292PKTOPTIONS", BLOB), 20: ("IPV6_ADD_MEMBERSHIP", _MREQ6), 21: ("IPV6_DROP_MEMBERSHIP", _MREQ6),
        27: ("IPV6_JOIN_ANYCAST", _MREQ6), 28: ("IPV6_LEAVE_ANYCAST", _MREQ6),
        32: ("IPV6_FLOWLABEL_MGR", _takes(_flow_label)), 34: ("IPV6_IPSEC_POLICY", BLOB),
        35: ("IPV6_XFRM_POLICY", BLOB),
        50: ("IPV6_PKTINFO", _MREQ6), 54: ("IPV6_HOPOPTS", BLOB), 55: ("IPV6_RTHDRDSTOPTS", BLOB),
        57: ("IPV6_RTHDR", BLOB), 59: ("IPV6_DSTOPTS", BLOB), **_MULTICAST, **_routing("MRT6"),
    },
    "SOL_PACKET": {
        1: ("PACKET_ADD_MEMBERSHIP", _takes(_packet_mreq)), 2: ("PACKET_DROP_MEMBERSHIP", _takes(_packet_mreq)),
        5: ("PACKET_RX_RING", _RING), 13: ("PACKET_TX_RING", _RING), 22: ("PACKET_FANOUT_DATA", BLOB),
    },
    "SOL_NETLINK": {1: ("NETLINK_ADD_MEMBERSHIP", INT), 2: ("NETLINK_DROP_MEMBERSHIP", INT)},
    "SOL_XDP": {4: ("XDP_UMEM_REG", _takes(_named("QQII", "addr", "len", "chunk_size", "headroom")))},
    "AF_VSOCK": {6: ("SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD", _OLD_TIMEVAL)},
    "SOL_ALG": {
        1: ("ALG_SET_KEY", BLOB), 2: ("ALG_SET_IV", BLOB), 3: ("ALG_SET_OP", INT), 4: ("ALG_SET_AEAD_ASSOCLEN", INT),
        5: ("ALG_SET_AEAD_AUTHSIZE", INT), 6: ("ALG_SET_DRBG_ENTROPY", BLOB), 7: ("ALG_SET_KEY_BY_KEY_SERIAL", INT),
    },
}  # fmt: skip

_SECRET: dict[str, frozenset[int]] = {
    "IPPROTO_IP": frozenset({16, 17}),
    "IPPROTO_TCP": frozenset({14, 32, 33, 38, 39, 40, 41, 42}),
    "IPPROTO_IPV6": frozenset({34, 35}),
    "SOL_TLS": frozenset({1, 2}),
    "SOL_ALG": frozenset({1, 2, 6, 7}),
}
"""Keys, and policies that hold some."""


HELD_AS: dict[str, tuple[str, int]] = {
    "SO_SNDBUF": ("SO_SNDBUF", 2), "SO_RCVBUF": ("SO_RCVBUF", 2),
    "SO_SNDBUFFORCE": ("SO_SNDBUF", 2), "SO_RCVBUFFORCE": ("SO_RCVBUF", 2),
    "SO_ATTACH_FILTER": ("SO_GET_FILTER", 1),
}  # fmt: skip
"""Where the value of an option is read back from, and how many times what was given the kernel makes of it."""


def level_name(number: int) -> str:
    """The name of a level, or its number."""
    return _LEVEL_NAMES.get(number, str(number))


@cache
def given(level: int, number: int) -> Given | None:
    """What an option takes, by the numbers of its level and its own; None if it is not known."""
    return _table().get((level_name(level), number))


@cache
def _table() -> dict[tuple[str, int], Given]:
    found: dict[tuple[str, int], tuple[str, Codec]] = {}
    for row in ROWS:
        for level in (row.level, *row.also):
            found.setdefault((level, row.number), (row.name, row.codec))
    for level, options in _TAKES.items():
        found |= {(level, number): taken for number, taken in options.items()}
    return {
        (level, number): Given(
            level,
            name,
            number,
            codec.unpack,
            codec.text,
            switch=codec is SWITCH,
            secret=number in _SECRET.get(level, ()),
            sparse=codec is _GROUP,
        )
        for (level, number), (name, codec) in found.items()
    }


def _fetched() -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    last: dict[str, int] = {}
    for level, number in _table():
        last[level] = max(number, last.get(level, 0))
    first = ("SOL_SOCKET", "IPPROTO_TCP")  # a filter is worked through in order, and these are set most
    order = (*first, *(level for level in LEVELS if level not in first))
    return tuple(
        (LEVELS[level], last[level], tuple(sorted(_SECRET.get(level, ()))))
        for level in order
        if level in last
    )


FETCHED = _fetched()
"""Level, greatest number, secret numbers between: the options whose values may be looked at, all others never."""


def options_called(name: str) -> list[Given]:
    """The options of a name, of all levels; TCP_NODELAY of one, MCAST_JOIN_GROUP of two."""
    return [one for one in _table().values() if one.name == name]


def names() -> list[str]:
    """The names of all options that can be given."""
    return sorted({one.name for one in _table().values()})
