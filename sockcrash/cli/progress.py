# SPDX-License-Identifier: LGPL-2.1-or-later
"""How far a long walk has come, on standard error, for who waits at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ("counted",)

T = TypeVar("T")
_PATIENCE = 1.0  # seconds before the first word
_PAUSE = 0.25
_STEP = 64


def counted(items: Iterable[T], what: str, *, quiet: bool) -> Iterator[T]:
    """The same items; how many there were is shown after a second, and wiped away at the end.

    Nothing is shown with ``quiet``, or if standard error is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield from items
        return
    due = time.monotonic() + _PATIENCE
    shown = False
    try:
        for number, item in enumerate(items, 1):
            if not number % _STEP and time.monotonic() >= due:
                due = time.monotonic() + _PAUSE
                shown = True
                _show(f"{number} {what}")
            yield item
    finally:
        if shown:
            _show("")


def _show(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
