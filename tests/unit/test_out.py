# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard output in pieces: nothing is lost or late."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from sockcrash.cli.out import write, write_lines


class Spy(io.StringIO):
    """Standard output that remembers how often it was written to."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal
        self.writes = 0

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.mark.parametrize("terminal", [False, True])
def test_every_line_comes_in_order(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    out = Spy(terminal=terminal)
    monkeypatch.setattr("sys.stdout", out)
    lines = [f"line {number}" for number in range(5000)]

    write_lines(lines)
    assert out.getvalue().splitlines() == lines
    assert (out.writes == len(lines)) is terminal


def test_a_terminal_has_each_line_before_the_next_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Spy(terminal=True)
    monkeypatch.setattr("sys.stdout", out)

    def lines() -> Iterator[str]:
        for number in range(3):
            assert out.writes == number
            yield str(number)

    write_lines(lines())


def test_what_came_before_an_exception_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Spy()
    monkeypatch.setattr("sys.stdout", out)

    def pieces() -> Iterator[str]:
        yield "one "
        yield "two"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write(pieces())
    assert out.getvalue() == "one two"
