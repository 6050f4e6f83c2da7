# SPDX-License-Identifier: LGPL-2.1-or-later
"""NETLINK sockets: port ID, groups, and whose they are."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.common import name_in
from sockcrash.decode.computed import amend
from sockcrash.kernel import uapi
from sockcrash.model import Absent, Endpoint, Reason

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields",)

_UNCONNECTED = Absent(Reason.NOT_APPLICABLE, "not connected: what it sends goes where each message says")
_MAX_GROUPS = 1 << 16


def fields(kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The netlink section, ends and state."""
    own = parts.own
    groups = _groups(kernel, own["groups"], own["ngroups"])
    state = parts.identity["skc_state"]
    connected = state == uapi.NETLINK_CONNECTED
    protocol = name_in(uapi.NETLINK_PROTOCOLS, parts.full["sk_protocol"])
    return {
        "netlink": amend(own, {"memberships": groups, **parts.memory_queues()}, ("groups",)),
        "local": _end(protocol, own["portid"], groups),
        "peer": _end(protocol, own["dst_portid"], _one_group(own["dst_group"]))
        if connected
        else _UNCONNECTED,
        "state": state if isinstance(state, Absent) else uapi.netlink_state(state),
    }


def _end(protocol: str | Absent, portid: int | Absent, groups: tuple[int, ...] | Absent) -> Endpoint | Absent:
    if isinstance(portid, Absent):
        return portid
    return Endpoint(protocol=protocol, portid=portid, groups=groups)


def _one_group(number: int | Absent) -> tuple[int, ...] | Absent:
    return number if isinstance(number, Absent) else (number,) if number else ()


def _groups(kernel: Kernel, bitmap: int | Absent, count: int | Absent) -> tuple[int, ...] | Absent:
    """Numbers of the groups that are subscribed to, from 1 on, as NETLINK_ADD_MEMBERSHIP counts them."""
    if isinstance(bitmap, Absent):
        return bitmap
    if isinstance(count, Absent):
        return count
    if not bitmap or not count:
        return ()
    if count > _MAX_GROUPS:
        return Absent(Reason.UNREADABLE, f"{count} groups can't be right")
    longs = (count + 63) // 64  # an array of unsigned long
    try:
        words = struct.unpack(f"{kernel.byte_order}{longs}Q", kernel.read(bitmap, longs * 8))
    except drgn.FaultError as error:
        return kernel.unreadable(error)
    return tuple(number + 1 for number in range(count) if words[number // 64] >> number % 64 & 1)
