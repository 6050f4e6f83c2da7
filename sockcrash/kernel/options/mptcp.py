# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of MPTCP sockets: their own, and those that they answer for their first subflow (net/mptcp/sockopt.c)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sockcrash.kernel.options import ip, ipv6, settings
from sockcrash.kernel.options.codecs import BYTES, COUNT, INT, SECONDS, SWITCH, Codec
from sockcrash.kernel.options.mptcp_info import MPTCP_INFO
from sockcrash.kernel.options.origins import kernel, marked
from sockcrash.kernel.options.row import Default, Option, field, no_trace

if TYPE_CHECKING:
    from sockcrash.kernel.layout import Field
    from sockcrash.kernel.options.context import Context

__all__ = ("FIRST", "OF_FIRST_SUBFLOW", "ROWS")

_KIND = ("mptcp",)
# 29b5e5ef8739 (v6.9) stands for all that came then.
_SINCE_V6_9 = (field("mptcp_sock", "notsent_lowat"),)
_MAXSEG = (field("mptcp_sock", "maxseg"),)

FIRST = (field("mptcp_sock", "first"), field("mptcp_sock", "flags"))
"""The first subflow, and the flags that say whether it answers everything (fell back to TCP)."""

OF_FIRST_SUBFLOW: dict[str, tuple[Field, ...]] = {
    "TCP_MAXSEG": _MAXSEG, "TCP_DEFER_ACCEPT": (), "TCP_INFO": (), "TCP_CONGESTION": (), "TCP_FASTOPEN": _SINCE_V6_9,
    "TCP_CC_INFO": (), "TCP_FASTOPEN_CONNECT": (), "TCP_ULP": (), "TCP_FASTOPEN_KEY": _SINCE_V6_9,
    "TCP_FASTOPEN_NO_COOKIE": _SINCE_V6_9,
}  # fmt: skip
"""Options of level IPPROTO_TCP that the first subflow answers, in kernels that have those members."""


def _tcp(name: str, number: int, codec: Codec, *members: str, **more: Any) -> Option:
    fields = tuple(field("mptcp_sock", member) for member in members)
    return Option("IPPROTO_TCP", name, number, codec, fields, kinds=_KIND, **more)


def _or_setting(setting: settings.Setting, *, jiffies: bool) -> dict[str, Any]:
    """The MPTCP socket keeps seconds where TCP keeps jiffies."""

    def seconds(context: Context, *_: Any) -> Any:
        value = context.setting(setting)
        return value // context.clock.hz if jiffies and isinstance(value, int) else value

    return {
        "value": lambda context, own: own or seconds(context),
        "default": Default(seconds, setting),
        "origin": marked(0),
    }


def _taken(rows: tuple[Option, ...], names: dict[str, tuple[Field, ...]]) -> tuple[Option, ...]:
    """Rows of the same members in the MPTCP socket itself."""
    return tuple(
        dataclasses.replace(row, kinds=_KIND, given=(*row.given, *names[row.name]))
        for row in rows
        if row.name in names
    )


def _input(name: str, number: int) -> Option:
    why = "the caller must say how much of it fits"
    return Option("SOL_MPTCP", name, number, INT, **no_trace(why), origin=kernel, kinds=_KIND)


ROWS = (
    _tcp("TCP_NODELAY", 1, SWITCH, "nodelay", default=0),
    _tcp("TCP_CORK", 3, SWITCH, "cork", default=0),
    _tcp("TCP_KEEPIDLE", 4, SECONDS, "keepalive_idle", **_or_setting(settings.TCP_KEEPALIVE_TIME, jiffies=True)),
    _tcp("TCP_KEEPINTVL", 5, SECONDS, "keepalive_intvl", **_or_setting(settings.TCP_KEEPALIVE_INTVL, jiffies=True)),
    _tcp("TCP_KEEPCNT", 6, COUNT, "keepalive_cnt", **_or_setting(settings.TCP_KEEPALIVE_PROBES, jiffies=False)),
    _tcp("TCP_NOTSENT_LOWAT", 25, BYTES, "notsent_lowat", default=0),
    _tcp("TCP_INQ", 36, SWITCH, "recvmsg_inq", default=0),
    _tcp("TCP_IS_MPTCP", 43, SWITCH, value=lambda _context: 1, origin=kernel, given=_SINCE_V6_9),
    *_taken(
        ip.ROWS,
        {"IP_TOS": (), "IP_FREEBIND": (), "IP_TRANSPARENT": (), "IP_BIND_ADDRESS_NO_PORT": _SINCE_V6_9,
         "IP_LOCAL_PORT_RANGE": _SINCE_V6_9},
    ),
    *_taken(ipv6.ROWS, {"IPV6_V6ONLY": (), "IPV6_TRANSPARENT": (), "IPV6_FREEBIND": ()}),
    MPTCP_INFO,
    _input("MPTCP_TCPINFO", 2),
    _input("MPTCP_SUBFLOW_ADDRS", 3),
    dataclasses.replace(_input("MPTCP_FULL_INFO", 4), given=_SINCE_V6_9),
)  # fmt: skip
