# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level IPPROTO_IP (net/ipv4/ip_sockglue.c, do_ip_setsockopt and do_ip_getsockopt)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.devices import device_name
from sockcrash.kernel.layout import Field, Place, resolve
from sockcrash.kernel.options import settings
from sockcrash.kernel.options.cmsgs import CMSGS, message
from sockcrash.kernel.options.codecs import (
    BLOB,
    BYTES,
    HEX,
    INT,
    SWITCH,
    Codec,
    choice,
    shown,
    whole_number,
    with_text,
)
from sockcrash.kernel.options.memberships import ROWS4
from sockcrash.kernel.options.origins import DEFAULT, KERNEL, SET, differs, kernel, marked, unless
from sockcrash.kernel.options.routes import mtu
from sockcrash.kernel.options.row import INET_KINDS, SET_ONLY, Default, Option, absent, field
from sockcrash.model import Absent

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = (
    "DISCOVER",
    "IN_ORDER_OF_NETWORK",
    "NOT_CONNECTED",
    "ROWS",
    "device_text",
    "inet_flag",
    "route_mtu",
    "tos_origin",
)

_ECN = 3  # INET_ECN_MASK
DISCOVER = {0: "DONT", 1: "WANT", 2: "DO", 3: "PROBE", 4: "INTERFACE", 5: "OMIT"}
NOT_CONNECTED = absent("ENOTCONN: no route is cached")


def _inet(*paths: str | Place, name: str = "") -> Field:
    return field("inet_sock", *paths, name=name)


def inet_flag(name: str, older: Place) -> Field:
    """A flag that c274af224269 (v6.6) and its successors moved into inet_flags."""
    return _inet(Place("inet_flags", bit=f"INET_FLAGS_{name}"), older, name=name)


def _bit_field(name: str, member: str) -> Field:
    return inet_flag(name, Place(member))


def _cmsg(name: str, number: int) -> Field:
    """IP_CMSG_*: these had a byte of flags of their own before."""
    return inet_flag(name, Place("cmsg_flags", bit=number))


def _row(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("IPPROTO_IP", name, number, codec, fields, kinds=more.pop("kinds", INET_KINDS), **more)


def _switch(name: str, number: int, member: Field, **more: Any) -> Option:
    return _row(name, number, SWITCH, member, default=more.pop("default", 0), **more)


_TOS_TO_PRIORITY = (0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4)  # ip_tos2prio of net/ipv4/route.c


def tos_origin(context: Context, value: int, default: int, *_inputs: Any) -> str | None:
    """The two bits of ECN are TCP's own; an accepted socket may reflect the SYN's (net.ipv4.tcp_reflect_tos)."""
    if value == default:
        return DEFAULT
    if context.kind == "tcp":
        if not value & ~_ECN:
            return KERNEL
        if context.accepted:
            return None
    return SET


def _ip_tos_origin(context: Context, value: int, default: int, _tos: int, priority: int) -> str | None:
    """Setting IP_TOS sets sk_priority too, which nothing else does to an accepted socket but SO_PRIORITY."""
    origin = tos_origin(context, value, default)
    by_tos = _TOS_TO_PRIORITY[(value & 0x1E) >> 1]
    return SET if origin is None and by_tos and by_tos == priority else origin


def _ttl(context: Context, own: int) -> Any:
    return context.setting(settings.IP_DEFAULT_TTL) if own < 0 else own


def _discover_default(context: Context, *_: Any) -> Any:
    setting = context.setting(settings.IP_NO_PMTU_DISC)
    return setting if isinstance(setting, Absent) else 0 if setting else 1


def _discover_origin(_context: Context, value: int, default: int, _member: int) -> str | None:
    """The sysctl, which may have changed, gives 0 or 1."""
    return DEFAULT if value == default else SET if value > 1 else None


def route_mtu(context: Context, dst: int) -> Any:
    """The MTU of the route that a socket has cached."""
    if not dst:
        return NOT_CONNECTED
    try:
        size = mtu(context, dst)
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)
    if size is None:
        return absent("IPsec is on the way")
    return NOT_CONNECTED if size == 0 else size


_OPTIONS = (
    "inet_opt", "inet_opt->opt.faddr", "inet_opt->opt.optlen", "inet_opt->opt.srr", "inet_opt->opt.rr",
    "inet_opt->opt.ts", "inet_opt->opt.rr_needaddr", "inet_opt->opt.ts_needtime", "inet_opt->opt.ts_needaddr",
)  # fmt: skip
_IP_HEADER = 20
_TS_PRESPEC = 3


