# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which protocols are registered (``proto_list``), and from which slab caches their sockets come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import PROTO
from sockcrash.kernel.once import once

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("Proto", "proto_at", "protocols")

MAX_PROTOCOLS = 1024


@dataclass(frozen=True, slots=True)
class Proto:
    """A ``struct proto``: ``slab``, ``twsk_slab`` and ``rsk_slab`` are ``struct kmem_cache *`` or 0."""

    address: int
    name: str
    slab: int
    twsk_slab: int
    rsk_slab: int


@once
def protocols(kernel: Kernel) -> dict[int, Proto]:
    """Every registered protocol by the address of its ``struct proto`` (net/core/sock.c, proto_register)."""
    return dict(_walk(kernel))


def proto_at(kernel: Kernel, address: int) -> Proto | None:
    """The protocol whose ``struct proto`` is at an address: a registered one, or a copy of one.

    net/mptcp/subflow.c keeps tcp_prot_override, a copy of tcp_prot that is on no list: it is told by having the name
    and the slab of a registered protocol.
    """
    registered = protocols(kernel)
    if address in registered:
        return registered[address]
    try:
        copy = _read(kernel, address)
    except drgn.FaultError:
        return None
    same = {(proto.name, proto.slab) for proto in registered.values() if proto.slab}
    return copy if (copy.name, copy.slab) in same else None


def _walk(kernel: Kernel) -> list[tuple[int, Proto]]:
    head = int(kernel.prog["proto_list"].address_ or 0)
    link = kernel.offsets(PROTO)["next"]
    (pointer,) = _pointers(kernel.read(head, 8))
    found: list[tuple[int, Proto]] = []
    while pointer != head and len(found) < MAX_PROTOCOLS:
        address = pointer - link
        try:
            found.append((address, _read(kernel, address)))
            (pointer,) = _pointers(kernel.read(pointer, 8))
        except drgn.FaultError:
            break
    return found


def _read(kernel: Kernel, address: int) -> Proto:
    (row,) = kernel.reader(PROTO).sections(address)
    slabs = [row[name] if isinstance(row[name], int) else 0 for name in ("slab", "twsk_slab", "rsk_slab")]
    return Proto(address, row["proto"], *slabs)


def _pointers(raw: bytes) -> tuple[int, ...]:
    return tuple(memoryview(raw).cast("Q"))
