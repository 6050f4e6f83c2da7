# SPDX-License-Identifier: LGPL-2.1-or-later
"""What lies in a queue of sk_buffs, be it a list or a red-black tree: bounded, safe from circles.

A walk never raises on bad memory: what it could not follow is reported to ``complain``, and it ends there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.fields_queue import ERROR_CB, SCM_FDS, SKB

if TYPE_CHECKING:
    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.layout import Group
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Section

__all__ = ("MOST", "Skb", "cb_part", "descriptors", "error_of", "listed", "tree")

# A queue of more sk_buffs than this is garbage: a terabyte of memory at least.
MOST = 1 << 20
_HEIGHT = 64  # of a red-black tree that can be in memory at all


@dataclass(frozen=True, slots=True)
class Skb:
    """A sk_buff: bytes it holds, memory it is charged for, its socket or 0, its stamp in ns, its owner's part."""

    address: int
    len: int
    truesize: int
    sk: int
    mstamp_ns: int
    cb: bytes


def listed(kernel: Kernel, first: int, end: int, complain: Complain) -> Iterator[Skb]:
    """The sk_buffs linked by ``next`` from ``first`` on, up to NULL or ``end`` (the head of a ``sk_buff_head``)."""
    seen: set[int] = set()
    address = first
    while address not in (0, end):
        found = _read(kernel, address, seen, complain)
        if found is None:
            return
        yield _skb(address, found)
        address = found["next"]


def tree(kernel: Kernel, root: int, complain: Complain) -> Iterator[Skb]:
    """The sk_buffs of a tree by their ``rbnode`` (the first member of each), from left to right."""
    seen: set[int] = set()
    above: list[tuple[int, Section]] = []
    address = root
    while address or above:
        while address:
            found = _read(kernel, address, seen, complain)
            if found is None or len(above) > _HEIGHT:
                if found is not None:
                    complain(f"the tree of sk_buffs at {root:#x} is too deep: cut there")
                return
            above.append((address, found))
            address = found["rb_left"]
        address, found = above.pop()
        yield _skb(address, found)
        address = found["rb_right"]


def _read(kernel: Kernel, address: int, seen: set[int], complain: Complain) -> Section | None:
    if address in seen or len(seen) >= MOST:
        complain(f"the queue through the sk_buff at {address:#x} runs in a circle: cut there")
        return None
    seen.add(address)
    try:
        (section,) = kernel.reader(SKB).sections(address)
    except drgn.FaultError as error:
        complain(f"the sk_buff at {address:#x} is unreadable: {error}")
        return None
    return section


def _skb(address: int, found: Section) -> Skb:
    return Skb(address, found["len"], found["truesize"], found["sk"], found["skb_mstamp_ns"], found["cb"])


def cb_part(kernel: Kernel, group: Group) -> Callable[[bytes], Section]:
    """What the owner of a sk_buff keeps in its cb, of which ``group`` has the rows."""
    reader = kernel.reader(group)

    def part(cb: bytes) -> Section:
        (section,) = reader.sections(0, cb.ljust(reader.size, b"\0"))
        return section

    return part


def descriptors(kernel: Kernel, files: int) -> int:
    """How many descriptors travel in a ``struct scm_fp_list *`` (SCM_RIGHTS), NULL or not. Raises drgn.FaultError."""
    if not files:
        return 0
    (section,) = kernel.reader(SCM_FDS).sections(files)
    count: int = section["count"]
    return count


def error_of(kernel: Kernel, cb: bytes) -> tuple[Any, Any]:
    """Of a sk_buff in an error queue its errno and origin (struct sock_extended_err)."""
    section = cb_part(kernel, ERROR_CB)(cb)
    return section["ee_errno"], section["ee_origin"]