def _ip_options(context: Context, pointer: int, *members: Any) -> Any:
    """The options as they were set: ip_options_undo() takes back what ip_options_compile() prepared."""
    if not pointer:
        return ""
    _faddr, optlen, *_ = members
    if isinstance(optlen, Absent):
        return optlen
    _, where, _ = resolve(context.kernel.prog, "struct ip_options_rcu", "opt.__data")
    try:
        data = bytearray(context.kernel.read(pointer + where.offset, min(optlen, 40)))
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)
    _undo(data, members, context.kernel.byte_order)
    return data.hex()


def _undo(data: bytearray, members: tuple[int, ...], order: str) -> None:
    faddr, _optlen, srr, rr, ts, rr_address, ts_time, ts_address = members
    if srr:
        at = srr - _IP_HEADER
        length = data[at + 1] - 7
        data[at + 7 : at + 7 + length] = data[at + 3 : at + 3 + length]
        data[at + 3 : at + 7] = struct.pack(order + "I", faddr)
    if rr and rr_address:
        _back(data, rr - _IP_HEADER, clear=True)
    if ts:
        at = ts - _IP_HEADER
        if ts_time:
            _back(data, at, clear=True)
            if data[at + 3] & 0xF == _TS_PRESPEC:
                _back(data, at, clear=False)
        if ts_address:
            _back(data, at, clear=True)


def _back(data: bytearray, at: int, *, clear: bool) -> None:
    """Move an option's pointer back by one address or time, perhaps with zeroes left in its place."""
    data[at + 2] -= 4
    if clear:
        start = at + data[at + 2] - 1
        data[start : start + 4] = bytes(4)


def _packet_options(
    context: Context, pktinfo: int, ttl: int, tos: int, address: int, device: int, *last: int
) -> Any:
    """What recvmsg would say of the last packet, as far as the socket remembers it."""
    order = context.kernel.byte_order
    messages = []
    if pktinfo:
        messages.append(
            message("IPPROTO_IP", 8, "IP_PKTINFO", struct.pack(order + "iII", device, address, address))
        )
    for wanted, number, name, value in ((ttl, 2, "IP_TTL", last[0]), (tos, 1, "IP_TOS", last[1])):
        if wanted:
            messages.append(message("IPPROTO_IP", number, name, struct.pack(order + "i", value)))
    return messages


def _dotted(context: Context, address: int) -> str:
    return socket.inet_ntop(socket.AF_INET, struct.pack(context.kernel.byte_order + "I", address))


_IN_ADDR = Codec("string", lambda value, _order: socket.inet_pton(socket.AF_INET, value), str)


def _multicast_if_text(context: Context, value: str, _address: int, ifindex: int) -> str:
    return f"{value} (device {device_name(context.kernel, context.net, ifindex)})" if ifindex else value


def _multicast_if_origin(context: Context, _value: str, _default: str, address: int, ifindex: int) -> str:
    if address or (ifindex and not context.accepted):
        return SET
    return DEFAULT


def _network_order(value: int, _order: str) -> bytes:
    return struct.pack(">I", value & 0xFFFFFFFF)


IN_ORDER_OF_NETWORK = Codec(
    "integer", _network_order, str, lambda content, _order: whole_number(content, ">")
)


def device_text(context: Context, value: int, *_: Any) -> str:
    """An index of a device, with its name."""
    return f"{value} ({device_name(context.kernel, context.net, value)})" if value else "none"


def _port_range_text(value: int) -> str:
    return f"{value & 0xFFFF}-{value >> 16}" if value else "of the namespace"


def _port_range(_context: Context, whole: Any, low: Any, high: Any) -> Any:
    """Two numbers in a struct when it was new, one of 32 bits later."""
    return low | high << 16 if isinstance(low, int) else whole


def _policies_text(value: dict[str, int]) -> str:
    return " and ".join(way for way, there in value.items() if there) or "none"


_PKTINFO, _TTL, _TOS = _cmsg("PKTINFO", 0), _cmsg("TTL", 1), _cmsg("TOS", 2)
_HDRINCL = _bit_field("HDRINCL", "hdrincl")
_NUMBER = field("sock", "__sk_common.skc_num")
_DST = field("sock", "sk_dst_cache")


def _not_of_accepted(context: Context, *_: Any) -> bool:
    """tcp_v4_syn_recv_sock() keeps facts of the SYN there; no stream socket can set it."""
    return bool(context.accepted)


