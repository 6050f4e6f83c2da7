# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each CPU has of a percpu object, and the sums of counters that are kept so (linux/percpu-defs.h)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.once import once

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("copies", "percpu_counter", "pointers_of", "sums")

# lib/percpu_counter.c: what is in count, and what CPUs have not added to it yet.
_COUNTER = Group(
    "percpu_counter", (row("count", "struct percpu_counter"), row("counters", "struct percpu_counter"))
)


@once
def _offsets(kernel: Kernel) -> list[int]:
    """What is added to a percpu pointer for each possible CPU."""
    from drgn.helpers.linux.cpumask import for_each_possible_cpu

    table = kernel.prog["__per_cpu_offset"]
    return [int(table[cpu]) for cpu in for_each_possible_cpu(kernel.prog)]


def copies(kernel: Kernel, pointer: int) -> list[int]:
    """The address of each CPU's copy of what a percpu pointer means."""
    mask = (1 << 64) - 1
    return [pointer + offset & mask for offset in _offsets(kernel)]


def pointers_of(kernel: Kernel, pointer: int) -> list[int]:
    """The pointer that each CPU's copy begins with, unless it is NULL or unreadable."""
    found = []
    for address in copies(kernel, pointer):
        try:
            (value,) = struct.unpack(kernel.byte_order + "Q", kernel.read(address, 8))
        except drgn.FaultError:
            continue
        if value:
            found.append(value)
    return found


def sums(kernel: Kernel, pointer: int, code: str, count: int) -> list[int]:
    """``count`` counters of a type that ``struct`` knows by its code, each summed over all CPUs.

    Raises drgn.FaultError if those of a CPU can't be read: what the others have counted is too little.
    """
    layout = struct.Struct(f"{kernel.byte_order}{count}{code}")
    rows = [layout.unpack(kernel.read(address, layout.size)) for address in copies(kernel, pointer)]
    return [sum(column) for column in zip(*rows, strict=True)]


def percpu_counter(kernel: Kernel, address: int) -> int:
    """The sum of a ``struct percpu_counter``, never below 0 (percpu_counter_sum_positive). Raises drgn.FaultError."""
    (section,) = kernel.reader(_COUNTER).sections(address)
    return max(0, int(section["count"]) + sums(kernel, section["counters"], "i", 1)[0])
