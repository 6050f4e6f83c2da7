# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a SPEC is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.errors import UsageError
from sockcrash.locate.spec import FORMS, Spec, parse_spec


@pytest.mark.parametrize(
    ("text", "form", "number"),
    [
        ("ffff8802305a0800", "address", 0xFFFF8802305A0800),
        ("0xffff8802305a0800", "address", 0xFFFF8802305A0800),
        ("0XFFFF8802305A0800", "address", 0xFFFF8802305A0800),
        ("FF1DEEA4829E1B00", "address", 0xFF1DEEA4829E1B00),
        ("0", "address", 0),
        ("0x0", "address", 0),
        ("0x5", "address", 5),
        ("123456789", "address", 0x123456789),
        ("sk:1001", "sk", 0x1001),
        ("sk:0x1001", "sk", 0x1001),
        ("sk:a", "sk", 10),
        ("sk:ffff8802305a0800", "sk", 0xFFFF8802305A0800),
        ("cookie:4097", "cookie", 4097),
        ("cookie:0x1001", "cookie", 4097),
        ("ino:12453", "ino", 12453),
        ("pid:1", "pid", 1),
    ],
)
def test_forms(text: str, form: str, number: int) -> None:
    assert parse_spec(text) == Spec(text, form, number)


def test_a_descriptor() -> None:
    assert parse_spec("fd:1234/7") == Spec("fd:1234/7", "fd", 1234, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "12345678",  # eight digits: a number of what? 0x makes it an address
        "deadbeef",
        "00",
        "0x",
        "0x12345678901234567",
        "ffff8802305a08000",
        "ffff8802305a080g",
        "-1",
        "+5",
        " ffff8802305a0800",
        "ffff8802305a0800\n",
        "ffff_8802_305a_0800",
        "sk:",
        "sk:xyz",
        "sk:-1",
        "sk:10010000000000000",
        "cookie:",
        "cookie:1001g",
        "cookie:-1",
        "cookie:1_0",
        "ino:0x10",
        "ino:",
        "ino:1 ",
        "ino:\u0661",  # a digit, but of another script
        "fd:1234",
        "fd:/7",
        "fd:1/",
        "fd:1/2/3",
        "fd:a/b",
        "pid:",
        "pid:self",
        "tpc:1",
        ":",
        "tcp",
    ],
)
def test_other_words_are_usage_errors_that_show_the_forms(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)

    assert caught.value.exit_code == 2
    assert caught.value.hint == FORMS
    assert repr(text) in caught.value.message


@given(st.text(max_size=40))
def test_any_text_is_a_spec_or_a_usage_error(text: str) -> None:
    try:
        spec = parse_spec(text)
    except UsageError:
        return
    assert 0 <= spec.number < 1 << 67
    assert spec.text == text


@given(st.integers(0, (1 << 64) - 1))
def test_an_address_with_0x_is_always_one(number: int) -> None:
    assert parse_spec(f"0x{number:x}").number == number
    assert parse_spec(f"{number:016x}") == Spec(f"{number:016x}", "address", number)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:443", "Did you mean tcp:127.0.0.1:443?"),
        (":443", "Did you mean tcp::443?"),
        ("[::1]:443", "Did you mean tcp:[::1]:443?"),
        ("10.0.0.1:5-10.0.0.2:6", "Did you mean tcp:10.0.0.1:5-10.0.0.2:6?"),
        ("443", "Did you mean tcp::443, pid:443 or ino:443?"),
    ],
)
def test_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_spec(text)
    assert refused.value.message.endswith(meant)
