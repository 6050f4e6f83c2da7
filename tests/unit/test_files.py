# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables of descriptors with slots that hold nothing: reserved by a thread, or lost by a dump."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import drgn
import pytest

from sockcrash.kernel.files import Task, descriptors, descriptors_of
from synthetic import Said, Synthetic

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

FILES, FDT, SLOTS, OPEN = (0xFFFF888000010000 + number * 0x1000 for number in range(4))
TASK = Task(0xFFFF888000020000, 7, "server", FILES)
MAX = 64


def table(slots: list[int], taken: int, *, users: int = 1, max_fds: int = MAX) -> Kernel:
    """A table of files, 0 for none; ``taken`` descriptors from 0 on are marked as open."""
    made = Synthetic()
    u32, i32, u64 = made.int(4), made.int(4, signed=True), made.int(8)
    fdtable = made.struct("fdtable", 32, (u32, "max_fds", 0), (u64, "fd", 64), (u64, "open_fds", 128))
    atomic = made.struct("atomic", 4, (i32, "counter", 0))
    made.struct("files_struct", 16, (atomic, "count", 0), (made.pointer(fdtable), "fdt", 64))
    made.memory(FILES, struct.pack("<iiQ", users, 0, FDT))
    made.memory(FDT, struct.pack("<IIQQQ", max_fds, 0, SLOTS, OPEN, 0))
    made.memory(SLOTS, struct.pack(f"<{MAX}Q", *slots, *[0] * (MAX - len(slots))))
    made.memory(OPEN, struct.pack("<Q", (1 << taken) - 1))
    return made.kernel()


def read(kernel: Kernel) -> tuple[list[tuple[int, int]], Said]:
    said = Said()
    return descriptors_of(kernel, TASK, said), said


@pytest.mark.parametrize(
    ("slots", "taken", "users"),
    [
        ([1, 2, 3], 3, 1),
        ([1, 0, 3], 3, 1),  # a thread sleeps in accept(2)
        ([1], 3, 1),  # or is in socketpair(2)
        ([0] * 16, 16, 8),  # eight of them
        ([1, 2, 3], 0, 1),  # the bitmap is what was lost
    ],
)
def test_what_threads_may_have_reserved_is_not_lost(slots: list[int], taken: int, users: int) -> None:
    found, said = read(table(slots, taken, users=users))
    assert found == [(fd, file) for fd, file in enumerate(slots) if file]
    assert said == []


@pytest.mark.parametrize(("slots", "taken", "users"), [([1, 0, 0, 0], 4, 1), ([], 64, 31)])
def test_more_than_they_can_reserve_is(slots: list[int], taken: int, users: int) -> None:
    found, said = read(table(slots, taken, users=users))
    assert len(found) == len([file for file in slots if file])
    assert said == [
        f"{taken - len(found)} descriptors of server (7) are open but lead to no file: the dump has lost a part of"
        " their table"
    ]


def test_a_live_kernel_may_be_in_the_midst_of_it() -> None:
    for kernel in (table([], 64), table([1], 1, max_fds=0)):
        kernel.live = True
        assert read(kernel) == ([], [])


@pytest.mark.parametrize("max_fds", [0, 1 << 30])
def test_a_table_of_no_possible_size_is_unreadable(max_fds: int) -> None:
    with pytest.raises(drgn.FaultError):
        descriptors(table([1], 1, max_fds=max_fds), FILES)
