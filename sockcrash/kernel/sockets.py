# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which kinds of socket there are: how each is recognised, its struct, and the groups of rows that it has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import FULL, IDENTITY, SOCK, row
from sockcrash.kernel.fields_datagram import UDP
from sockcrash.kernel.fields_mptcp import MPTCP
from sockcrash.kernel.fields_netlink import NETLINK
from sockcrash.kernel.fields_packet import PACKET, XDP
from sockcrash.kernel.fields_tcp import REQUEST, TCP, TCP_TIMERS, TIMEWAIT
from sockcrash.kernel.fields_unix import UNIX
from sockcrash.kernel.fields_vsock import VSOCK
from sockcrash.kernel.layout import Group

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sockcrash.kernel.view import Kernel

__all__ = ("KINDS", "STRUCTS_ON_THE_WAY", "Kind", "kind_at", "kind_by_content", "kind_of", "mini_kind")

_INET = (uapi.AF_INET, uapi.AF_INET6)
_MOST_KNOWN = 256


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of socket. ``groups`` beyond identity are decoded from one read of ``ctype``."""

    name: str
    ctype: str
    groups: tuple[Group, ...]
    families: tuple[int, ...] = ()
    types: tuple[int, ...] = ()
    protocols: tuple[int, ...] = ()
    full: bool = True


_COMMON = (IDENTITY, FULL, SOCK)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "tcp",
            "struct tcp_sock",
            (*_COMMON, TCP, TCP_TIMERS),
            _INET,
            (uapi.SOCK_STREAM,),
            (uapi.IPPROTO_TCP,),
        ),
        Kind("tcp-timewait", "struct tcp_timewait_sock", (IDENTITY, TIMEWAIT), full=False),
        Kind("tcp-request", "struct tcp_request_sock", (IDENTITY, REQUEST), full=False),
        Kind(
            "mptcp", "struct mptcp_sock", (*_COMMON, MPTCP), _INET, (uapi.SOCK_STREAM,), (uapi.IPPROTO_MPTCP,)
        ),
        Kind("udp", "struct udp_sock", (*_COMMON, UDP), _INET, (uapi.SOCK_DGRAM,), (uapi.IPPROTO_UDP,)),
        Kind(
            "udplite", "struct udp_sock", (*_COMMON, UDP), _INET, (uapi.SOCK_DGRAM,), (uapi.IPPROTO_UDPLITE,)
        ),
        Kind(
            "ping",
            "struct inet_sock",
            _COMMON,
            _INET,
            (uapi.SOCK_DGRAM,),
            (uapi.IPPROTO_ICMP, uapi.IPPROTO_ICMPV6),
        ),
        Kind("raw", "struct raw_sock", _COMMON, _INET, (uapi.SOCK_RAW,)),
        Kind("unix", "struct unix_sock", (*_COMMON, UNIX), (uapi.AF_UNIX,)),
        Kind("packet", "struct packet_sock", (*_COMMON, PACKET), (uapi.AF_PACKET,)),
        Kind("netlink", "struct netlink_sock", (*_COMMON, NETLINK), (uapi.AF_NETLINK,)),
        Kind("vsock", "struct vsock_sock", (*_COMMON, VSOCK), (uapi.AF_VSOCK,)),
        Kind("xdp", "struct xdp_sock", (*_COMMON, XDP), (uapi.AF_XDP,)),
        Kind("inet", "struct inet_sock", _COMMON, _INET),
        Kind("other", "struct sock", _COMMON),
    )
}

# Where ``-f NAME`` looks for a member that no row names, per kind; each struct begins with the next one.
_INET_WAY = ("struct inet_sock", "struct sock", "struct sock_common")
STRUCTS_ON_THE_WAY: dict[str, tuple[str, ...]] = {
    "tcp": ("struct tcp_sock", "struct inet_connection_sock", *_INET_WAY),
    "tcp-timewait": ("struct tcp_timewait_sock", "struct inet_timewait_sock", "struct sock_common"),
    "tcp-request": (
        "struct tcp_request_sock",
        "struct inet_request_sock",
        "struct request_sock",
        "struct sock_common",
    ),
    "mptcp": ("struct mptcp_sock", "struct inet_connection_sock", *_INET_WAY),
    "udp": ("struct udp_sock", *_INET_WAY),
    "udplite": ("struct udp_sock", *_INET_WAY),
    "ping": _INET_WAY,
    "raw": ("struct raw_sock", *_INET_WAY),
    "inet": _INET_WAY,
    **{
        name: (KINDS[name].ctype, "struct sock", "struct sock_common")
        for name in ("unix", "packet", "netlink", "vsock", "xdp")
    },
    "other": ("struct sock", "struct sock_common"),
}

_HEAD = Group("head", (row("skc_family", "struct sock_common"), row("skc_state", "struct sock_common")))
_FULL_HEAD = Group("full_head", (row("sk_type", "struct sock"), row("sk_protocol", "struct sock")))

_BY_STATE = {uapi.TIME_WAIT: KINDS["tcp-timewait"], uapi.NEW_SYN_RECV: KINDS["tcp-request"]}


def mini_kind(family: int, state: int) -> Kind | None:
    """The kind of an inet object that is no full socket (``!sk_fullsock()``), else None."""
    return _BY_STATE.get(state) if family in _INET else None


def kind_at(kernel: Kernel, address: int, among: Collection[str] = ()) -> Kind:
    """The kind of the socket object at an address; ``among`` these, if it is known to be one of them.

    Of a mini socket nothing behind its common part is read. Raises drgn.FaultError.
    """
    clock, first, second = kernel.clock(), kernel.reader(_HEAD), kernel.reader(_FULL_HEAD)
    ((family, state),) = first.decode(first.fetch(address), clock, address)
    kind = mini_kind(family, state)
    if kind is not None:
        return kind
    try:
        ((type_, protocol),) = second.decode(second.fetch(address), clock, address)
    except drgn.FaultError:
        possible = [
            kind for kind in KINDS.values() if kind.name in among and family in kind.families and kind.full
        ]
        if len(possible) != 1:
            raise
        return possible[0]
    return kind_of(family, type_, protocol)


def kind_by_content(kernel: Kernel) -> Callable[[bytes], Kind]:
    """What gives the kind of a socket object by its first bytes, for very many of them.

    It knows again by the bytes that tell it, which hardly differ from one socket to the next.
    """
    reader, clock = kernel.reader(_HEAD, _FULL_HEAD), kernel.clock()
    telling = itemgetter(*(slice(start, start + length) for start, length in reader.spans))
    known: dict[Any, Kind] = {}

    def kind(content: bytes) -> Kind:
        key = telling(content)
        found = known.get(key)
        if found is None:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            head, full_head = reader.decode(content, clock, 0)
            found = known[key] = mini_kind(*head) or kind_of(head[0], *full_head)
        return found

    return kind


@lru_cache(maxsize=256)
def kind_of(family: int, type_: int, protocol: int) -> Kind:
    """The kind of a full socket."""
    for kind in KINDS.values():
        if (
            family in kind.families
            and (not kind.types or type_ in kind.types)
            and (not kind.protocols or protocol in kind.protocols)
        ):
            return kind
    return KINDS["other"]
