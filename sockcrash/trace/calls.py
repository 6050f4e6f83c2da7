# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events of single probes into whole calls: each thread makes one call at a time.

A call begins with ``enter``, ``hidden`` (its value is never fetched) or ``light`` (not at this rate of calls), may get
a ``socket`` or ``light_socket``, and ends with ``exit``. While a trace goes over to the light ones or back, all are
enabled, and a call may have two of each.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ("Began", "Finished", "Pairs")

_BEGINS = {
    "enter": "syscall", "hidden": "syscall", "light": "syscall",
    "uring_enter": "io_uring", "uring_hidden": "io_uring", "uring_light": "io_uring",
}  # fmt: skip
_LIGHT = ("light", "uring_light")
_SOCKETS = ("socket", "light_socket")
_SAME = ("fd", "level", "optname", "optlen")
# What stands before the address in what was fetched: of IPv4 only that, of IPv6 the struct sockaddr_in6 as it is.
_SOURCES = {"source4": struct.pack("=HH", socket.AF_INET, 0), "source6": b""}
_ENDS = {"exit": "syscall", "uring_exit": "io_uring"}


@dataclass(slots=True)
class Began:
    """A call that is under way: when, by whom, with which arguments, on which socket.

    ``source``: of a multicast request, its source as a struct sockaddr. ``light``: the value was not fetched because
    there were too many calls. ``twice``: both entries of the call have been seen.
    """

    ns: int
    tid: int
    via: str
    arguments: dict[str, Any]
    comm: str
    pid: int | None
    socket: dict[str, Any] | None = None
    source: bytes = b""
    light: bool = False
    twice: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A call, and its end: nothing of that if it was lost."""

    began: Began
    ns: int | None
    result: int | None


class Pairs:
    """The calls that are under way, by thread. ``tolerant``: some ends are not reported at all, and no loss."""

    def __init__(self, *, tolerant: bool = False) -> None:
        self._open: dict[int, Began] = {}
        self._tolerant = tolerant

    def add(
        self, ns: int, tid: int, event: str, fields: dict[str, Any], who: tuple[int | None, str]
    ) -> Finished | None:
        """Take an event in order of time; the call that it ends, if it ends one."""
        if event in _BEGINS:
            return self._begin(Began(ns, tid, _BEGINS[event], fields, who[1], who[0], light=event in _LIGHT))
        began = self._open.get(tid)
        if began is None:
            return None
        if event in _SOCKETS:
            if began.socket is None or _says_more(fields, began.socket):
                began.socket = fields
        elif event in _SOURCES:
            began.source = _SOURCES[event] + fields["source"]
        elif _ENDS.get(event) == began.via:
            del self._open[tid]
            return Finished(began, ns - began.ns, fields["ret"])
        return None

    def _begin(self, began: Began) -> Finished | None:
        before = self._open.get(began.tid)
        if before is not None and _is_same(before, began):
            before.twice = began.twice = True
            if before.light:
                self._open[began.tid] = began
            return None
        self._open[began.tid] = began
        return None if before is None or self._tolerant else Finished(before, None, None)

    def rest(self) -> Iterator[Finished]:
        """The calls that have not ended."""
        if not self._tolerant:
            yield from (Finished(began, None, None) for began in self._open.values())
        self._open.clear()


def _says_more(socket: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether it is the same socket, and there is more of it."""
    return socket["sk"] == before["sk"] and len(socket) > len(before)


def _is_same(before: Began, began: Began) -> bool:
    """Whether two entries are of one call: one of each kind, alike, one directly after the other.

    Between two calls there would be an end, or, where the ends of calls that succeed are filtered, a socket.
    """
    return (
        before.light is not began.light
        and not before.twice
        and before.socket is None
        and before.via == began.via
        and all(before.arguments.get(name) == began.arguments.get(name) for name in _SAME)
    )
