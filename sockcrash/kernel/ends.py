# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets have which two ends: connected TCP, MPTCP, UDP and UDP-Lite sockets of all namespaces."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.tables_other import mptcp_sockets, udp_sockets
from sockcrash.kernel.tables_tcp import tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockcrash.kernel.chains import Complain, Found
    from sockcrash.kernel.view import Kernel

__all__ = ("MEMBERS", "Ends", "by_ends", "ends_at", "ends_of", "reversed_ends", "stays_inside")

_C = "struct sock_common"
MEMBERS = (
    "skc_family",
    "skc_rcv_saddr",
    "skc_num",
    "skc_daddr",
    "skc_dport",
    "skc_v6_rcv_saddr",
    "skc_v6_daddr",
)
_ENDS = Group("ends", tuple(row(name, _C) for name in MEMBERS))
_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK6 = bytes(15) + b"\x01"

_PACK = {order: struct.Struct(f"{order}I").pack for order in "<>"}

# Local address and port, the peer's address and port: addresses of 4 or 16 bytes, ports in host order.
Ends = tuple[bytes, int, bytes, int]


def by_ends(kernel: Kernel, protocol: str, complain: Complain) -> dict[Ends, int | tuple[int, ...]]:
    """The sockets of ``tcp``, ``mptcp`` or ``udp`` that have a peer, by their ends: one, or one per namespace."""
    found: dict[Ends, int | tuple[int, ...]] = {}
    reader, clock = kernel.reader(_ENDS), kernel.clock()
    for one in _WALKS[protocol](kernel, complain):
        try:
            content = reader.fetch(one.address) if one.content is None else one.content
            ends = ends_of(kernel, *reader.decode(content, clock, one.address)[0])
        except drgn.FaultError as error:
            complain(f"a socket at {one.address:#x} is unreadable: {error}")
            continue
        if ends is not None:
            before = found.get(ends)
            if before is None:
                found[ends] = one.address
            else:
                others = before if isinstance(before, tuple) else (before,)
                if one.address not in others:
                    found[ends] = (*others, one.address)
    return found


_WALKS: dict[str, Callable[[Kernel, Complain], Iterator[Found]]] = {
    "tcp": tcp_sockets,
    "mptcp": mptcp_sockets,
    "udp": udp_sockets,
}


def ends_at(kernel: Kernel, address: int) -> Ends | None:
    """The ends of a socket, full or mini; None if it is not connected, or of another family. Raises drgn.FaultError.

    v4-mapped IPv6 addresses are what they stand for.
    """
    reader = kernel.reader(_ENDS)
    return ends_of(kernel, *reader.decode(reader.fetch(address), kernel.clock(), address)[0])


def ends_of(
    kernel: Kernel, family: int, saddr: int, sport: int, daddr: int, dport: int, saddr6: bytes, daddr6: bytes
) -> Ends | None:
    """The same of members that are read already, in the order of ``MEMBERS``."""
    if not dport or family not in (uapi.AF_INET, uapi.AF_INET6):
        return None
    port = socket.ntohs(dport) if kernel.byte_order == "<" else dport
    if family == uapi.AF_INET:
        pack = _PACK[kernel.byte_order]
        return pack(saddr), sport, pack(daddr), port
    return _plain(saddr6), sport, _plain(daddr6), port


def _plain(address: bytes) -> bytes:
    return address[12:] if address.startswith(_MAPPED) else address


def reversed_ends(ends: Ends) -> Ends:
    """The same, seen from the other end."""
    local, sport, peer, dport = ends
    return peer, dport, local, sport


def stays_inside(ends: Ends) -> bool:
    """Whether both ends are in one namespace, because the peer's address is a loopback one."""
    peer = ends[2]
    return peer[0] == 127 if len(peer) == 4 else peer == _LOOPBACK6
