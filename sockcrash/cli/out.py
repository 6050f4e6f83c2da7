# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard output for many sockets: some lines at a time, unless a person waits for each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice

__all__ = ("write", "write_lines")

_LINES = 64


def write(pieces: Iterable[str]) -> None:
    """Pieces of text as they come."""
    put = sys.stdout.write
    for piece in pieces:
        put(piece)


def write_lines(lines: Iterable[str]) -> None:
    """Likewise, each with the end of a line behind it."""
    put = sys.stdout.write
    for some in _batches(iter(lines), 1 if sys.stdout.isatty() else _LINES):
        put("\n".join(some) + "\n")


def _batches(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    while some := list(islice(lines, size)):
        yield some
