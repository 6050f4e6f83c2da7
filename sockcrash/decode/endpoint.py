# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two ends of a socket, as addresses that people write."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sockcrash.kernel import uapi
from sockcrash.model import Absent, Endpoint, Reason, Section

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("endpoints", "host_order")

_OTHER = Absent(Reason.NOT_APPLICABLE, "the ends of this family are not known")


def endpoints(kernel: Kernel, identity: Section) -> tuple[Endpoint | Absent, Endpoint | Absent]:
    """Local and peer end of an inet socket; a v4-mapped IPv6 socket keeps its ::ffff: form, as ss prints it."""
    family = identity["skc_family"]
    if family == uapi.AF_INET:
        local = _inet4(kernel, identity["skc_rcv_saddr"])
        peer = _inet4(kernel, identity["skc_daddr"])
    elif family == uapi.AF_INET6:
        local, peer = _inet6(identity["skc_v6_rcv_saddr"]), _inet6(identity["skc_v6_daddr"])
    else:
        return _OTHER, _OTHER
    return _end(local, identity["skc_num"]), _end(peer, host_order(kernel, identity["skc_dport"]))


def _end(address: str | Absent, port: int | Absent) -> Endpoint | Absent:
    if isinstance(address, Absent):
        return address
    if isinstance(port, Absent):
        return port
    return Endpoint(address=address, port=port)


def _inet4(kernel: Kernel, raw: int | Absent) -> str | Absent:
    if isinstance(raw, Absent):
        return raw
    order = "little" if kernel.byte_order == "<" else "big"
    return socket.inet_ntop(socket.AF_INET, raw.to_bytes(4, order))  # type: ignore[arg-type]


def _inet6(raw: bytes | Absent) -> str | Absent:
    return raw if isinstance(raw, Absent) else socket.inet_ntop(socket.AF_INET6, raw)


def host_order(kernel: Kernel, port: int | Absent) -> int | Absent:
    """A __be16 read in the kernel's byte order → its value."""
    if isinstance(port, Absent) or kernel.byte_order == ">":
        return port
    return (port & 0xFF) << 8 | port >> 8
