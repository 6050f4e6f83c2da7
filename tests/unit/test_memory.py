# SPDX-License-Identifier: LGPL-2.1-or-later
"""The recording door: what was read, to the byte, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import drgn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.memory import PAGE, Ranges, Recorder, faulty, program_over

BASE = 0xFFFF888000000000
PLATFORM = drgn.Platform(drgn.Architecture.X86_64)


def source(address, count):
    """Memory in which every byte says where it is."""
    return bytes((address + i) * 7 + ((address + i) >> 8) & 0xFF for i in range(count))


reads = st.lists(st.tuples(st.integers(0, 3 * PAGE), st.integers(0, 600)), max_size=20)


@given(reads)
def test_ranges_hold_exactly_what_was_read(wanted):
    recorder = Recorder(source)
    for offset, count in wanted:
        recorder.read(BASE + offset, count)
    ranges = recorder.ranges()
    noted = {BASE + offset + i for offset, count in wanted for i in range(count)}
    held = {start + i for start, data in ranges for i in range(len(data))}
    assert held == noted
    for start, data in ranges:
        assert bytes(data) == source(start, len(data))
    starts = [(start, len(data)) for start, data in ranges]
    assert all(a + size < b for (a, size), (b, _) in pairwise(starts))


@given(reads)
def test_pages_are_zero_where_nothing_was_read(wanted):
    recorder = Recorder(source)
    for offset, count in wanted:
        recorder.read(BASE + offset, count)
    noted = {BASE + offset + i for offset, count in wanted for i in range(count)}
    for start, data in recorder.ranges().pages():
        assert start % PAGE == 0
        assert len(data) % PAGE == 0
        for i, byte in enumerate(data):
            assert byte == (source(start + i, 1)[0] if start + i in noted else 0)


def test_a_later_read_replaces_an_earlier_one():
    content = [b"old!"]
    recorder = Recorder(lambda address, count: content[0][:count])
    recorder.read(BASE, 4)
    content[0] = b"new!"
    recorder.read(BASE, 4)
    assert recorder.ranges().read(BASE, 4) == b"new!"


def test_reading_beyond_a_range_faults_at_the_address():
    ranges = Ranges([(BASE, b"abcd"), (BASE + 8, b"efgh")])
    assert ranges.read(BASE + 1, 3) == b"bcd"
    for address, count in ((BASE + 1, 4), (BASE + 4, 1), (BASE + 6, 4), (BASE - 1, 2)):
        with pytest.raises(drgn.FaultError) as fault:
            ranges.read(address, count)
        assert fault.value.address == address


@given(reads, reads)
def test_holes_are_cut_to_the_byte(wanted, holes):
    pieces = [(BASE + offset, source(BASE + offset, count)) for offset, count in wanted]
    cut = Ranges(pieces).without((BASE + offset, count) for offset, count in holes)
    gone = {BASE + offset + i for offset, count in holes for i in range(count)}
    kept = {BASE + offset + i for offset, count in wanted for i in range(count)} - gone
    assert {start + i for start, data in cut for i in range(len(data))} == kept


def test_a_program_reads_through_the_door():
    info = b"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82610000\nKERNELOFFSET=0\n"
    recorder = Recorder(faulty(source, [(BASE + 64, BASE + 128)]))
    prog = program_over(recorder.read, info, PLATFORM, live=False)
    assert prog.read(BASE, 16) == source(BASE, 16)
    assert drgn.Object(prog, prog.int_type("int", 4, True), address=BASE + 20).value_() == int.from_bytes(
        source(BASE + 20, 4), "little", signed=True
    )
    with pytest.raises(drgn.FaultError):
        prog.read(BASE + 60, 8)
    assert [(start - BASE, len(data)) for start, data in recorder.ranges()] == [(0, 16), (20, 4)]
