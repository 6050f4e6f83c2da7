# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of UNIX sockets: each text stands for just one name, and can be printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.families import raw_name
from sockcrash.decode.unix import name_text

TRICKY = st.binary(max_size=110) | st.lists(
    st.sampled_from([b"\\", b"@", b"x41", b"\0", b"\n", b"\xff", "é".encode()])
).map(b"".join)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"/run/x.sock", "/run/x.sock"),
        (b"\0abstract", "@abstract"),
        (b"@file", r"\x40file"),
        (b"\0@twice", "@@twice"),
        (b"\0", "@"),
        (b"\0a\0b\0", r"@a\x00b\x00"),
        (b"\0\xff\x1b[31m\n", r"@\xff\x1b[31m\x0a"),
        (rb"\x41", r"\\x41"),
        ("é ☃".encode(), "é ☃"),
        ("\u202eevil".encode(), r"\xe2\x80\xaeevil"),
    ],
)
def test_names(name: bytes, text: str) -> None:
    assert name_text(name) == text


@given(TRICKY)
def test_the_text_leads_back_to_the_name(name: bytes) -> None:
    assert raw_name(name_text(name)) == name


@given(TRICKY)
def test_the_text_is_safe(name: bytes) -> None:
    assert name_text(name).isprintable()
    assert name_text(name).startswith("@") == name.startswith(b"\0")


@given(TRICKY, TRICKY)
def test_two_names_are_two_texts(one: bytes, other: bytes) -> None:
    assert (name_text(one) == name_text(other)) == (one == other)
