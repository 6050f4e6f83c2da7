# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pages of a ring buffer: what a writer of our own put in comes out, and nothing makes the reader stumble."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.trace.pages import parse_page, parse_page_format

HEADER_PAGE = """\
\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;
"""
LAYOUT = parse_page_format(HEADER_PAGE, "<")
PADDING, EXTEND, STAMP = 29, 30, 31


def head(kind: int, delta: int) -> bytes:
    return struct.pack("<I", delta << 5 | kind)


def small(delta: int, words: int, fill: int = 0) -> bytes:
    return head(words, delta) + bytes([fill]) * (4 * words)


def large(delta: int, content: bytes) -> bytes:
    """An event that says its length in a word of its own, which counts itself."""
    return head(0, delta) + struct.pack("<I", len(content) + 4) + content


def page(start: int, events: bytes, flags: int = 0) -> bytes:
    return (struct.pack("<QQ", start, len(events) | flags) + events).ljust(4096, b"\xaa")


def test_the_head_of_a_page_is_described_by_the_kernel() -> None:
    assert (LAYOUT.commit, LAYOUT.data, LAYOUT.size) == (8, 16, 4096)


@pytest.mark.parametrize(
    "text", ["", HEADER_PAGE.replace("commit", "x"), HEADER_PAGE.replace("offset:0", "offset:4")]
)
def test_another_description_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="description"):
        parse_page_format(text, "<")


def test_events_of_both_forms_with_their_times() -> None:
    events, lost = parse_page(page(1000, small(5, 2, 1) + large(7, bytes(120)) + small(0, 1, 3)), LAYOUT)

    assert events == [(1005, b"\1" * 8), (1012, bytes(120)), (1012, b"\3" * 4)]
    assert not lost


def test_times_that_need_more_bits() -> None:
    far = (1 << 40) + 12345
    extended = head(EXTEND, far & (1 << 27) - 1) + struct.pack("<I", far >> 27)
    absolute = head(STAMP, 77) + struct.pack("<I", 3)

    events, _ = parse_page(page(9, extended + small(1, 1) + absolute + small(0, 1)), LAYOUT)

    assert [time for time, _ in events] == [9 + far + 1, 77 | 3 << 27]


def test_an_absolute_time_keeps_the_upper_bits_of_the_page() -> None:
    start = 0xA8 << 56 | 5
    absolute = head(STAMP, 77) + struct.pack("<I", 3)

    ((time, _),) = parse_page(page(start, absolute + small(0, 1)), LAYOUT)[0]

    assert time == 0xA8 << 56 | 77 | 3 << 27


def test_discarded_events_are_skipped_and_an_empty_rest_ends() -> None:
    discarded = head(PADDING, 1) + struct.pack("<I", 12) + bytes(8)
    rest = head(PADDING, 0) + bytes(40)

    events, _ = parse_page(page(0, discarded + small(2, 1, 9) + rest + small(1, 1)), LAYOUT)

    assert [content for _, content in events] == [b"\x09" * 4]


def test_lost_events_are_flagged() -> None:
    assert parse_page(page(0, small(1, 1), 1 << 31), LAYOUT)[1]


@given(
    st.lists(st.tuples(st.integers(0, (1 << 27) - 1), st.binary(min_size=4, max_size=300))),
    st.integers(0, 1 << 50),
)
def test_whatever_is_written_is_read(written: list[tuple[int, bytes]], start: int) -> None:
    events, expected, now = b"", [], start
    for delta, content in written:
        whole = content.ljust(-(-len(content) // 4) * 4, b"\0")
        event = small(delta, 0) if not whole else large(delta, whole)
        if len(whole) <= 28 * 4 and len(content) % 2:
            event = head(len(whole) // 4, delta) + whole
        if len(events) + len(event) > 4080:
            break
        events += event
        now += delta
        expected.append((now, whole))

    assert parse_page(page(start, events), LAYOUT) == (expected, False)


@given(st.binary(max_size=5000))
def test_no_bytes_make_it_stumble(content: bytes) -> None:
    for order in "<>":
        events, _ = parse_page(content, parse_page_format(HEADER_PAGE, order))
        assert sum(len(one) for _, one in events) <= len(content)
