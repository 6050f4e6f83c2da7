# SPDX-License-Identifier: LGPL-2.1-or-later
"""How to follow the kernel's lists and tables of lists: bounded, safe from circles.

A walk never raises on bad memory: what it could not follow is reported to ``complain``, costs one list, and the walk
goes on. ``node`` is the offset in bytes of the link in the objects that are yielded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import drgn

from sockcrash.kernel.bulk import read_many, read_pointers

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = (
    "MAX_BUCKETS",
    "MAX_CHAIN",
    "Complain",
    "Found",
    "chain",
    "chains",
    "follow",
    "heads",
    "lists",
    "objects",
    "pointer",
    "ring",
)

Complain = Callable[[str], None]
# A chain longer than this is a cycle or garbage: the largest sane table has some thousand entries in one chain.
MAX_CHAIN = 1 << 20
MAX_BUCKETS = 1 << 24
_PAGE = 4096
_NONE: Mapping[int, int] = MappingProxyType({})


class Found(NamedTuple):
    """A socket object in a table; ``how`` names the table, ``kinds`` are those that it can hold.

    ``content``: its first bytes, where the walk has read them with the link.
    """

    address: int
    how: str
    kinds: tuple[str, ...]
    content: bytes | None = None


def pointer(kernel: Kernel, address: int) -> int:
    """The pointer stored at an address. Raises drgn.FaultError."""
    (value,) = struct.unpack(kernel.byte_order + "Q", kernel.read(address, 8))
    return int(value)


def heads(kernel: Kernel, table: int, count: int, stride: int, offset: int, complain: Complain) -> list[int]:
    """The first pointers of all lists of a table that are not empty, the whole table in one read.

    The table has ``count`` buckets of ``stride`` bytes; ``offset`` is that of the list head in a bucket.
    """
    if not 0 < count <= MAX_BUCKETS:
        complain(f"a table of {count} lists at {table:#x} can't be right: left out")
        return []
    try:
        raw = kernel.read(table, count * stride)
    except drgn.FaultError:
        return _heads_piecemeal(kernel, table, count, stride, offset, complain)
    return _first_pointers(kernel, raw, stride, offset)


def _first_pointers(kernel: Kernel, raw: bytes, stride: int, offset: int) -> list[int]:
    unpack = struct.Struct(f"{kernel.byte_order}{offset}xQ{stride - offset - 8}x").iter_unpack
    return [first for (first,) in unpack(raw) if first and not first & 1]


def _heads_piecemeal(
    kernel: Kernel, table: int, count: int, stride: int, offset: int, complain: Complain
) -> list[int]:
    """The same of a table that is partly unreadable."""
    found: list[int] = []
    lost = 0
    piece = max(_PAGE // stride, 1)
    for start in range(0, count, piece):
        number = min(piece, count - start)
        try:
            raw = kernel.read(table + start * stride, number * stride)
        except drgn.FaultError:
            lost += number
            continue
        found += _first_pointers(kernel, raw, stride, offset)
    complain(f"{lost} of {count} lists of the table at {table:#x} are unreadable")
    return found


def chains(
    kernel: Kernel, firsts: Iterable[int], node: int, complain: Complain, known: Mapping[int, int] = _NONE
) -> Iterator[int]:
    """Objects on all lists that begin with one of ``firsts``.

    ``known``: links of a dump that have been read before, with the ones that follow them; their objects are left out.
    """
    if kernel.live:
        for first in firsts:
            yield from follow(kernel, first, node, complain)
    else:
        for address, _ in _abreast(kernel, firsts, 0, 8, complain, known):
            yield address - node


def objects(
    kernel: Kernel, firsts: Iterable[int], node: int, size: int, complain: Complain
) -> Iterator[tuple[int, bytes | None]]:
    """As ``chains``, each object with its first ``size`` bytes, which are read with the link in them.

    None stands for the bytes of an object that is not readable as a whole.
    """
    if kernel.live:
        for address in chains(kernel, firsts, node, complain):
            yield address, None
    else:
        yield from _abreast(kernel, firsts, node, size, complain)


def _abreast(
    kernel: Kernel,
    firsts: Iterable[int],
    node: int,
    size: int,
    complain: Complain,
    known: Mapping[int, int] = _NONE,
) -> Iterator[tuple[int, bytes | None]]:
    """All lists of a dump at once, each step of all of them in order of address: objects with ``size`` bytes.

    The memory of a running kernel does not wait so long: there each list is followed to its end. Links that are
    ``known`` are passed over.
    """
    unpack = struct.Struct(kernel.byte_order + "Q").unpack_from
    seen: set[int] = set()
    links = _ends_off(firsts, seen, known)
    for _ in range(MAX_CHAIN):
        if not links:
            return
        following: list[int] = []
        for address, content in read_many(kernel, [link - node for link in links], size):
            link = address + node
            if link in seen:
                complain(f"the list through {link:#x} runs in a circle or into another one: cut there")
                continue
            seen.add(link)
            try:
                (after,) = unpack(kernel.read(link, 8)) if content is None else unpack(content, node)
            except drgn.FaultError as error:
                complain(f"the list through {link:#x} is unreadable: {error}")
                continue
            yield address, content
            following.append(after)
        links = _ends_off(following, seen, known)
    complain(f"lists of more than {MAX_CHAIN} objects can't be right: cut there")


def _ends_off(links: Iterable[int], seen: set[int], known: Mapping[int, int]) -> list[int]:
    """Links without those that end a list (NULL, or an odd pointer), and past those that are known."""
    if known:
        links = [_past(link, seen, known) for link in links]
    return [link for link in links if link and not link & 1]


def _past(link: int, seen: set[int], known: Mapping[int, int]) -> int:
    while link in known and link not in seen:
        seen.add(link)
        link = known[link]
    return link


def lists(
    kernel: Kernel, heads: Iterable[int], node: int, complain: Complain, known: Mapping[int, int] = _NONE
) -> Iterator[int]:
    """As ``chains``, of the lists whose ``hlist_head`` or ``hlist_nulls_head`` are at these addresses."""
    if kernel.live:
        for head in heads:
            yield from chain(kernel, head, node, complain)
        return
    firsts: list[int] = []
    for head, pointers in read_pointers(kernel, list(heads), [0]):
        if pointers is None:
            complain(f"list head {head:#x} is unreadable")
        else:
            firsts += pointers
    yield from chains(kernel, firsts, node, complain, known)


def chain(kernel: Kernel, head: int, node: int, complain: Complain, *, end: int = 0) -> Iterator[int]:
    """Objects on one ``hlist_head`` or ``hlist_nulls_head`` at ``head``; on another list up to the link ``end``."""
    try:
        first = pointer(kernel, head)
    except drgn.FaultError as error:
        complain(f"list head {head:#x} is unreadable: {error}")
        return
    yield from follow(kernel, first, node, complain, end=end)


def ring(kernel: Kernel, head: int, node: int, complain: Complain) -> Iterator[int]:
    """Objects on one ``list_head`` at ``head``, whose last link leads back to it."""
    return chain(kernel, head, node, complain, end=head)


def follow(kernel: Kernel, first: int, node: int, complain: Complain, *, end: int = 0) -> Iterator[int]:
    """Objects from the link ``first`` on, up to NULL, an odd pointer (the end of a nulls list) or ``end``."""
    unpack = struct.Struct(kernel.byte_order + "Q").unpack
    seen: set[int] = set()
    link = first
    while link and not link & 1 and link != end:
        if link in seen or len(seen) >= MAX_CHAIN:
            complain(f"the list through {link:#x} runs in a circle: cut there")
            return
        seen.add(link)
        try:
            (following,) = unpack(kernel.read(link, 8))
        except drgn.FaultError as error:
            complain(f"the list through {link:#x} is unreadable: {error}")
            return
        yield link - node
        link = following
