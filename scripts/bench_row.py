# SPDX-License-Identifier: LGPL-2.1-or-later
"""A line of the benches' table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A line of the table: what, ours, theirs, and the ratio or difference with its target."""

    what: str
    ours: str
    theirs: str
    result: str
    target: str = ""


def ms(seconds: float) -> str:
    """Seconds for the table."""
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e6:.0f} µs"
