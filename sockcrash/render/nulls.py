# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an absent value is in JSON: null in its place, and the reason in ``absent`` under its name."""

from __future__ import annotations

from typing import Any

from sockcrash.model import Absent

__all__ = ("or_null",)


def or_null(absent: dict[str, str], name: str, value: Any) -> Any:
    """The value, or None if it is Absent, which ``absent`` then tells of."""
    if isinstance(value, Absent):
        absent[name] = str(value)
        return None
    return value
