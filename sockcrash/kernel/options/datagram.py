# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of levels IPPROTO_UDP and IPPROTO_UDPLITE, which both kinds of socket answer (net/ipv4/udp.c)."""

from __future__ import annotations

from typing import Any

from sockcrash.kernel.layout import Field, Place
from sockcrash.kernel.options.codecs import BYTES, SWITCH, Codec, choice
from sockcrash.kernel.options.row import Option, field

__all__ = ("ROWS",)

# include/uapi/linux/udp.h
_ENCAPSULATIONS = {
    0: "none", 1: "ESPINUDP_NON_IKE", 2: "ESPINUDP", 3: "L2TPINUDP", 4: "GTP0", 5: "GTP1U", 6: "RXRPC", 7: "TIPC",
    8: "OVPNINUDP",
}  # fmt: skip


def _udp(*paths: str | Place, name: str = "") -> Field:
    return field("udp_sock", *paths, name=name)


def _flag(name: str, member: str) -> Field:
    """A flag that v6.7 moved into udp_flags, and stable kernels took over."""
    return _udp(Place("udp_flags", bit=f"UDP_FLAGS_{name}"), Place(member), name=name)


def _row(
    name: str, number: int, codec: Codec, member: Field, level: str = "IPPROTO_UDP", **more: Any
) -> Option:
    other = "IPPROTO_UDPLITE" if level == "IPPROTO_UDP" else "IPPROTO_UDP"
    kinds = ("udp", "udplite")
    return Option(level, name, number, codec, (member,), kinds=kinds, default=0, also=(other,), **more)


ROWS = (
    _row("UDP_CORK", 1, SWITCH, _flag("CORK", "corkflag")),
    _row("UDPLITE_SEND_CSCOV", 10, BYTES, _udp("pcslen"), "IPPROTO_UDPLITE"),
    _row("UDPLITE_RECV_CSCOV", 11, BYTES, _udp("pcrlen"), "IPPROTO_UDPLITE"),
    _row("UDP_ENCAP", 100, choice(_ENCAPSULATIONS), _udp("encap_type")),
    _row("UDP_NO_CHECK6_TX", 101, SWITCH, _flag("NO_CHECK6_TX", "no_check6_tx")),
    _row("UDP_NO_CHECK6_RX", 102, SWITCH, _flag("NO_CHECK6_RX", "no_check6_rx")),
    _row("UDP_SEGMENT", 103, BYTES, _udp("gso_size")),
    _row("UDP_GRO", 104, SWITCH, _flag("GRO_ENABLED", "gro_enabled")),
)
