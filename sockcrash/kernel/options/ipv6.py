# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level IPPROTO_IPV6 (net/ipv6/ipv6_sockglue.c, do_ipv6_setsockopt and do_ipv6_getsockopt)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.layout import Field, Place
from sockcrash.kernel.options import settings
from sockcrash.kernel.options.codecs import BLOB, BYTES, HEX, INT, SWITCH, Codec, choice, flags, shown
from sockcrash.kernel.options.ip import (
    DISCOVER,
    IN_ORDER_OF_NETWORK,
    device_text,
    inet_flag,
    route_mtu,
    tos_origin,
)
from sockcrash.kernel.options.ipv6_packet import PACKET_OPTIONS
from sockcrash.kernel.options.memberships import ROWS6
from sockcrash.kernel.options.origins import KERNEL, SET, captured, kernel, marked, unless
from sockcrash.kernel.options.routes import hop_limit
from sockcrash.kernel.options.row import INET_KINDS, SET_ONLY, Default, Option, absent, field, no_trace
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

_OPTIN, _OPTOUT, _FORCED = 2, 1, 3  # net.ipv6.auto_flowlabels


def _np(*paths: str | Place, name: str = "") -> Field:
    """A member of struct ipv6_pinfo."""
    places = tuple(Place(f"pinet6->{path}") if isinstance(path, str) else path for path in paths)
    return field("inet_sock", *places, name=name or (paths[0] if isinstance(paths[0], str) else ""))


def _np_flag(name: str, member: str) -> Field:
    """A flag that v6.7 moved from a bit-field of struct ipv6_pinfo into inet_flags."""
    return inet_flag(name, Place(f"pinet6->{member}"))


def _row(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("IPPROTO_IPV6", name, number, codec, fields, kinds=more.pop("kinds", INET_KINDS), **more)


def _switch(name: str, number: int, member: Field, **more: Any) -> Option:
    return _row(name, number, SWITCH, member, default=more.pop("default", 0), **more)


def _receive(name: str, number: int, bit: str) -> Option:
    return _switch(name, number, _np(f"rxopt.bits.{bit}"))


_DST = field("sock", "sk_dst_cache")


def _address_form(_context: Context, family: int, state: int) -> Any:
    return family if state == 1 else absent("ENOTCONN: not connected")


def _hops(context: Context, dst: int, own: int) -> Any:
    if own >= 0:
        return own
    try:
        of_route = hop_limit(context.kernel, dst) if dst else None
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)
    return context.setting(settings.HOP_LIMIT) if of_route is None else of_route


_HOPS_DEFAULT = Default(lambda context, *_: context.setting(settings.HOP_LIMIT), settings.HOP_LIMIT)


def _hops_origin(_context: Context, value: int, default: int, _dst: int, own: int) -> str | None:
    """Unset, it is the route's or the device's where there is a route."""
    if own >= 0:
        return SET
    return "default" if value == default else KERNEL


def _auto_label_default(context: Context, *_: Any) -> Any:
    setting = context.setting(settings.AUTO_FLOWLABELS)
    return int(setting in (_OPTOUT, _FORCED)) if isinstance(setting, int) else setting


def _auto_label(context: Context, was_set: int, own: int) -> Any:
    return own if was_set else _auto_label_default(context)


# IPV6_PREFER_SRC_*: getsockopt spells out the defaults
_PREFERENCES = {1: "TMP", 2: "PUBLIC", 4: "COA", 0x100: "PUBTMP_DEFAULT", 0x400: "HOME"}


def _preferences(_context: Context, chosen: int) -> int:
    source = 1 if chosen & 1 else 2 if chosen & 2 else 0x100
    return source | (4 if chosen & 4 else 0x400)


def _sticky(context: Context, pointer: Any) -> Any:
    """An extension header that every packet gets: 8 * (hdrlen + 1) bytes."""
    if isinstance(pointer, Absent):
        return "" if pointer.reason is Reason.NOT_APPLICABLE else pointer
    if not pointer:
        return ""
    try:
        length = (context.kernel.read(pointer + 1, 1)[0] + 1) * 8
        return context.kernel.read(pointer, length).hex()
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)


