# SPDX-License-Identifier: LGPL-2.1-or-later
"""Formats of events as kernels describe them, and records by them."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.trace.formats import parse_format

# As Linux 6.1 gives it.
ENTER = """\
name: enter
ID: 1601
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:unsigned long __probe_ip;\toffset:8;\tsize:8;\tsigned:0;
\tfield:s32 fd;\toffset:16;\tsize:4;\tsigned:1;
\tfield:__data_loc char[] mapped;\toffset:20;\tsize:4;\tsigned:1;
\tfield:u64 value[4];\toffset:24;\tsize:32;\tsigned:0;

print fmt: "(%lx) fd=%d", REC->__probe_ip, REC->fd
"""
LAYOUT = parse_format(ENTER, "<")


def record(mapped: int, tail: bytes) -> bytes:
    return struct.pack("<HBBiQiI32s", 1601, 0, 0, 77, 5, -1, mapped, bytes(range(32))) + tail


def test_fields_with_their_sign_and_arrays_as_bytes() -> None:
    values = LAYOUT.decode(record(3 << 16 | 56, b"ab\0\0"))

    assert LAYOUT.number == 1601
    assert (values["common_pid"], values["fd"], values["value"]) == (77, -1, bytes(range(32)))
    assert values["mapped"] == b"ab\0"


@pytest.mark.parametrize(
    ("mapped", "tail", "text"),
    [
        (0 << 16 | 56, b"", None),  # Linux 6.1, a fault: no room for it
        (0 << 16 | 56, bytes(4), b""),  # an empty string: room for its NUL
        (8 << 16 | 56, b"(fault)\0", None),  # Linux 6.12
    ],
)
def test_a_string_that_could_not_be_read_is_none(mapped: int, tail: bytes, text: bytes | None) -> None:
    assert LAYOUT.decode(record(mapped, tail))["mapped"] == text


def test_a_text_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="ID"):
        parse_format(ENTER.replace("ID: ", "no: "), "<")


@given(st.binary(max_size=200))
def test_any_record_is_decoded(content: bytes) -> None:
    assert set(LAYOUT.decode(content)) == set(LAYOUT.names)


@given(
    st.lists(
        st.sampled_from([*ENTER.splitlines(), "\tfield:u8 x;\toffset:99999;\tsize:8;\tsigned:0;", "ID: 7"])
    )
)
def test_any_text_gives_a_layout_or_a_refusal(lines: list[str]) -> None:
    with contextlib.suppress(ValueError):
        layout = parse_format("\n".join(lines), "<")
        layout.decode(bytes(64))
