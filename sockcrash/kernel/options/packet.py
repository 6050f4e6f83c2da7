# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level SOL_PACKET (net/packet/af_packet.c, packet_setsockopt and packet_getsockopt)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, Place
from sockcrash.kernel.options.chain import linked
from sockcrash.kernel.options.codecs import BYTES, INT, SWITCH, UINT, Codec, choice, flag_names, record, shown
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.programs import program_text, program_value
from sockcrash.kernel.options.row import SET_ONLY, Option, absent, field, no_trace
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)


def _packet(*paths: str | Place, name: str = "") -> Field:
    return field("packet_sock", *paths, name=name)


def _flag(name: str, *older: Place) -> Field:
    return _packet(Place("flags", bit=f"PACKET_SOCK_{name}"), *older, name=name)


def _row(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("SOL_PACKET", name, number, codec, fields, kinds=("packet",), **more)


def _switch(name: str, number: int, member: Field, **more: Any) -> Option:
    return _row(name, number, SWITCH, member, default=0, **more)


# PACKET_ADD_MEMBERSHIP
_TYPES = {0: "multicast", 1: "promiscuous", 2: "allmulti", 3: "unicast"}
_MCLIST = Group(
    "packet_mclist",
    tuple(row(name, "struct packet_mclist") for name in ("next", "ifindex", "count", "type", "alen", "addr")),
)


def _memberships(context: Context, first: int) -> Any:
    try:
        return [
            {
                "ifindex": one["ifindex"],
                "type": _TYPES.get(one["type"], str(one["type"])),
                "address": one["addr"][: one["alen"]].hex(":"),
                "count": one["count"],
            }
            for one in linked(context.kernel, first, _MCLIST, "next")
        ]
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)


def _memberships_text(value: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['type']} {one['address']} on device {one['ifindex']}" for one in value) or "none"


# PACKET_RX_RING, PACKET_TX_RING
_NO_RING = Absent(Reason.NOT_ASSIGNED, "there is none")
_RING = ("pg_vec", "pg_vec_len", "pg_vec_pages", "frame_size", "frame_max")
_PAGE = 4096


def _ring(_context: Context, vector: int, blocks: int, pages: int, size: int, last: int) -> Any:
    if not vector:
        return _NO_RING
    return {"blocks": blocks, "block_size": pages * _PAGE, "frames": last + 1, "frame_size": size}


def _ring_text(value: dict[str, int]) -> str:
    return f"{value['blocks']} blocks of {value['block_size']} bytes, frames of {value['frame_size']}"


def _ring_row(name: str, number: int, member: str) -> Option:
    fields = (_packet(f"{member}.{part}") for part in _RING)
    return _row(
        name, number, shown("object", _ring_text), *fields, value=_ring, default=_NO_RING, raw=SET_ONLY
    )


# PACKET_FANOUT: id, type << 16, flags << 24
_FANOUTS = {0: "hash", 1: "lb", 2: "cpu", 3: "rollover", 4: "rnd", 5: "qm", 6: "cbpf", 7: "ebpf"}
_FANOUT_FLAGS = {0x10: "rollover", 0x20: "uniqueid", 0x40: "ignore_outgoing", 0x80: "defrag"}
_FANOUT = tuple(_packet(f"fanout->{name}") for name in ("id", "type", "flags"))


def _fanout(_context: Context, number: Any, kind: Any, flags: Any) -> Any:
    if isinstance(number, Absent):
        return 0 if number.reason is Reason.NOT_APPLICABLE else number
    return number | kind << 16 | flags << 24


def _fanout_text(value: int) -> str:
    if not value:
        return "none"
    kind, flags = value >> 16 & 0xFF, value >> 24
    more = f" {flag_names(_FANOUT_FLAGS, flags)}" if flags else ""
    return f"group {value & 0xFFFF} {_FANOUTS.get(kind, kind)}{more}"


def _fanout_data(context: Context, kind: Any, program: Any) -> Any:
    if kind not in (6, 7):
        return Absent(Reason.NOT_ASSIGNED, "no program chooses the socket")
    return program_value(context, program)


# PACKET_STATISTICS and PACKET_ROLLOVER_STATS
def _statistics(_context: Context, version: int, packets: int, freezes: int, drops: int) -> dict[str, int]:
    value = {"packets": packets + drops & 0xFFFFFFFF, "drops": drops}
    return {**value, "freeze_q_cnt": freezes} if version == 2 else value


def _pack_statistics(value: dict[str, int], order: str) -> bytes:
    return b"".join(INT.pack(number, order) for number in value.values())


