# SPDX-License-Identifier: LGPL-2.1-or-later
"""Timeouts in jiffies as struct timeval (net/core/sock.c, sock_get_timeout)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.kernel.options.codecs import record

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("INFINITE", "TIMEVAL", "timeval", "timeval_text")

INFINITE = (1 << 63) - 1  # MAX_SCHEDULE_TIMEOUT


def _text(value: dict[str, int]) -> str:
    """``3.5 s``; of a caller that gives no part of a second as µs, both as they are."""
    if not 0 <= value["usec"] < 1_000_000:
        return f"{value['sec']} s and {value['usec']} µs"
    fraction = f".{value['usec']:06d}".rstrip("0") if value["usec"] else ""
    return f"{value['sec']}{fraction} s" if any(value.values()) else "none"


TIMEVAL = record("qq", ("sec", "usec"), _text)


def timeval(context: Context, jiffies: int) -> dict[str, int]:
    """Seconds and µs; infinite is written as zero, as is a stored zero, which means "never wait"."""
    hz = context.clock.hz
    jiffies = 0 if jiffies == INFINITE else jiffies
    return {"sec": jiffies // hz, "usec": jiffies % hz * 1_000_000 // hz}


def timeval_text(_context: Context, value: dict[str, int], *inputs: Any) -> str:
    """Likewise; the last input is the number of jiffies."""
    return "never wait" if inputs[-1] == 0 else _text(value)
