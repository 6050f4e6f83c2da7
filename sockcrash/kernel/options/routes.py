# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the route that a socket has cached says: metrics, MTU, hop limit. All raise drgn.FaultError."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.options.row import first_lost
from sockcrash.model import Absent, Section

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context
    from sockcrash.kernel.view import Kernel

__all__ = ("RTAX_LOCK", "RTAX_RTO_MIN", "hop_limit", "metric", "mtu")

# include/uapi/linux/rtnetlink.h
RTAX_LOCK, RTAX_MTU, RTAX_HOPLIMIT, RTAX_RTO_MIN = 1, 2, 10, 13
_IP_MAX_MTU = _IP6_MAX_MTU = 65535
_IP6_MAX_MTU += 40  # sizeof(struct ipv6hdr)
_IPV6_MIN_MTU = 1280
_REDIRECT = 1 | 4  # LWTUNNEL_STATE_OUTPUT_REDIRECT, LWTUNNEL_STATE_XMIT_REDIRECT

_D = "struct dst_entry"
_DST = Group(
    "dst_entry",
    (
        row("_metrics", _D),
        row("expires", _D),
        row("family", _D, "ops->family"),
        row("xfrm", _D),
        row("device_mtu", _D, "dev->mtu"),
        row("device_mtu6", _D, "dev->ip6_ptr->cnf.mtu6"),
        row("device_hop_limit", _D, "dev->ip6_ptr->cnf.hop_limit"),
        row("tunnel_flags", _D, "lwtstate->flags"),
        row("tunnel_headroom", _D, "lwtstate->headroom"),
    ),
)
_RTABLE = Group(
    "rtable", tuple(row(name, "struct rtable") for name in ("rt_pmtu", "rt_mtu_locked", "rt_uses_gateway"))
)


def _metric(kernel: Kernel, route: Section, number: int) -> int:
    metrics = route["_metrics"] & ~3
    if not metrics:
        return 0
    (value,) = struct.unpack(kernel.byte_order + "I", kernel.read(metrics + 4 * (number - 1), 4))
    return int(value)


def metric(kernel: Kernel, dst: int, number: int) -> int:
    """dst_metric_raw() of a ``struct dst_entry *``: 0 if the metric is not set."""
    (route,) = kernel.reader(_DST).sections(dst)
    return _metric(kernel, route, number)


def mtu(context: Context, dst: int) -> int | Absent | None:
    """dst_mtu() of a ``struct dst_entry *``, in bytes; None where IPsec is on the way, which computes its own.

    Of a dump's the answer is remembered: sockets with one peer have one route.
    """
    kernel = context.kernel
    if kernel.live:
        return _mtu(context, dst)
    memo: dict[int, int | Absent | None] = kernel.cache.setdefault("mtu of routes", {})
    if dst not in memo:
        memo[dst] = _mtu(context, dst)
    return memo[dst]


def _mtu(context: Context, dst: int) -> int | Absent | None:
    kernel = context.kernel
    (route,) = kernel.reader(_DST).sections(dst)
    if isinstance(route["xfrm"], int) and route["xfrm"]:
        return None
    lost = first_lost(route[name] for name in ("family", "tunnel_flags", "tunnel_headroom"))
    if lost is not None:
        return lost
    value: int | Absent = (
        _mtu4(context, dst, route) if route["family"] == uapi.AF_INET else _mtu6(kernel, route)
    )
    if isinstance(value, Absent) or isinstance(route["tunnel_flags"], Absent):
        return value
    headroom = int(route["tunnel_headroom"])
    return value - headroom if route["tunnel_flags"] & _REDIRECT and headroom < value else value


def _mtu4(context: Context, dst: int, route: Section) -> int | Absent:
    """ipv4_mtu(), ip_dst_mtu_maybe_forward()"""
    (table,) = context.kernel.reader(_RTABLE).sections(dst)
    learned = int(table["rt_pmtu"])
    if learned and context.clock.jiffies < route["expires"]:
        return min(learned, _IP_MAX_MTU)
    configured = _metric(context.kernel, route, RTAX_MTU)
    if configured:
        return min(configured, _IP_MAX_MTU)
    size: int | Absent = route["device_mtu"]
    if isinstance(size, Absent):
        return size
    locked = table["rt_mtu_locked"] or _metric(context.kernel, route, RTAX_LOCK) >> RTAX_MTU & 1
    return min(size, 576 if locked and table["rt_uses_gateway"] else _IP_MAX_MTU)


def _mtu6(kernel: Kernel, route: Section) -> int | Absent:
    """ip6_mtu()"""
    size: int | Absent = _metric(kernel, route, RTAX_MTU) or route["device_mtu6"]
    if isinstance(size, Absent):
        return size if size.lost else _IPV6_MIN_MTU
    return min(size, _IP6_MAX_MTU)


def hop_limit(kernel: Kernel, dst: int) -> int | Absent | None:
    """ip6_dst_hoplimit() of a ``struct dst_entry *``; None where the namespace's setting rules."""
    (route,) = kernel.reader(_DST).sections(dst)
    limit: int | Absent = _metric(kernel, route, RTAX_HOPLIMIT) or route["device_hop_limit"]
    return None if isinstance(limit, Absent) and not limit.lost else limit
