# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which protocols are registered (``proto_list``), and from which slab caches their sockets come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import PROTO

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("Proto", "protocols")

MAX_PROTOCOLS = 1024


@dataclass(frozen=True, slots=True)
class Proto:
    """A ``struct proto``: ``slab``, ``twsk_slab`` and ``rsk_slab`` are ``struct kmem_cache *`` or 0."""

    address: int
    name: str
    slab: int
    twsk_slab: int
    rsk_slab: int


def protocols(kernel: Kernel) -> dict[int, Proto]:
    """Every registered protocol by the address of its ``struct proto`` (net/core/sock.c, proto_register)."""
    if "protocols" not in kernel.cache:
        kernel.cache["protocols"] = dict(_walk(kernel))
    found: dict[int, Proto] = kernel.cache["protocols"]
    return found


def _walk(kernel: Kernel) -> list[tuple[int, Proto]]:
    head = int(kernel.prog["proto_list"].address_ or 0)
    reader = kernel.reader(PROTO)
    link = kernel.offsets(PROTO)["next"]
    (pointer,) = _pointers(kernel.read(head, 8))
    found: list[tuple[int, Proto]] = []
    while pointer != head and len(found) < MAX_PROTOCOLS:
        address = pointer - link
        try:
            (row,) = reader.sections(address)
        except drgn.FaultError:
            break
        slabs = [row[name] if isinstance(row[name], int) else 0 for name in ("slab", "twsk_slab", "rsk_slab")]
        found.append((address, Proto(address, row["proto"], *slabs)))
        pointer = row["next"]
    return found


def _pointers(raw: bytes) -> tuple[int, ...]:
    return tuple(memoryview(raw).cast("Q"))
