# SPDX-License-Identifier: LGPL-2.1-or-later
"""TCP_CC_INFO: what the congestion control tells of itself (``get_info`` of net/ipv4/tcp_*.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.congestion import PRIVATE_AREA, private_reader
from sockcrash.kernel.layout import Convert, Field, Place
from sockcrash.kernel.options.codecs import BLOB
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import Option, absent, field
from sockcrash.model import Absent, Section

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("CC_INFO",)

_Private = Callable[[Section, dict[str, int], int], tuple[str, tuple[int, ...]]]


def _bbr(private: Section, tcp: dict[str, int], _hz: int) -> tuple[str, tuple[int, ...]]:
    """struct tcp_bbr_info: bandwidth in bytes per second, from segments per µs << 24."""
    segments = private["lt_bw"] if private["lt_use_bw"] else private["bw.s[0].v"]
    rate = segments * tcp["mss_cache"] * 1_000_000 >> 24
    gains = private["min_rtt_us"], private["pacing_gain"], private["cwnd_gain"]
    return "5I", (rate & 0xFFFFFFFF, rate >> 32 & 0xFFFFFFFF, *gains)


def _dctcp(private: Section, tcp: dict[str, int], _hz: int) -> tuple[str, tuple[int, ...]]:
    """struct tcp_dctcp_info"""
    marked = tcp["mss_cache"] * (tcp["delivered_ce"] - private["old_delivered_ce"]) & 0xFFFFFFFF
    total = tcp["mss_cache"] * (tcp["delivered"] - private["old_delivered"]) & 0xFFFFFFFF
    return "HHIII", (1, private["ce_state"] & 0xFFFF, private["dctcp_alpha"], marked, total)


def _dctcp_off(_private: Section, _tcp: dict[str, int], _hz: int) -> tuple[str, tuple[int, ...]]:
    return "HHIII", (0, 0, 0, 0, 0)


def _vegas(private: Section, _tcp: dict[str, int], _hz: int) -> tuple[str, tuple[int, ...]]:
    """struct tcpvegas_info"""
    return "4I", (private["doing_vegas_now"], private["cntRTT"], private["baseRTT"], private["minRTT"])


def _yeah(private: Section, _tcp: dict[str, int], _hz: int) -> tuple[str, tuple[int, ...]]:
    names = ("doing_vegas_now", "cntRTT", "baseRTT", "minRTT")
    return "4I", tuple(private[f"vegas.{name}"] for name in names)


def _westwood(private: Section, _tcp: dict[str, int], hz: int) -> tuple[str, tuple[int, ...]]:
    return "4I", (1, 0, private["rtt"] * 1_000_000 // hz, private["rtt_min"] * 1_000_000 // hz)


def _illinois(private: Section, _tcp: dict[str, int], _hz: int) -> tuple[str, tuple[int, ...]]:
    count = private["cnt_rtt"]
    return "4I", (1, count, private["sum_rtt"] // count & 0xFFFFFFFF if count else 0, private["base_rtt"])


def _nv(private: Section, _tcp: dict[str, int], _hz: int) -> tuple[str, tuple[int, ...]]:
    return "4I", (1, private["nv_rtt_cnt"], private["nv_last_rtt"], private["nv_min_rtt"])


_PRIVATE: dict[str, _Private] = {
    "bbr": _bbr, "dctcp": _dctcp, "dctcp-reno": _dctcp_off, "vegas": _vegas, "yeah": _yeah, "westwood": _westwood,
    "illinois": _illinois, "nv": _nv,
}  # fmt: skip


def _value(context: Context, get_info: int, name: str, *members: int) -> Any:
    if not get_info:
        return ""
    compute = _PRIVATE.get(name)
    if compute is None:
        return absent(f"what {name} tells of itself is known to no row")
    reader = private_reader(context.kernel, name)
    if isinstance(reader, Absent):
        return reader
    try:
        (private,) = reader.sections(context.address + context.kernel.offsets(PRIVATE_AREA)["icsk_ca_priv"])
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)
    layout, values = compute(private, dict(zip(_MEMBERS, members, strict=True)), context.clock.hz)
    return struct.pack(context.kernel.byte_order + layout, *values).hex()


_MEMBERS = ("mss_cache", "delivered", "delivered_ce")
_ICSK = "struct inet_connection_sock"
CC_INFO = Option(
    "IPPROTO_TCP", "TCP_CC_INFO", 26, BLOB,
    (
        Field("icsk_ca_ops->get_info", _ICSK, (Place("icsk_ca_ops->get_info"),), shared=True),
        Field("congestion raw", _ICSK, (Place("icsk_ca_ops->name"),), (Convert("congestion", "text"),), shared=True),
        *(field("tcp_sock", name) for name in _MEMBERS),
    ),
    _value, origin=kernel, kinds=("tcp",), fresh=True,
)  # fmt: skip
