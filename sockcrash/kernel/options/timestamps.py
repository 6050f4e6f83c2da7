# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level SOL_SOCKET for time stamps of packets: six numbers, three flags and a mask (net/core/sock.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.kernel.options.codecs import INT, SWITCH, Codec, flag_names, whole_number
from sockcrash.kernel.options.origins import unless
from sockcrash.kernel.options.row import Default, Option, bit, field

if TYPE_CHECKING:
    from sockcrash.kernel.layout import Field
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)


def _sock(path: str) -> Field:
    return field("sock", path)


def _flag(name: str) -> Field:
    return bit("sock", "__sk_common.skc_flags", name)


def _row(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("SOL_SOCKET", name, number, codec, fields, **more)


# Time stamps: four options share SOCK_RCVTSTAMP, SOCK_RCVTSTAMPNS and SOCK_TSTAMP_NEW.
_STAMP, _STAMP_NS, _STAMP_NEW = _flag("SOCK_RCVTSTAMP"), _flag("SOCK_RCVTSTAMPNS"), _flag("SOCK_TSTAMP_NEW")
_TIMESTAMPING = {
    1 << number: f"SOF_TIMESTAMPING_{name}"
    for number, name in enumerate(
        (
            "TX_HARDWARE", "TX_SOFTWARE", "RX_HARDWARE", "RX_SOFTWARE", "SOFTWARE", "SYS_HARDWARE", "RAW_HARDWARE",
            "OPT_ID", "TX_SCHED", "TX_ACK", "OPT_CMSG", "OPT_TSONLY", "OPT_STATS", "OPT_PKTINFO", "OPT_TX_SWHW",
            "BIND_PHC", "OPT_ID_TCP", "OPT_RX_FILTER", "TX_COMPLETION",
        )
    )
}  # fmt: skip
_PHC = _sock("sk_bind_phc")


def _pack_timestamping(value: dict[str, int], order: str) -> bytes:
    """struct so_timestamping; a bare int before v5.14 brought bind_phc (d463126e23f1)."""
    return b"".join(INT.pack(number, order) for number in value.values())


def _unpack_timestamping(content: bytes, order: str) -> dict[str, int]:
    numbers = (whole_number(content[at:], order) for at in range(0, min(len(content), 8), 4) or (0,))
    return dict(zip(("flags", "bind_phc"), numbers, strict=False))


_TIMESTAMPING_CODEC = Codec(
    "object",
    _pack_timestamping,
    lambda value: flag_names(_TIMESTAMPING, value["flags"]),
    _unpack_timestamping,
)


def _timestamping(_context: Context, flag_bits: int, phc: int | Any, *new: int) -> dict[str, int]:
    shown = not new or new[0]
    value = {"flags": flag_bits if shown else 0}
    if isinstance(phc, int):
        value["bind_phc"] = phc if shown else 0
    return value


def _no_timestamping(_context: Context, _flags: int, phc: int | Any, *_new: int) -> dict[str, int]:
    return {"flags": 0, "bind_phc": 0} if isinstance(phc, int) else {"flags": 0}


ROWS = (
    _row(
        "SO_TIMESTAMP_OLD", 29, SWITCH, _STAMP, _STAMP_NEW, _STAMP_NS, default=0,
        value=lambda _context, stamp, new, ns: int(stamp and not new and not ns),
    ),
    _row("SO_TIMESTAMPNS_OLD", 35, SWITCH, _STAMP_NS, _STAMP_NEW, value=lambda _c, ns, new: int(ns and not new),
        default=0),
    _row(
        "SO_TIMESTAMPING_OLD", 37, _TIMESTAMPING_CODEC, _sock("sk_tsflags"), _PHC, lenient=True,
        value=_timestamping, default=Default(_no_timestamping),
        marks=(_STAMP_NEW,), origin=unless(lambda _c, _v, _flags, _phc, new: new, None),
    ),
    _row(
        "SO_TIMESTAMP_NEW", 63, SWITCH, _STAMP, _STAMP_NEW, value=lambda _c, stamp, new: int(stamp and new),
        default=0,
        marks=(_STAMP_NS,), origin=unless(lambda _c, _v, _stamp, _new, ns: ns, None),
    ),
    _row("SO_TIMESTAMPNS_NEW", 64, SWITCH, _STAMP_NS, _STAMP_NEW, value=lambda _c, ns, new: int(ns and new),
        default=0),
    _row(
        "SO_TIMESTAMPING_NEW", 65, _TIMESTAMPING_CODEC, _sock("sk_tsflags"), _PHC, _STAMP_NEW, value=_timestamping,
        default=Default(_no_timestamping), marks=(_STAMP,), origin=unless(lambda _c, _v, _flags, _phc, _new,
            stamp: stamp, None),
    ),
)  # fmt: skip
