# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists and tables of lists in memory that is not what it should be: circles, holes, bad pointers, huge counts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import drgn
import pytest

from sockcrash.kernel import chains
from sockcrash.kernel.chains import chain, follow, heads, ring
from synthetic import Said, Synthetic

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

BASE = 0xFFFF888000010000
NODE = 16  # the link's offset in the objects


@pytest.fixture
def said() -> Said:
    return Said()


def memory_of(words: dict[int, int], *, big_endian: bool = False) -> Kernel:
    """A kernel whose memory holds these pointers, at offsets from BASE, and nothing around them."""
    made = Synthetic(big_endian=big_endian)
    for offset, value in words.items():
        made.memory(BASE + offset, made.pack(value))
    return made.kernel()


def test_a_list_ends_with_null_or_an_odd_pointer(said: Said) -> None:
    kernel = memory_of({0x10: BASE + 0x30, 0x30: 0, 0x50: BASE + 0x70, 0x70: 2 * 7 + 1})

    assert list(follow(kernel, BASE + 0x10, NODE, said)) == [BASE, BASE + 0x20]
    assert list(follow(kernel, BASE + 0x50, NODE, said)) == [BASE + 0x40, BASE + 0x60]
    assert list(follow(kernel, 0, NODE, said)) == list(follow(kernel, 1, NODE, said)) == []
    assert said == []


def test_big_endian_pointers(said: Said) -> None:
    kernel = memory_of({0: BASE + 0x10, 0x10: BASE + 0x30, 0x30: 0}, big_endian=True)

    assert list(chain(kernel, BASE, NODE, said)) == [BASE, BASE + 0x20]


@pytest.mark.parametrize("back", [0x10, 0x30, 0x50])
def test_a_circle_is_cut_and_said_once(said: Said, back: int) -> None:
    """The last link leads back to any of those before, or to itself."""
    kernel = memory_of({0x10: BASE + 0x30, 0x30: BASE + 0x50, 0x50: BASE + back})

    assert list(follow(kernel, BASE + 0x10, NODE, said)) == [BASE, BASE + 0x20, BASE + 0x40]
    assert len(said) == 1
    assert "circle" in said[0]


def test_a_list_without_end_is_cut(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "MAX_CHAIN", 5)
    kernel = memory_of({step * 8: BASE + step * 8 + 8 for step in range(100)})

    assert len(list(follow(kernel, BASE, 0, said))) == 5
    assert len(said) == 1


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("bad", [0xFFFFFFFFFFFFFFF8, 0x8, 0xDEADBEEFDEADBEE0, BASE + 0x800])
def test_a_bad_pointer_costs_the_rest_of_one_list(said: Said, bad: int, live: bool) -> None:
    """Lists of a dump are followed abreast, those of a running kernel one after the other."""
    kernel = memory_of({0x10: BASE + 0x30, 0x30: bad, 0x100: 0})
    kernel.live = live
    lists = (BASE + 0x10, BASE + 0x100)

    assert sorted(chains.chains(kernel, lists, NODE, said)) == [BASE, BASE + 0x20, BASE + 0xF0]
    assert len(said) == 1
    assert "unreadable" in said[0]


@pytest.mark.parametrize("live", [False, True])
def test_a_circle_does_not_stop_the_other_lists(said: Said, live: bool) -> None:
    kernel = memory_of({0x10: BASE + 0x30, 0x30: BASE + 0x10, 0x50: BASE + 0x70, 0x70: 1})
    kernel.live = live

    assert sorted(chains.chains(kernel, (BASE + 0x10, BASE + 0x50), NODE, said)) == [
        BASE + offset for offset in (0, 0x20, 0x40, 0x60)
    ]
    assert len(said) == 1
    assert "circle" in said[0]


@pytest.mark.parametrize("walk", [chain, ring])
def test_an_unreadable_head_is_said(said: Said, walk: object) -> None:
    assert list(walk(memory_of({}), BASE, NODE, said)) == []  # type: ignore[operator]
    assert len(said) == 1


def test_a_ring_ends_at_its_head(said: Said) -> None:
    kernel = memory_of({0: BASE + 0x10, 0x10: BASE + 0x30, 0x30: BASE, 0x100: BASE + 0x100})

    assert list(ring(kernel, BASE, NODE, said)) == [BASE, BASE + 0x20]
    assert list(ring(kernel, BASE + 0x100, NODE, said)) == []
    assert said == []


def test_a_ring_that_never_comes_home(said: Said) -> None:
    kernel = memory_of({0: BASE + 0x10, 0x10: BASE + 0x30, 0x30: BASE + 0x10})

    assert list(ring(kernel, BASE, NODE, said)) == [BASE, BASE + 0x20]
    assert len(said) == 1


def test_heads_of_a_table(said: Said) -> None:
    """Three buckets of 24 bytes with the head 8 bytes inside; one is empty, one is the end of a nulls list."""
    made = Synthetic()
    content = struct.pack("<9Q", 111, BASE + 0x40, 112, 113, 0, 114, 115, 5, 116)
    made.memory(BASE, content)

    assert heads(made.kernel(), BASE, 3, 24, 8, said) == [BASE + 0x40]
    assert said == []


@pytest.mark.parametrize("count", [0, -1, 1 << 25, 1 << 63])
def test_a_table_of_an_impossible_size_is_left_out(said: Said, count: int) -> None:
    kernel = memory_of({0: BASE})

    assert heads(kernel, BASE, count, 8, 0, said) == []
    assert len(said) == 1
    assert "can't be right" in said[0]


def test_a_table_with_a_hole_keeps_the_rest(said: Said) -> None:
    """Four pages of buckets, of which the second is missing."""
    made = Synthetic()
    page = made.pack(BASE + 0x9990) + bytes(4088)
    for number in (0, 2, 3):
        made.memory(BASE + number * 4096, page)

    assert heads(made.kernel(), BASE, 4 * 512, 8, 0, said) == [BASE + 0x9990] * 3
    assert said == [f"512 of 2048 lists of the table at {BASE:#x} are unreadable"]


def test_buckets_larger_than_a_page(said: Said) -> None:
    made = Synthetic()
    made.memory(BASE + 5000, made.pack(BASE) + bytes(4992))

    assert heads(made.kernel(), BASE, 2, 5000, 0, said) == [BASE]
    assert len(said) == 1


def test_a_link_too_low_for_its_object_is_a_fault(said: Said) -> None:
    """What surrounds it would lie below 0; that costs this object, also where low memory is mapped, as QEMU does."""
    made = Synthetic()
    made.memory(0, made.pack(0) * 8)
    kernel = made.kernel()

    assert list(chains.objects(kernel, [8], NODE, 8, said)) == [(8 - NODE, None)]
    with pytest.raises(drgn.FaultError):
        kernel.read(8 - NODE, 8)
