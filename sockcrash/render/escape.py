# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text from a kernel made safe for a terminal: control characters and the like become escapes."""

from __future__ import annotations

__all__ = ("printable",)


def printable(text: str) -> str:
    """``text`` with every character that a terminal might obey written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