def _header(name: str, number: int, member: str) -> Option:
    return _row(
        name, number, BLOB, _np(f"opt->{member}"), value=_sticky, default="", lenient=True, fresh=True
    )


def _path_mtu(context: Context, dst: int) -> Any:
    size = route_mtu(context, dst)
    return {"address": "::", "mtu": size} if isinstance(size, int) else size


def _pack_path_mtu(value: dict[str, Any], order: str) -> bytes:
    """struct ip6_mtuinfo: a struct sockaddr_in6 that the kernel leaves empty, and the MTU."""
    return bytes(28) + struct.pack(order + "I", value["mtu"])


def _pktinfo(_context: Context, address: bytes, ifindex: int) -> dict[str, Any]:
    return {"address": socket.inet_ntop(socket.AF_INET6, address), "ifindex": ifindex}


def _pktinfo_text(value: dict[str, Any]) -> str:
    return (
        f"{value['address']} device {value['ifindex']}"
        if any((value["ifindex"], value["address"] != "::"))
        else "none"
    )


def _mtu_text(_context: Context, value: int, _dst: int, asked: int) -> str:
    return f"{BYTES.text(value)} (asked for {asked})" if asked else BYTES.text(value)


def _accepted(context: Context, *_: Any) -> bool:
    """tcp_v6_syn_recv_sock() keeps facts of the SYN there; no stream socket can set it."""
    return bool(context.accepted)


_CONNECTABLE = ("tcp", "udp", "udplite")
_NO_INPUT = "the caller must say which label"

