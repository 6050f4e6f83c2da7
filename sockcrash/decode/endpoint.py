# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two ends of a socket, as addresses that people write."""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import TYPE_CHECKING

from sockcrash.kernel import uapi
from sockcrash.model import Absent, Endpoint, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("LOCAL", "PEER", "end", "host_order")

_OTHER = Absent(Reason.NOT_APPLICABLE, "the ends of this family are not known")


# The members that make an end, in the order in which end() takes them; the port of the peer is in network order.
LOCAL = ("skc_rcv_saddr", "skc_v6_rcv_saddr", "skc_num")
PEER = ("skc_daddr", "skc_v6_daddr", "skc_dport")


def end(
    kernel: Kernel, family: int | Absent, v4: int | Absent, v6: bytes | Absent, port: int | Absent
) -> Endpoint | Absent:
    """One end of an inet socket; a v4-mapped IPv6 socket keeps its ::ffff: form, as ss prints it."""
    if family == uapi.AF_INET:
        address = _inet4(v4, kernel.byte_order)
    elif family == uapi.AF_INET6:
        address = _inet6(v6)
    else:
        return family if isinstance(family, Absent) else _OTHER
    if address.__class__ is str and port.__class__ is int:
        made = object.__new__(Endpoint)
        fields = made.__dict__  # as model.quick, but for two fields
        fields["address"] = address
        fields["port"] = port
        return made
    return address if isinstance(address, Absent) else port  # type: ignore[return-value]


@lru_cache(maxsize=1024)
def _inet4(raw: int | Absent, byte_order: str) -> str | Absent:
    if isinstance(raw, Absent):
        return raw
    return socket.inet_ntop(socket.AF_INET, raw.to_bytes(4, "little" if byte_order == "<" else "big"))


@lru_cache(maxsize=1024)
def _inet6(raw: bytes | Absent) -> str | Absent:
    return raw if isinstance(raw, Absent) else socket.inet_ntop(socket.AF_INET6, raw)


def host_order(kernel: Kernel, port: int | Absent) -> int | Absent:
    """A __be16 read in the kernel's byte order → its value."""
    if isinstance(port, Absent) or kernel.byte_order == ">":
        return port
    return (port & 0xFF) << 8 | port >> 8
