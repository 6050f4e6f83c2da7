# SPDX-License-Identifier: LGPL-2.1-or-later
"""PACKET sockets: protocol and device, rings, fan-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode.computed import amend
from sockcrash.decode.endpoint import host_order
from sockcrash.decode.surroundings import device_name
from sockcrash.model import Absent, Endpoint, Reason, Section

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields",)

_NO_PEER = Absent(Reason.NOT_APPLICABLE, "sockets of this family have no peer")
_NO_RING = Absent(Reason.NOT_APPLICABLE, "no ring")
_PAGE = 4096


def fields(kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The packet section and its end."""
    own = parts.own
    added = {**parts.memory_queues(), **_ring(own, "rx_ring"), **_ring(own, "tx_ring")}
    hidden = [name for name in own if name.startswith(("rx_ring.", "tx_ring.")) or name == "num"]
    return {"packet": amend(own, added, hidden), "local": _local(kernel, parts), "peer": _NO_PEER}


def _local(kernel: Kernel, parts: Parts) -> Endpoint | Absent:
    own = parts.own
    ethertype, ifindex = host_order(kernel, own["num"]), own["ifindex"]
    if isinstance(ethertype, Absent) or isinstance(ifindex, Absent):
        return ethertype if isinstance(ethertype, Absent) else ifindex
    device = device_name(kernel, parts.identity["skc_net"], ifindex)
    return Endpoint(ifindex=ifindex, device=device, ethertype=ethertype)


def _ring(own: Section, name: str) -> dict[str, Any]:
    """The size of a ring as it was asked for (struct tpacket_req); ``frame_max`` is the last frame's number."""
    names = [f"{name}.{member}" for member in ("block_size", "block_nr", "frame_size", "frame_nr")]
    blocks = own[f"{name}.pg_vec"]
    if isinstance(blocks, Absent) or not blocks:
        return dict.fromkeys(names, blocks if isinstance(blocks, Absent) else _NO_RING)
    pages, last = own[f"{name}.pg_vec_pages"], own[f"{name}.frame_max"]
    values = (pages * _PAGE, own[f"{name}.pg_vec_len"], own[f"{name}.frame_size"], last + 1)
    return dict(zip(names, values, strict=True))
