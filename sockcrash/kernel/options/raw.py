# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of RAW sockets: filters of ICMP types, checksums (net/ipv4/raw.c, net/ipv6/raw.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.kernel import uapi
from sockcrash.kernel.layout import Field, Place
from sockcrash.kernel.options.codecs import INT, SWITCH, Codec, items, with_text
from sockcrash.kernel.options.ip import inet_flag
from sockcrash.kernel.options.row import Default, Option, absent, field

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

_ICMP, _ICMPV6 = 1, 58
_NUMBER = field("sock", "__sk_common.skc_num")
_NO_ICMP = absent("EOPNOTSUPP: for sockets of ICMP only")


def _row(
    level: str, name: str, number: int, codec: Codec, *fields: Field, family: int, **more: Any
) -> Option:
    return Option(level, name, number, codec, fields, kinds=("raw",), families=(family,), **more)


def _filter_text(value: list[int]) -> str:
    blocked = [
        str(word * 32 + bit) for word, bits in enumerate(value) for bit in range(32) if bits >> bit & 1
    ]
    return (
        "all pass"
        if not blocked
        else f"{len(blocked)} types blocked"
        if len(blocked) > 16
        else f"blocked: {' '.join(blocked)}"
    )


def _of_icmp(number: int) -> Any:
    def value(_context: Context, bits: Any, protocol: int) -> Any:
        if protocol != number:
            return _NO_ICMP
        return [bits] if isinstance(bits, int) else list(bits)

    return value


def _checksum(_context: Context, on: int, offset: int) -> int:
    return offset if on else -1


_FILTER = items("I", _filter_text)
_V6 = uapi.AF_INET6

ROWS = (
    _row("SOL_RAW", "ICMP_FILTER", 1, _FILTER, field("raw_sock", "filter.data"), _NUMBER, value=_of_icmp(_ICMP),
        default=[0],
         family=uapi.AF_INET),
    _row("IPPROTO_ICMPV6", "ICMPV6_FILTER", 1, _FILTER, field("raw6_sock", "filter.data"), _NUMBER,
        value=_of_icmp(_ICMPV6),
         default=[0] * 8, family=_V6),
    _row(
        "IPPROTO_IPV6", "IPV6_CHECKSUM", 7, with_text(INT,
            lambda value: "off" if value < 0 else f"at offset {value}"),
        field("raw6_sock", "checksum"), field("raw6_sock", "offset"), value=_checksum, family=_V6, also=("SOL_RAW",),
        marks=(_NUMBER,), default=Default(lambda _context, _on, _offset, number: 2 if number == _ICMPV6 else -1),
    ),
    _row(
        "IPPROTO_IPV6", "IPV6_HDRINCL", 36, SWITCH, inet_flag("HDRINCL", Place("hdrincl")), marks=(_NUMBER,),
        family=_V6,
        also=("SOL_RAW",), default=Default(lambda _context, _own, number: int(number == 255)),
    ),
)  # fmt: skip
