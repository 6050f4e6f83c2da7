# SPDX-License-Identifier: LGPL-2.1-or-later
"""A live socket that changes while it is read: read again, and marked torn when it never stands still."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from harness import PROJECT
from sockcrash.decode import TRIES, decode
from sockcrash.kernel.carried import Kept, attach_carried
from sockcrash.kernel.selection import entry_from_json
from sockcrash.kernel.view import Kernel
from sockcrash.locate import all_sockets
from sockcrash.memory import program_over
from sockcrash.snapshot.files import read_content
from sockcrash.snapshot.format import PLATFORM, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.locate.address import Handle

SHELF = PROJECT / "vmcores" / "6.1"


class Changing:
    """The memory of a bundled vmcore, as that of a running kernel; ``change`` is called at each read of a socket."""

    def __init__(self) -> None:
        snapshot = parse(read_content(SHELF / "vmcore.xz"))
        self._ranges = snapshot.ranges
        self.spot = 0
        self.reads = 0
        self.change: Callable[[int], int] = lambda number: 0
        prog = program_over(self.read, snapshot.vmcoreinfo, PLATFORM, live=True)
        attach_carried(prog, parse(read_content(SHELF / "types.xz")).btf, Kept(snapshot.meta["symbols"]))
        self.kernel = Kernel(prog)
        entries = map(entry_from_json, snapshot.meta["sockets"])
        self.kernel.index = {entry.address: dataclasses.replace(entry, torn=False) for entry in entries}

    def read(self, address: int, count: int) -> bytes:
        data = self._ranges.read(address, count)
        inside = self.spot - address
        if not 0 <= inside <= count - 4 or count < 1000:
            return data
        self.reads += 1
        value = int.from_bytes(data[inside : inside + 4], "little") + self.change(self.reads) & 0xFFFFFFFF
        return data[:inside] + value.to_bytes(4, "little") + data[inside + 4 :]

    def watch(self, member: str) -> Handle:
        """Let the member of some established socket change; its handle."""
        handle = next(one for one in all_sockets(self.kernel, pytest.fail) if one.kind.name == "tcp")
        self.spot = handle.address + self.kernel.offsets(handle.kind.groups[3])[member]
        self.reads = 0
        return handle


@pytest.fixture(scope="module")
def memory() -> Changing:
    return Changing()


@pytest.mark.parametrize("member", ["snd_nxt", "rcv_nxt", "segs_in", "segs_out"])
def test_a_socket_that_never_stands_still_is_torn(memory: Changing, member: str) -> None:
    handle = memory.watch(member)
    memory.change = lambda number: number
    record = decode(memory.kernel, handle)
    assert record.torn
    assert memory.reads >= TRIES


def test_one_change_is_read_over(memory: Changing) -> None:
    handle = memory.watch("rcv_nxt")
    memory.change = lambda number: 0
    still: Any = decode(memory.kernel, handle)
    assert not still.torn
    memory.reads = 0
    memory.change = lambda number: 0 if number == 1 else 77
    record = decode(memory.kernel, handle)
    assert not record.torn
    assert record.tcp["rcv_nxt"] == still.tcp["rcv_nxt"] + 77


def test_what_may_change_does_not_tear(memory: Changing) -> None:
    handle = memory.watch("snd_cwnd")
    memory.change = lambda number: number
    assert not decode(memory.kernel, handle).torn
