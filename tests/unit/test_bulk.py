# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many small objects read together: the same bytes as one by one, and a hole costs what lies in it."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import pytest

from sockcrash.kernel.bulk import read_many, read_pointers
from synthetic import Synthetic

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

BASE = 0xFFFF888000000000
SIZE = 256
HOLE = 0x30000
# Steps between objects: touching, of one slab, far from each other, more than what is read at once.
STEPS = (SIZE, 300, 4096, 8192 + SIZE, 8193 + SIZE, 70_000)


@pytest.fixture(params=[False, True], ids=["little", "big"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    made = Synthetic(big_endian=request.param)
    noise = random.Random(6).randbytes(1 << 20)
    made.memory(BASE, noise[:HOLE])
    made.memory(BASE + HOLE + 4096, noise[HOLE + 4096 :])
    return made.kernel()


def addresses() -> list[int]:
    found = [BASE]
    while found[-1] < BASE + (1 << 20) - 80_000:
        found.append(found[-1] + STEPS[len(found) % len(STEPS)])
    random.Random(1).shuffle(found)
    return found


def holes(address: int) -> bool:
    return address < BASE + HOLE + 4096 and address + SIZE > BASE + HOLE


def test_bytes(kernel: Kernel) -> None:
    wanted = [*addresses(), BASE + HOLE - 8, BASE + HOLE]
    found = list(read_many(kernel, [*wanted, wanted[0]], SIZE))

    assert [address for address, _ in found] == sorted(wanted)
    for address, content in found:
        assert content == (None if holes(address) else kernel.prog.read(address, SIZE))
    assert sum(content is None for _, content in found) >= 2


def test_pointers(kernel: Kernel) -> None:
    wanted = [*addresses(), BASE + HOLE - 8]
    found = list(read_pointers(kernel, wanted, (8, SIZE - 8)))

    assert [address for address, _ in found] == sorted(wanted)
    for address, values in found:
        if holes(address):
            assert values is None
        else:
            one = struct.Struct(kernel.byte_order + "Q").unpack
            assert values == (
                *one(kernel.prog.read(address + 8, 8)),
                *one(kernel.prog.read(address + SIZE - 8, 8)),
            )


def test_nothing(kernel: Kernel) -> None:
    assert list(read_many(kernel, [], SIZE)) == []
