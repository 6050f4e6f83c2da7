# SPDX-License-Identifier: LGPL-2.1-or-later
"""Resizable hash tables (lib/rhashtable.c) in made-up memory: locked, growing, nested, and nonsense."""

from __future__ import annotations

import pytest
from drgn import TypeKind

from sockcrash.kernel.rhashtable import entries
from synthetic import Synthetic

BASE = 0xFFFF888000100000
TABLE = BASE  # struct rhashtable
FIRST, SECOND = BASE + 0x10000, BASE + 0x20000  # struct bucket_table
NODES = BASE + 0x40000
NODE = 24  # offset of the rhash_head in its object
BUCKETS = 64  # offset of the buckets in a bucket_table


class Tables:
    """struct rhashtable and struct bucket_table as Linux 6.1 lays them out, in short."""

    def __init__(self) -> None:
        self.made = Synthetic()
        made = self.made
        pointer = made.pointer(made.prog.void_type())
        made.struct("rhashtable", 8, (pointer, "tbl", 0))
        heads = made.prog.array_type(pointer)
        made.struct(
            "bucket_table", BUCKETS,
            (made.int(4), "size", 0), (made.int(4), "nest", 32),
            (pointer, "future_tbl", 128), (heads, "buckets", BUCKETS * 8),
        )  # fmt: skip
        assert (TypeKind.STRUCT, "bucket_table") in made.types
        self.said: list[str] = []

    def points_to(self, table: int) -> None:
        """``rhashtable.tbl``."""
        self.made.memory(TABLE, self.made.pack(table))

    def table(
        self, address: int, buckets: list[int], *, size: int | None = None, nest: int = 0, future: int = 0
    ) -> None:
        """One bucket_table."""
        pack = self.made.pack
        head = pack(len(buckets) if size is None else size, 4) + pack(nest, 4) + bytes(8) + pack(future)
        self.made.memory(address, head.ljust(BUCKETS, b"\0") + b"".join(map(pack, buckets)))

    def pointers(self, address: int, values: list[int]) -> None:
        """A page of pointers."""
        self.made.memory(address, b"".join(map(self.made.pack, values)).ljust(4096, b"\0"))

    def nodes(self, *chain: int) -> int:
        """A chain of nodes, numbers of 64-byte objects; returns its first link."""
        for here, following in zip(chain, (*chain[1:], None), strict=True):
            end = NODES + here * 64 + NODE | 1  # the nulls marker of the bucket
            self.made.memory(link(here), self.made.pack(end if following is None else link(following)))
        return link(chain[0])

    def found(self) -> list[int]:
        """Numbers of the objects found."""
        walked = entries(self.made.kernel(), TABLE, NODE, self.said.append)
        return [(address - NODES) // 64 for address in walked]


def link(number: int) -> int:
    return NODES + number * 64 + NODE


@pytest.fixture
def tables() -> Tables:
    return Tables()


def test_buckets_and_the_chains_in_them(tables: Tables) -> None:
    tables.points_to(FIRST)
    tables.table(FIRST, [0, tables.nodes(1, 2, 3), 0, tables.nodes(4)])

    assert tables.found() == [1, 2, 3, 4]
    assert tables.said == []


def test_a_locked_bucket(tables: Tables) -> None:
    """The lowest bit of a bucket is its lock, whether there is something in it or not."""
    tables.points_to(FIRST)
    tables.table(FIRST, [1, tables.nodes(5, 6) | 1])

    assert tables.found() == [5, 6]
    assert tables.said == []


def test_a_table_that_is_being_resized(tables: Tables) -> None:
    tables.points_to(FIRST)
    tables.table(FIRST, [tables.nodes(1), 0], future=SECOND)
    tables.table(SECOND, [0, tables.nodes(2), 0, tables.nodes(3)])

    assert tables.found() == [1, 2, 3]
    assert tables.said == []


def test_futures_without_end(tables: Tables) -> None:
    tables.points_to(FIRST)
    tables.table(FIRST, [0], future=SECOND)
    tables.table(SECOND, [tables.nodes(7)], future=FIRST)

    assert set(tables.found()) == {7}
    assert len(tables.said) == 1
    assert "without end" in tables.said[0]


def test_a_nested_table(tables: Tables) -> None:
    """1024 buckets as one page of 2 pointers (nest 1) to pages of 512 buckets, one of which was never needed."""
    top, leaf = BASE + 0x30000, BASE + 0x31000
    tables.points_to(FIRST)
    tables.table(FIRST, [top], size=1024, nest=1)
    tables.pointers(top, [0, leaf])
    tables.pointers(leaf, [0] * 100 + [tables.nodes(1, 2)] + [0] * 410 + [tables.nodes(3) | 1])

    assert tables.found() == [1, 2, 3]
    assert tables.said == []


def test_a_table_nested_three_deep(tables: Tables) -> None:
    """2**20 buckets: 2**2 pointers, then 512, then 512 buckets a page."""
    top, middle, leaf = (BASE + 0x30000 + step * 0x1000 for step in range(3))
    tables.points_to(FIRST)
    tables.table(FIRST, [top], size=1 << 20, nest=2)
    tables.pointers(top, [0, 0, 0, middle])
    tables.pointers(middle, [0] * 511 + [leaf])
    tables.pointers(leaf, [tables.nodes(9)])

    assert tables.found() == [9]
    assert tables.said == []


@pytest.mark.parametrize(("size", "nest"), [(0, 0), (1 << 30, 0), (0xFFFFFFFF, 0), (1024, 10), (1024, 77)])
def test_nonsense_is_left_out(tables: Tables, size: int, nest: int) -> None:
    tables.points_to(FIRST)
    tables.table(FIRST, [tables.nodes(1)], size=size, nest=nest)

    assert tables.found() == []
    assert len(tables.said) == 1
    assert "can't be right" in tables.said[0]


@pytest.mark.parametrize("what", ["rhashtable", "bucket_table", "buckets"])
def test_holes(tables: Tables, what: str) -> None:
    if what != "rhashtable":
        tables.points_to(FIRST)
    if what == "buckets":
        tables.table(FIRST, [], size=64)

    assert tables.found() == []
    assert len(tables.said) == 1
    assert "unreadable" in tables.said[0]


def test_an_empty_pointer_is_an_empty_table(tables: Tables) -> None:
    tables.points_to(0)

    assert tables.found() == tables.said == []