ROWS = (
    _row(
        "IPV6_ADDRFORM", 1, choice(uapi.FAMILIES), field("sock", "__sk_common.skc_family"), field("sock",
            "__sk_common.skc_state"),
        value=_address_form, origin=kernel, kinds=_CONNECTABLE,
    ),
    _receive("IPV6_2292PKTINFO", 2, "rxoinfo"),
    _receive("IPV6_2292HOPOPTS", 3, "ohopopts"),
    _receive("IPV6_2292DSTOPTS", 4, "odstopts"),
    _receive("IPV6_2292RTHDR", 5, "osrcrt"),
    PACKET_OPTIONS,
    _receive("IPV6_2292HOPLIMIT", 8, "rxohlim"),
    _receive("IPV6_FLOWINFO", 11, "rxflow"),
    _row(
        "IPV6_UNICAST_HOPS", 16, INT, _DST, _np("hop_limit"), value=_hops, default=_HOPS_DEFAULT,
        origin=_hops_origin, fresh=True
    ),
    _row(
        "IPV6_MULTICAST_IF", 17, INT, _np("mcast_oif"), default=0, origin=unless(_accepted, KERNEL),
        text=device_text, fresh=True
    ),
    _row(
        "IPV6_MULTICAST_HOPS", 18, INT, _DST, _np("mcast_hops"), value=_hops, default=1, origin=unless(_accepted,
            KERNEL),
        fresh=True,
    ),
    _switch("IPV6_MULTICAST_LOOP", 19, _np_flag("MC6_LOOP", "mc_loop"), default=1),
    *ROWS6,
    # getsockopt has it since the flag moved into inet_flags; before, it stands in ip6_ra_chain only.
    _switch("IPV6_ROUTER_ALERT", 22, field("inet_sock", Place("inet_flags", bit="INET_FLAGS_RTALERT"),
        name="RTALERT")),
    _row("IPV6_MTU_DISCOVER", 23, choice(DISCOVER), _np("pmtudisc"), default=1),
    _row(
        "IPV6_MTU", 24, BYTES, _DST, value=route_mtu, marks=(_np("frag_size"),), text=_mtu_text, origin=kernel,
        fresh=True
    ),
    _switch("IPV6_RECVERR", 25, _np_flag("RECVERR6", "recverr")),
    _row(
        "IPV6_V6ONLY", 26, SWITCH, field("sock", "__sk_common.skc_ipv6only"), origin=captured,
        default=Default(lambda context, *_: context.setting(settings.BINDV6ONLY), settings.BINDV6ONLY),
    ),
    _switch("IPV6_MULTICAST_ALL", 29, _np_flag("MC6_ALL", "mc_all"), default=1),
    _switch("IPV6_ROUTER_ALERT_ISOLATE", 30, _np_flag("RTALERT_ISOLATE", "rtalert_isolate")),
    _switch("IPV6_RECVERR_RFC4884", 31, _np_flag("RECVERR6_RFC4884", "recverr_rfc4884")),
    _row("IPV6_FLOWLABEL_MGR", 32, INT, **no_trace(_NO_INPUT), origin=kernel),
    _switch("IPV6_FLOWINFO_SEND", 33, _np_flag("SNDFLOW", "sndflow")),
    _receive("IPV6_RECVPKTINFO", 49, "rxinfo"),
    _row(
        "IPV6_PKTINFO", 50, shown("object", _pktinfo_text), _np("sticky_pktinfo.ipi6_addr"),
        _np("sticky_pktinfo.ipi6_ifindex"),
        value=_pktinfo, default={"address": "::", "ifindex": 0}, raw=SET_ONLY,
    ),
    _receive("IPV6_RECVHOPLIMIT", 51, "rxhlim"),
    _receive("IPV6_RECVHOPOPTS", 53, "hopopts"),
    _header("IPV6_HOPOPTS", 54, "hopopt"),
    _header("IPV6_RTHDRDSTOPTS", 55, "dst0opt"),
    _receive("IPV6_RECVRTHDR", 56, "srcrt"),
    _header("IPV6_RTHDR", 57, "srcrt"),
    _receive("IPV6_RECVDSTOPTS", 58, "dstopts"),
    _header("IPV6_DSTOPTS", 59, "dst1opt"),
    _receive("IPV6_RECVPATHMTU", 60, "rxpmtu"),
    _row(
        "IPV6_PATHMTU", 61, Codec("object", _pack_path_mtu, lambda value: BYTES.text(value["mtu"])), _DST,
        value=_path_mtu,
        origin=kernel, fresh=True,
    ),
    _switch("IPV6_DONTFRAG", 62, _np_flag("DONTFRAG", "dontfrag")),
    _receive("IPV6_RECVTCLASS", 66, "rxtclass"),
    _row("IPV6_TCLASS", 67, HEX, _np("tclass"), default=0, origin=tos_origin),
    _row(
        "IPV6_AUTOFLOWLABEL", 70, SWITCH, _np_flag("AUTOFLOWLABEL_SET", "autoflowlabel_set"),
        _np_flag("AUTOFLOWLABEL", "autoflowlabel"),
        value=_auto_label, default=Default(_auto_label_default, settings.AUTO_FLOWLABELS), origin=marked(0),
    ),
    _row(
        "IPV6_ADDR_PREFERENCES", 72, flags(_PREFERENCES), _np("srcprefs"), value=_preferences, default=0x500
    ),
    _row("IPV6_MINHOPCOUNT", 73, INT, _np("min_hopcount"), default=0),
    _receive("IPV6_RECVORIGDSTADDR", 74, "rxorigdstaddr"),
    _switch("IPV6_TRANSPARENT", 75, inet_flag("TRANSPARENT", Place("transparent"))),
    _row("IPV6_UNICAST_IF", 76, IN_ORDER_OF_NETWORK, _np("ucast_oif"), default=0, text=device_text, fresh=True),
    _receive("IPV6_RECVFRAGSIZE", 77, "recvfragsize"),
    _switch("IPV6_FREEBIND", 78, inet_flag("FREEBIND", Place("freebind"))),
)  # fmt: skip
