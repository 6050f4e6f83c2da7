# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level SOL_NETLINK (net/netlink/af_netlink.c, netlink_setsockopt and netlink_getsockopt)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.layout import Field, Place
from sockcrash.kernel.options.codecs import SWITCH, shown
from sockcrash.kernel.options.row import Option, field
from sockcrash.model import Absent

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

MAX_GROUPS = 1 << 20


def _netlink(*paths: str | Place, name: str = "") -> Field:
    return field("netlink_sock", *paths, name=name)


def _switch(name: str, number: int, bit: int, **more: Any) -> Option:
    """A bit of nlk->flags: NETLINK_F_*, masks before v6.6 and numbers of bits since, with the same meaning."""
    member = _netlink(Place("flags", bit=bit), name=name)
    return Option("SOL_NETLINK", name, number, SWITCH, (member,), default=0, kinds=("netlink",), **more)


def _bitmap(context: Context, pointer: int, count: int) -> bytes | Absent:
    """The memberships as the call gives them: words of 32 bits."""
    if not pointer or not 0 < count <= MAX_GROUPS:
        return b""
    try:
        longs = context.kernel.read(pointer, -(-count // 64) * 8)
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)
    size = -(-count // 32) * 4
    if context.kernel.byte_order == "<":
        return longs[:size]
    halves = [longs[at + 4 : at + 8] + longs[at : at + 4] for at in range(0, len(longs), 8)]
    return b"".join(halves)[:size]


def _groups(context: Context, pointer: int, count: int) -> Any:
    raw = _bitmap(context, pointer, count)
    if isinstance(raw, Absent):
        return raw
    order = "little" if context.kernel.byte_order == "<" else "big"
    words = (int.from_bytes(raw[at : at + 4], order) for at in range(0, len(raw), 4))  # type: ignore[arg-type]
    return [
        number * 32 + bit + 1 for number, word in enumerate(words) for bit in range(32) if word >> bit & 1
    ]


def _raw(context: Context, _value: list[int], pointer: int, count: int) -> bytes:
    raw = _bitmap(context, pointer, count)
    return b"" if isinstance(raw, Absent) else raw


ROWS = (
    _switch("NETLINK_PKTINFO", 3, 1),
    _switch("NETLINK_BROADCAST_ERROR", 4, 2),
    _switch("NETLINK_NO_ENOBUFS", 5, 3),
    # getsockopt has it since about v6.6, as inet_flags.
    _switch("NETLINK_LISTEN_ALL_NSID", 8, 4, given=(field("inet_sock", "inet_flags"),)),
    Option(
        "SOL_NETLINK", "NETLINK_LIST_MEMBERSHIPS", 9,
        shown("list", lambda value: "groups " + " ".join(map(str, value)) if value else "none"),
        (_netlink("groups"), _netlink("ngroups")), _groups, default=[], kinds=("netlink",), fresh=True, bytes_of=_raw,
    ),
    _switch("NETLINK_CAP_ACK", 10, 5),
    _switch("NETLINK_EXT_ACK", 11, 6),
    _switch("NETLINK_GET_STRICT_CHK", 12, 7),
)  # fmt: skip
