# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists and trees of sk_buffs in memory that is not what it should be."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from sockcrash.kernel.skbuff import listed, tree
from synthetic import Said, Synthetic

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

BASE = 0xFFFF888000010000
SIZE = 128
HEAD = BASE + 0x10000


@pytest.fixture
def said() -> Said:
    return Said()


def at(number: int) -> int:
    """The address of a buffer, by its number from 1 on; 0 is NULL."""
    return BASE + number * SIZE if number else 0


def kernel_with(buffers: dict[int, tuple[int, int, int]]) -> Kernel:
    """Buffers by number: the one before or above right, to the left, to the right; the number is the length too.

    The links of a list and of a tree share their place, as they do in the kernel.
    """
    made = Synthetic()
    u32, u64 = made.int(4), made.int(8)
    node = made.struct(
        "rb_node", 24, (u64, "__rb_parent_color", 0), (u64, "rb_right", 64), (u64, "rb_left", 128)
    )
    links = made.struct(None, 16, (u64, "next", 0), (u64, "prev", 64))
    both = made.union(None, 24, (links, None, 0), (node, "rbnode", 0))
    made.struct(
        "sk_buff",
        SIZE,
        (both, None, 0),
        (u64, "sk", 192),
        (u64, "skb_mstamp_ns", 256),
        (u32, "len", 320),
        (u32, "truesize", 352),
        (made.char(48), "cb", 384),
    )
    for number, (first, right, left) in buffers.items():
        raw = struct.pack("<QQQQQII", first, right, left, 0, 0, number, number + 1000)
        made.memory(at(number), raw.ljust(SIZE, b"\0"))
    return made.kernel()


def lengths(found: object) -> list[int]:
    return [skb.len for skb in found]  # type: ignore[attr-defined]


def test_a_list_ends_at_its_head_or_at_null(said: Said) -> None:
    kernel = kernel_with({1: (at(2), 0, 0), 2: (at(3), 0, 0), 3: (HEAD, 0, 0), 4: (0, 0, 0)})

    assert lengths(listed(kernel, at(1), HEAD, said)) == [1, 2, 3]
    assert lengths(listed(kernel, at(4), HEAD, said)) == [4]
    assert lengths(listed(kernel, 0, HEAD, said)) == []
    assert said == []


def test_a_list_that_runs_in_a_circle_is_cut(said: Said) -> None:
    kernel = kernel_with({1: (at(2), 0, 0), 2: (at(1), 0, 0)})

    assert lengths(listed(kernel, at(1), HEAD, said)) == [1, 2]
    assert len(said) == 1
    assert "circle" in said[0]


def test_a_list_into_nowhere_ends_there(said: Said) -> None:
    kernel = kernel_with({1: (at(9), 0, 0)})

    assert lengths(listed(kernel, at(1), HEAD, said)) == [1]
    assert "unreadable" in said[0]


def test_a_tree_is_walked_from_left_to_right(said: Said) -> None:
    kernel = kernel_with(
        {
            4: (0, at(6), at(2)),
            2: (0, at(3), at(1)),
            6: (0, 0, at(5)),
            1: (0, 0, 0),
            3: (0, 0, 0),
            5: (0, 0, 0),
        }
    )

    assert lengths(tree(kernel, at(4), said)) == [1, 2, 3, 4, 5, 6]
    assert said == []


@pytest.mark.parametrize("back", [1, 2, 3])
def test_a_tree_that_runs_in_a_circle_is_cut(said: Said, back: int) -> None:
    kernel = kernel_with({2: (0, at(3), at(1)), 1: (0, 0, 0), 3: (0, at(back), 0)})

    assert lengths(tree(kernel, at(2), said)) == [1, 2, 3]
    assert "circle" in said[0]


def test_a_tree_with_a_hole_ends_there(said: Said) -> None:
    kernel = kernel_with({2: (0, at(9), at(1)), 1: (0, 0, 0)})

    assert lengths(tree(kernel, at(2), said)) == [1, 2]
    assert "unreadable" in said[0]


def test_a_tree_deeper_than_memory_is_cut(said: Said) -> None:
    """No red-black tree of 64 levels and more fits."""
    kernel = kernel_with({number: (0, 0, at(number + 1)) for number in range(1, 200)})

    assert lengths(tree(kernel, at(1), said)) == []
    assert "too deep" in said[0]
