# SPDX-License-Identifier: LGPL-2.1-or-later
"""What people call a network namespace that is mounted somewhere."""

from __future__ import annotations

__all__ = ("short_name",)


def short_name(path: str) -> str:
    """The name that ip netns has for it, which follows ``/netns/``; else the path."""
    return path.rpartition("/netns/")[2]
