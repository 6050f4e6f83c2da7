# SPDX-License-Identifier: LGPL-2.1-or-later
"""One traced call of setsockopt(2), as it was made and as it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sockcrash.model import Absent, Endpoint

__all__ = ("Call", "Head", "Held", "Traced")


@dataclass(frozen=True, slots=True)
class Head:
    """What kind of socket it is, and its ends: as in a SocketRecord."""

    family: str
    type: str
    protocol: str
    state: str
    local: Endpoint | Absent
    peer: Endpoint | Absent


@dataclass(frozen=True, slots=True)
class Traced:
    """The socket of a call when it was made."""

    address: int
    inode: int
    head: Head | Absent


@dataclass(frozen=True, slots=True)
class Held:
    """What the socket's memory held after a call, and how that compares: ``same``, ``lowered``, ``raised``,
    ``rounded``, ``ignored``, or None where it can't be compared."""

    value: Any
    text: str
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """A call. ``time``: seconds since the epoch at its begin. ``ns``: how long it took, None if its end was not seen.

    ``level`` and ``name`` are names where they are known. ``value`` is decoded by the option's own type, ``raw`` its
    bytes as far as they were fetched (``late``: after the call, from the caller's memory). ``switch``: whether the
    value turns something on (True), off (False), or neither (None). ``result``: 0 or more, or a negative errno; None
    if the end of the call was not seen. ``via``: ``syscall`` or ``io_uring``.
    """

    time: float
    ns: int | None
    comm: str
    pid: int | None
    tid: int
    via: str
    fd: int
    level: str
    level_number: int
    name: str
    number: int
    length: int
    value: Any
    text: str
    raw: bytes | Absent
    late: bool
    switch: bool | None
    result: int | None
    socket: Traced | Absent
    check: Held | Absent | None = field(default=None)
