# SPDX-License-Identifier: LGPL-2.1-or-later
"""The multicast and anycast groups that a socket has joined, with their source filters."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, resolve
from sockcrash.kernel.options.chain import linked
from sockcrash.kernel.options.codecs import INT, shown
from sockcrash.kernel.options.origins import kernel as kernel_writes
from sockcrash.kernel.options.row import INET_KINDS, SET_ONLY, Option, field, no_trace
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS4", "ROWS6")

MAX_SOURCES = 4096
_MODES = {0: "exclude", 1: "include"}  # MCAST_EXCLUDE, MCAST_INCLUDE
_FOUR = Group(
    "ip_mc_socklist",
    tuple(
        row(name, "struct ip_mc_socklist", path)
        for name, path in (
            ("next", "next_rcu"), ("group", "multi.imr_multiaddr.s_addr"), ("address", "multi.imr_address.s_addr"),
            ("ifindex", "multi.imr_ifindex"), ("mode", "sfmode"), ("sources", "sflist"), ("count",
                "sflist->sl_count"),
        )
    ),
)  # fmt: skip
_SIX = Group(
    "ipv6_mc_socklist",
    tuple(
        row(name, "struct ipv6_mc_socklist", path)
        for name, path in (
            ("next", "next"), ("group", "addr"), ("ifindex", "ifindex"), ("mode", "sfmode"), ("sources", "sflist"),
            ("count", "sflist->sl_count"),
        )
    ),
)  # fmt: skip
_ANYCAST = Group(
    "ipv6_ac_socklist",
    tuple(
        row(name, "struct ipv6_ac_socklist", path)
        for name, path in (("next", "acl_next"), ("group", "acl_addr"), ("ifindex", "acl_ifindex"))
    ),
)


def _address(context: Context, raw: int | bytes) -> str:
    if isinstance(raw, int):
        order = "little" if context.kernel.byte_order == "<" else "big"
        return socket.inet_ntop(socket.AF_INET, raw.to_bytes(4, order))  # type: ignore[arg-type]
    return socket.inet_ntop(socket.AF_INET6, raw)


def _sources(context: Context, entry: Any, ctype: str, size: int) -> list[str]:
    if not entry["sources"]:
        return []
    _, first, _ = resolve(context.kernel.prog, ctype, "sl_addr")
    count = min(entry["count"], MAX_SOURCES)
    raw = context.kernel.read(entry["sources"] + first.offset, count * size)
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    return [socket.inet_ntop(family, raw[at : at + size]) for at in range(0, len(raw), size)]


def _entry4(context: Context, entry: Any) -> dict[str, Any]:
    return {
        "group": _address(context, entry["group"]),
        "address": _address(context, entry["address"]),
        "ifindex": entry["ifindex"],
        "mode": _MODES.get(entry["mode"], str(entry["mode"])),
        "sources": _sources(context, entry, "struct ip_sf_socklist", 4),
    }


def _entry6(context: Context, entry: Any) -> dict[str, Any]:
    return {
        "group": _address(context, entry["group"]),
        "ifindex": entry["ifindex"],
        "mode": _MODES.get(entry["mode"], str(entry["mode"])),
        "sources": _sources(context, entry, "struct ip6_sf_socklist", 16),
    }


def _anycast(context: Context, entry: Any) -> dict[str, Any]:
    return {"group": _address(context, entry["group"]), "ifindex": entry["ifindex"]}


def _list_of(group: Group, entry: Any) -> Any:
    def value(context: Context, first: Any) -> Any:
        if isinstance(first, Absent):
            return [] if first.reason is Reason.NOT_APPLICABLE else first
        try:
            return [entry(context, one) for one in linked(context.kernel, first, group, "next")]
        except drgn.FaultError as error:
            return context.kernel.unreadable(error)

    return value


def _text(value: list[dict[str, Any]]) -> str:
    return ", ".join(_one_text(one) for one in value) or "none"


def _one_text(one: dict[str, Any]) -> str:
    words = f"{one['group']} on device {one['ifindex']}"
    if one.get("sources"):
        words += f" {one['mode']} {' '.join(one['sources'])}"
    return words


def _joined(level: str, name: str, number: int, member: Field, value: Any, **more: Any) -> Option:
    return Option(
        level, name, number, shown("list", _text), (member,), value, default=[], raw=SET_ONLY, lenient=True,
        fresh=True,
        kinds=INET_KINDS, **more,
    )  # fmt: skip


def _needs_group(level: str, name: str, number: int) -> Option:
    why = "the caller must say of which group; all groups stand at the row of joining"
    return Option(level, name, number, INT, **no_trace(why), origin=kernel_writes, kinds=INET_KINDS)


ROWS4 = (
    _joined("IPPROTO_IP", "IP_ADD_MEMBERSHIP", 35, field("inet_sock", "mc_list"), _list_of(_FOUR, _entry4)),
    _needs_group("IPPROTO_IP", "IP_MSFILTER", 41),
    _needs_group("IPPROTO_IP", "MCAST_MSFILTER", 48),
)
ROWS6 = (
    _joined(
        "IPPROTO_IPV6",
        "IPV6_ADD_MEMBERSHIP",
        20,
        field("inet_sock", "pinet6->ipv6_mc_list"),
        _list_of(_SIX, _entry6),
    ),
    _joined(
        "IPPROTO_IPV6",
        "IPV6_JOIN_ANYCAST",
        27,
        field("inet_sock", "pinet6->ipv6_ac_list"),
        _list_of(_ANYCAST, _anycast),
    ),
    _needs_group("IPPROTO_IPV6", "MCAST_MSFILTER", 48),
)