def _pairs(value: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items())


_ROLLOVER = ("all", "huge", "failed")


def _rollover(_context: Context, *counters: Any) -> Any:
    if isinstance(counters[0], Absent):
        gone = counters[0].reason is Reason.NOT_APPLICABLE
        return absent("EINVAL: no rollover") if gone else counters[0]
    return dict(zip(_ROLLOVER, counters, strict=True))


# packet_direct_xmit() is what a socket without queueing discipline sends by; a flag since v6.6 or so.
def _bypass(context: Context, flag: Any, function: Any) -> Any:
    if isinstance(flag, int):
        return flag
    if isinstance(function, Absent):
        return function
    try:
        return int(context.kernel.prog.symbol(function).name == "packet_direct_xmit")
    except LookupError:
        return Absent(Reason.NO_TYPE_INFO, "no symbol says what sends its packets")


_VNET_HDR = (
    _packet(
        "vnet_hdr_sz", Place("flags", bit="PACKET_SOCK_HAS_VNET_HDR"), Place("has_vnet_hdr"), name="vnet_hdr"
    ),
)
_DROPS = (
    _packet("tp_version"), _packet("stats.stats1.tp_packets"), _packet("stats.stats3.tp_freeze_q_cnt"),
    _packet("tp_drops.counter"),
)  # fmt: skip

ROWS = (
    _row(
        "PACKET_ADD_MEMBERSHIP", 1, shown("list", _memberships_text), _packet("mclist"), value=_memberships,
        default=[],
        raw=SET_ONLY, fresh=True,
    ),
    _ring_row("PACKET_RX_RING", 5, "rx_ring"),
    # The call sets the counters back.
    _row("PACKET_STATISTICS", 6, Codec("object", _pack_statistics, _pairs), *_DROPS, value=_statistics,
        origin=kernel),
    # getsockopt has it since about v6.6, as vnet_hdr_sz.
    _row("PACKET_COPY_THRESH", 7, BYTES, _packet("copy_thresh"), default=0, given=(_packet("vnet_hdr_sz"),)),
    _switch("PACKET_AUXDATA", 8, _flag("AUXDATA", Place("auxdata"))),
    _switch("PACKET_ORIGDEV", 9, _flag("ORIGDEV", Place("origdev"))),
    _row("PACKET_VERSION", 10, choice({0: "TPACKET_V1", 1: "TPACKET_V2", 2: "TPACKET_V3"}), _packet("tp_version"),
        default=0),
    _row("PACKET_HDRLEN", 11, INT, **no_trace("the caller must say of which version"), origin=kernel),
    _row("PACKET_RESERVE", 12, BYTES, _packet("tp_reserve"), default=0),
    _ring_row("PACKET_TX_RING", 13, "tx_ring"),
    _switch("PACKET_LOSS", 14, _flag("TP_LOSS", Place("tp_loss"))),
    _row("PACKET_VNET_HDR", 15, SWITCH, *_VNET_HDR, value=lambda _context, size: int(bool(size)), default=0),
    _row("PACKET_TIMESTAMP", 17, INT, _packet("tp_tstamp"), default=0),
    _row("PACKET_FANOUT", 18, Codec("integer", INT.pack, _fanout_text, UINT.unpack), *_FANOUT, value=_fanout, default=0,
        lenient=True),
    _switch("PACKET_TX_HAS_OFF", 19, _flag("TX_HAS_OFF", Place("tp_tx_has_off"))),
    _row(
        "PACKET_QDISC_BYPASS", 20, SWITCH, _flag("QDISC_BYPASS"), _packet("xmit"), value=_bypass, default=0,
        lenient=True,
    ),
    _row(
        "PACKET_ROLLOVER_STATS", 21, record("QQQ", _ROLLOVER, _pairs),
        *(_packet(f"rollover->{name}.counter") for name in ("num", "num_huge", "num_failed")), value=_rollover,
        origin=kernel, lenient=True,
    ),
    _row(
        "PACKET_FANOUT_DATA", 22, shown("object", program_text), _packet("fanout->type"), _packet("fanout->bpf_prog"),
        value=_fanout_data, default=Absent(Reason.NOT_ASSIGNED), raw=SET_ONLY, lenient=True, fresh=True,
    ),
    _switch("PACKET_IGNORE_OUTGOING", 23, _packet("prot_hook.ignore_outgoing")),
    _row("PACKET_VNET_HDR_SZ", 24, BYTES, _packet("vnet_hdr_sz"), default=0),
)  # fmt: skip
