# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard output for many sockets: as much at a time as its buffer takes, unless a person waits for each line."""

from __future__ import annotations

import sys
from collections.abc import Iterable

__all__ = ("write", "write_lines")

_CHARACTERS = 8192  # the size of that buffer


def write(pieces: Iterable[str], end: str = "") -> None:
    """Pieces of text, each with ``end`` behind it; those that came before an exception are written too."""
    put, most = sys.stdout.write, 0 if sys.stdout.isatty() else _CHARACTERS
    waiting: list[str] = []
    count = 0
    try:
        for piece in pieces:
            waiting.append(piece)
            if end:
                waiting.append(end)
            count += len(piece)
            if count >= most:
                text = "".join(waiting)
                waiting, count = [], 0
                put(text)
    finally:
        if waiting:
            put("".join(waiting))


def write_lines(lines: Iterable[str]) -> None:
    """Lines of text."""
    write(lines, "\n")
