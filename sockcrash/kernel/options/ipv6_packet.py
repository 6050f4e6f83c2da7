# SPDX-License-Identifier: LGPL-2.1-or-later
"""IPV6_2292PKTOPTIONS: what recvmsg would say of the last packet of a TCP socket (do_ipv6_getsockopt)."""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.options.cmsgs import CMSGS, message
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import Option, absent, field

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context
    from sockcrash.model import Section

__all__ = ("PACKET_OPTIONS",)

_SKB = Group(
    "pktoptions",
    tuple(row(name, "struct sk_buff") for name in ("head", "network_header", "transport_header", "cb")),
)
_PARM = Group(
    "inet6_skb_parm",
    tuple(row(name, "struct inet6_skb_parm") for name in ("iif", "lastopt", "flags", "frag_max_size")),
)
_HOPBYHOP = 32  # IP6SKB_HOPBYHOP
_FLOWINFO = 0x0FFFFFFF
_BITS = (
    "rxinfo", "rxhlim", "rxtclass", "rxflow", "rxoinfo", "rxohlim", "rxorigdstaddr", "recvfragsize", "hopopts",
    "dstopts",
    "srcrt", "ohopopts", "odstopts", "osrcrt",
)  # fmt: skip
_REMEMBERED = (
    "mcast_oif", "mcast_hops", "rcv_flowinfo", "sticky_pktinfo.ipi6_ifindex", "sticky_pktinfo.ipi6_addr",
)  # fmt: skip


def _message(number: int, name: str, data: bytes) -> dict[str, Any]:
    return message("IPPROTO_IPV6", number, name, data)


def _value(context: Context, skb: int, peer: bytes, *members: Any) -> Any:
    bits = dict(zip(_BITS, members, strict=False))
    if not skb:
        return _remembered(context, bits, peer, *members[len(_BITS) :])
    try:
        return _of_packet(context, bits, skb)
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)


def _remembered(
    context: Context,
    bits: dict[str, int],
    peer: bytes,
    device: int,
    hops: int,
    flow: int,
    sticky_device: int,
    sticky: bytes,
) -> list[dict[str, Any]]:
    """Without a packet: facts of the SYN in an accepted socket, the sticky options otherwise."""
    order = context.kernel.byte_order
    info = (
        (peer + struct.pack(order + "I", device))
        if device
        else (sticky + struct.pack(order + "I", sticky_device))
    )
    flow_bytes = struct.pack(order + "I", flow)
    answers = (
        ("rxinfo", 50, "IPV6_PKTINFO", info),
        ("rxhlim", 52, "IPV6_HOPLIMIT", struct.pack(order + "i", hops)),
        ("rxtclass", 67, "IPV6_TCLASS", struct.pack(order + "i", _traffic_class(flow_bytes))),
        ("rxoinfo", 2, "IPV6_2292PKTINFO", info),
        ("rxohlim", 8, "IPV6_2292HOPLIMIT", struct.pack(order + "i", hops)),
        ("rxflow", 11, "IPV6_FLOWINFO", flow_bytes),
    )
    return [_message(number, name, data) for bit, number, name, data in answers if bits[bit]]


def _traffic_class(flow: bytes) -> int:
    return int.from_bytes(flow, "big") >> 20 & 0xFF


def _of_packet(context: Context, bits: dict[str, int], skb: int) -> Any:
    reader = context.kernel.reader(_SKB)
    (buffer,) = reader.sections(skb)
    (parm,) = context.kernel.reader(_PARM).sections(0, buffer["cb"])
    headers = parm["flags"] & _HOPBYHOP and (bits["hopopts"] or bits["ohopopts"])
    later = parm["lastopt"] and (bits["dstopts"] or bits["srcrt"] or bits["odstopts"] or bits["osrcrt"])
    if headers or later:
        return absent("the packet has extension headers, which are not taken apart here")
    header = context.kernel.read(buffer["head"] + buffer["network_header"], 40)
    ports = context.kernel.read(buffer["head"] + buffer["transport_header"], 4)
    return _answers(context, bits, parm, header, ports)


def _answers(
    context: Context, bits: dict[str, int], parm: Section, header: bytes, ports: bytes
) -> list[dict[str, Any]]:
    order = context.kernel.byte_order
    to = header[24:40]
    info = to + struct.pack(order + "I", parm["iif"])
    hops = struct.pack(order + "i", header[7])
    flow = (int.from_bytes(header[:4], "big") & _FLOWINFO).to_bytes(4, "big")
    scope = parm["iif"] if ipaddress.IPv6Address(to).is_link_local else 0
    original = (
        struct.pack(order + "H", uapi.AF_INET6) + ports[2:4] + bytes(4) + to + struct.pack(order + "I", scope)
    )
    answers = (
        ("rxinfo", 50, "IPV6_PKTINFO", info),
        ("rxhlim", 52, "IPV6_HOPLIMIT", hops),
        ("rxtclass", 67, "IPV6_TCLASS", struct.pack(order + "i", _traffic_class(header[:4]))),
        ("rxflow", 11, "IPV6_FLOWINFO", flow if any(flow) else b""),
        ("rxoinfo", 2, "IPV6_2292PKTINFO", info),
        ("rxohlim", 8, "IPV6_2292HOPLIMIT", hops),
        ("rxorigdstaddr", 74, "IPV6_ORIGDSTADDR", original),
        ("recvfragsize", 77, "IPV6_RECVFRAGSIZE", struct.pack(order + "i",
            parm["frag_max_size"]) if parm["frag_max_size"] else b""),
    )  # fmt: skip
    return [_message(number, name, data) for bit, number, name, data in answers if bits[bit] and data]


PACKET_OPTIONS = Option(
    "IPPROTO_IPV6", "IPV6_2292PKTOPTIONS", 6, CMSGS,
    (
        field("inet_sock", "pinet6->pktoptions"),
        field("sock", "__sk_common.skc_v6_daddr"),
        *(field("inet_sock", f"pinet6->rxopt.bits.{name}") for name in _BITS),
        *(field("inet_sock", f"pinet6->{name}") for name in _REMEMBERED),
    ),
    _value, origin=kernel, kinds=("tcp", "inet"), fresh=True,
)  # fmt: skip
