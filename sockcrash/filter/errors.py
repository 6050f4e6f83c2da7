# SPDX-License-Identifier: LGPL-2.1-or-later
"""A filter that is wrong, and where."""

from __future__ import annotations

from sockcrash.errors import UsageError

__all__ = ("FilterError",)


class FilterError(UsageError):
    """``start`` and ``end`` are the place in ``text`` that the message is about."""

    def __init__(self, message: str, text: str, start: int, end: int) -> None:
        shown = "".join(" " if character.isspace() else character for character in text)
        caret = " " * start + "^" * max(end - start, 1)
        super().__init__(f"filter: {message} (at character {start + 1})", hint=f"here:\n  {shown}\n  {caret}")
        self.text = text
        self.start = start
        self.end = end