ROWS = (
    _row("IP_TOS", 1, HEX, _inet("tos"), default=0, marks=(field("sock", "sk_priority"),), origin=_ip_tos_origin),
    _row(
        "IP_TTL", 2, INT, _inet("uc_ttl"), value=_ttl, origin=marked(0, holds=lambda own: own >= 0),
        default=Default(lambda context, *_: context.setting(settings.IP_DEFAULT_TTL), settings.IP_DEFAULT_TTL),
    ),
    _switch("IP_HDRINCL", 3, _HDRINCL, kinds=("tcp", "udp", "udplite", "ping", "inet")),
    _row(
        "IP_HDRINCL", 3, SWITCH, _HDRINCL, marks=(_NUMBER,), kinds=("raw",),
        default=Default(lambda _context, _own, number: int(number == 255)),
    ),
    _row(
        "IP_OPTIONS", 4, BLOB, *(_inet(path) for path in _OPTIONS), value=_ip_options, default="", lenient=True,
        fresh=True,
        origin=unless(lambda context, *_: context.accepted, None),
    ),
    # getsockopt has it since the flag moved into inet_flags; before, it stands in net->ipv4.ra_chain only.
    _switch("IP_ROUTER_ALERT", 5, _inet(Place("inet_flags", bit="INET_FLAGS_RTALERT"), name="RTALERT")),
    _switch("IP_RECVOPTS", 6, _cmsg("RECVOPTS", 3)),
    _switch("IP_RETOPTS", 7, _cmsg("RETOPTS", 4)),
    _switch("IP_PKTINFO", 8, _PKTINFO),
    _row(
        "IP_PKTOPTIONS", 9, CMSGS, _PKTINFO, _TTL, _TOS, _inet("sk.__sk_common.skc_rcv_saddr"), _inet("mc_index"),
        _inet("mc_ttl"),
        _inet("rcv_tos"), value=_packet_options, origin=kernel, kinds=("tcp", "inet"),
    ),
    _row(
        "IP_MTU_DISCOVER", 10, choice(DISCOVER), _inet("pmtudisc"), default=Default(_discover_default,
            settings.IP_NO_PMTU_DISC),
        origin=_discover_origin,
    ),
    _switch("IP_RECVERR", 11, _bit_field("RECVERR", "recverr")),
    _switch("IP_RECVTTL", 12, _TTL),
    _switch("IP_RECVTOS", 13, _TOS),
    _row("IP_MTU", 14, BYTES, _DST, value=route_mtu, origin=kernel, fresh=True),
    _switch("IP_FREEBIND", 15, _bit_field("FREEBIND", "freebind")),
    _row(
        "IP_XFRM_POLICY", 17, shown("object", _policies_text), field("sock", "sk_policy"), default={"in": 0,
            "out": 0}, raw=SET_ONLY,
        value=lambda _context, policies: {"in": int(bool(policies[0])), "out": int(bool(policies[1]))},
    ),
    _switch("IP_PASSSEC", 18, _cmsg("PASSSEC", 5)),
    _switch("IP_TRANSPARENT", 19, _bit_field("TRANSPARENT", "transparent")),
    _switch("IP_RECVORIGDSTADDR", 20, _cmsg("ORIGDSTADDR", 6)),
    _row("IP_MINTTL", 21, INT, _inet("min_ttl"), default=0),
    _switch("IP_NODEFRAG", 22, _bit_field("NODEFRAG", "nodefrag")),
    _switch("IP_CHECKSUM", 23, _cmsg("CHECKSUM", 7)),
    _switch("IP_BIND_ADDRESS_NO_PORT", 24, _bit_field("BIND_ADDRESS_NO_PORT", "bind_address_no_port")),
    _switch("IP_RECVFRAGSIZE", 25, _cmsg("RECVFRAGSIZE", 8)),
    _switch("IP_RECVERR_RFC4884", 26, _bit_field("RECVERR_RFC4884", "recverr_rfc4884")),
    _row(
        "IP_MULTICAST_IF", 32, _IN_ADDR, _inet("mc_addr"), value=_dotted, default="0.0.0.0",
        marks=(_inet("mc_index"),),
        origin=_multicast_if_origin, text=_multicast_if_text,
    ),
    _row("IP_MULTICAST_TTL", 33, INT, _inet("mc_ttl"), default=1, origin=unless(_not_of_accepted, KERNEL)),
    _switch("IP_MULTICAST_LOOP", 34, _bit_field("MC_LOOP", "mc_loop"), default=1),
    *ROWS4,
    _switch(
        "IP_MULTICAST_ALL", 49, _bit_field("MC_ALL", "mc_all"), origin=differs,
        default=Default(lambda context, *_: int(context.family == uapi.AF_INET)),
    ),
    _row("IP_UNICAST_IF", 50, IN_ORDER_OF_NETWORK, _inet("uc_index"), default=0, text=device_text, fresh=True),
    _row(
        "IP_LOCAL_PORT_RANGE", 51, with_text(INT, _port_range_text), _inet("local_port_range"),
        _inet("local_port_range.lo"),
        _inet("local_port_range.hi"), value=_port_range, default=0, lenient=True,
    ),
    _row("IP_PROTOCOL", 52, INT, _NUMBER, origin=kernel),
)  # fmt: skip
