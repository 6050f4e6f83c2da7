# SPDX-License-Identifier: LGPL-2.1-or-later
"""MRT_* options: what the multicast router's table says, as RAW sockets of IGMP or ICMPv6 read it (net/ipv4/ipmr.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.options.chain import linked
from sockcrash.kernel.options.codecs import INT
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import Option, absent, field

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

_VERSION = 0x0305
_IGMP, _ICMPV6 = 2, 58
_DEFAULT4, _DEFAULT6 = 253, 254  # RT_TABLE_DEFAULT, RT6_TABLE_DFLT
_NOT_FOR_IT = absent("EOPNOTSUPP: for sockets of IGMP (IPv6: ICMPv6) only")
_NO_TABLE = absent("ENOENT: there is no such table")
_TABLE = Group(
    "mr_table",
    tuple(row(name, "struct mr_table") for name in ("list.next", "id", "mroute_do_assert", "mroute_do_pim")),
)
# Where there can be several tables, the namespace has a list of them.
_NET = Group(
    "mroute",
    (
        row("ipv4.mrt", "struct net"),
        row("ipv4.mr_tables", "struct net", "ipv4.mr_tables.next"),
        row("ipv6.mrt", "struct net", "ipv6.mrt6"),
        row("ipv6.mr_tables", "struct net", "ipv6.mr6_tables.next"),
    ),
)


def _tables(context: Context, version: str) -> list[Any]:
    (net,) = context.kernel.reader(_NET).sections(context.net)
    reader = context.kernel.reader(_TABLE)
    single = net[f"{version}.mrt"]
    if isinstance(single, int):
        return list(reader.sections(single)) if single else []
    first = net[f"{version}.mr_tables"]
    if not isinstance(first, int):
        return []
    head = context.net + context.kernel.offsets(_NET)[f"{version}.mr_tables"]
    link = context.kernel.offsets(_TABLE)["list.next"]
    if first == head:
        return []
    found = []
    for table in linked(context.kernel, first, _TABLE, "list.next", link):
        found.append(table)
        if table["list.next"] == head:
            break
    return found


def _value(version: str, protocol: int, default: int, member: str) -> Any:
    def value(context: Context, own: int, chosen: int) -> Any:
        if own != protocol:
            return _NOT_FOR_IT
        if not member:
            return _VERSION
        try:
            tables = _tables(context, version)
        except drgn.FaultError as error:
            return context.kernel.unreadable(error)
        return next((table[member] for table in tables if table["id"] == (chosen or default)), _NO_TABLE)

    return value


def _rows(
    level: str, prefix: str, family: int, version: str, protocol: int, default: int, chosen: Any
) -> tuple[Option, ...]:
    options = (("VERSION", 206, ""), ("ASSERT", 207, "mroute_do_assert"), ("PIM", 208, "mroute_do_pim"))
    return tuple(
        Option(
            level, f"{prefix}_{name}", number, INT, (field("sock", "__sk_common.skc_num"), chosen),
            _value(version, protocol, default, member), origin=kernel, kinds=("raw",), families=(family,), fresh=True,
        )
        for name, number, member in options
    )  # fmt: skip


ROWS = (
    *_rows("IPPROTO_IP", "MRT", uapi.AF_INET, "ipv4", _IGMP, _DEFAULT4, field("raw_sock", "ipmr_table")),
    *_rows(
        "IPPROTO_IPV6", "MRT6", uapi.AF_INET6, "ipv6", _ICMPV6, _DEFAULT6, field("raw6_sock", "ip6mr_table")
    ),
)
