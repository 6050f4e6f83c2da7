# SPDX-License-Identifier: LGPL-2.1-or-later
"""Short lists that hang off one socket: keys, group memberships, source lists. Bounded and cycle-safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.layout import Group
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Section

__all__ = ("MAX_ENTRIES", "hlist", "linked")

MAX_ENTRIES = 65536


def linked(kernel: Kernel, first: int, group: Group, link: str, offset: int = 0) -> Iterator[Section]:
    """Objects that each point to the next by ``link``, to ``offset`` bytes inside of it. Raises drgn.FaultError."""
    reader = kernel.reader(group)
    seen: set[int] = set()
    pointer = first
    while pointer and pointer not in seen and len(seen) < MAX_ENTRIES:
        seen.add(pointer)
        (section,) = reader.sections(pointer - offset)
        yield section
        pointer = section[link]


def hlist(kernel: Kernel, first: int, group: Group) -> Iterator[Section]:
    """Objects on a hlist, by a row ``node.next`` of the group."""
    return linked(kernel, first, group, "node.next", kernel.offsets(group)["node.next"])
