# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard output for many sockets: through its buffer, not flushed at every line unless it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable

__all__ = ("write", "write_lines")


def write(pieces: Iterable[str]) -> None:
    """Pieces of text as they come."""
    put = sys.stdout.write
    for piece in pieces:
        put(piece)


def write_lines(lines: Iterable[str]) -> None:
    """Likewise, each with the end of a line behind it."""
    put = sys.stdout.write
    for line in lines:
        put(line + "\n")
