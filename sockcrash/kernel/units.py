# SPDX-License-Identifier: LGPL-2.1-or-later
"""How raw members become values in common units: expressions over ``x``, the member, and ``c``, the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.clock import Clock

__all__ = ("EXPRESSIONS", "NAMES", "SPELLED", "age32_ms", "signed32")

_NEVER = Absent(Reason.NOT_ASSIGNED, "never happened")
_NO_SAMPLE = Absent(Reason.NOT_ASSIGNED, "no sample yet")
_UNLIMITED = Absent(Reason.UNLIMITED)
_INITIAL_SSTHRESH = Absent(Reason.UNLIMITED, "initial slow start")


def age32_ms(stamp: int, clock: Clock) -> int | Absent:
    """Milliseconds since a ``tcp_jiffies32`` stamp (u32); jiffies may lag a little in a dump, so never negative."""
    if stamp == 0:
        return _NEVER
    if clock.lost is not None:
        return clock.lost
    age = (clock.ticks - stamp) & 0xFFFFFFFF
    return 0 if age >= 0x80000000 else age * 1000 // clock.rate


def signed32(difference: int) -> int:
    """A difference of sequence numbers or 32-bit stamps as a signed number (``before()``, ``time_before32()``)."""
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def text(raw: bytes) -> str:
    """A NUL-terminated ``char[]`` of the kernel; bytes that are not ASCII are kept as escapes."""
    return raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace")


EXPRESSIONS: dict[str, str] = {
    "srtt": "x >> 3 if x else no_sample",
    "shr2": "x >> 2",
    "rtt": "x >> 3 if x else no_sample",
    "jiffies_ms": "x * 1000 // c.rate if c.rate else c.lost",
    "jiffies_us": "x * 1000000 // c.rate if c.rate else c.lost",
    "age32_ms": "age32_ms(x, c)",
    "min_rtt": "no_sample if x == 0xFFFFFFFF else x",
    "ssthresh": "initial_ssthresh if x >= 0x7FFFFFFF else x",
    "rate": "unlimited if x == c.ulong_max else x",
    "less_one": "x - 1",
    "nonzero": "x != 0",
    "text": "text(x)",
}
NAMES: dict[str, Any] = {
    "age32_ms": age32_ms,
    "text": text,
    "no_sample": _NO_SAMPLE,
    "unlimited": _UNLIMITED,
    "initial_ssthresh": _INITIAL_SSTHRESH,
}

# Those that are functions above, as one expression of names that drgn has, for code that is printed.
SPELLED: dict[str, str] = {
    "age32_ms": "max(0, (c.jiffies - x + 0x80000000 & 0xFFFFFFFF) - 0x80000000) * 1000 // c.rate"
    " if x and c.rate else None",
    "text": 'x.split(b"\\0", 1)[0].decode("ascii", "backslashreplace")',
}
