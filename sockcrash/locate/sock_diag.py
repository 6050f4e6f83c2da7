# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets the running kernel tells of itself, over sock_diag: no kernel memory, no drgn, and no root for most.

The smaller answer: of one network namespace, without sockets that are not in its tables, options, or members. But it
filters in the kernel by state, port and address, and being asked gives every socket a cookie: each answer is a SPEC.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sockcrash.locate import sock_diag_inet as inet
from sockcrash.locate import sock_diag_others as others
from sockcrash.locate.answer import Answer, Query
from sockcrash.locate.netlink import DiagError, dump

__all__ = ("KINDS", "Answer", "Answers", "DiagError", "Query", "ask")

_TRIES = 3
_NO_MODULE = "this kernel, or a module that is not loaded, doesn't tell of them"


@dataclass(slots=True)
class Answers:
    """What was told; ``refused`` are kinds of which nothing is told, and why; ``interrupted`` are kinds of which some
    sockets may be missing, for their tables changed during every try."""

    found: list[Answer] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    interrupted: list[str] = field(default_factory=list)


_Requests = Callable[[Query], Iterator[bytes]]
_Parse = Callable[[bytes], Answer]
_QUESTIONS: dict[str, tuple[_Requests, _Parse]] = {
    **{kind: (inet.requests(kind), inet.answer(kind)) for kind in inet.PROTOCOLS},
    "unix": (others.unix_requests, others.unix_answer),
    "packet": (others.packet_requests, others.packet_answer),
    "netlink": (others.netlink_requests, others.netlink_answer),
    "vsock": (others.vsock_requests, others.vsock_answer),
}
KINDS = tuple(_QUESTIONS)


def ask(query: Query) -> Answers:
    """Ask for the sockets of all kinds that the query names, or all; DiagError if the kernel tells of none of them."""
    deadline = time.monotonic() + query.timeout
    told = Answers()
    kinds = query.kinds or KINDS
    for kind in kinds:
        requests, parse = _QUESTIONS[kind]
        try:
            for request in requests(query):
                bodies, whole = _bodies(request, deadline, query)
                told.found += map(parse, bodies)
                if not whole and kind not in told.interrupted:
                    told.interrupted.append(kind)
        except DiagError as error:
            missing = error.number in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP)
            told.refused[kind] = _NO_MODULE if missing else error.message
    if len(told.refused) == len(set(kinds)):
        raise DiagError(f"the kernel tells of no sockets over netlink: {next(iter(told.refused.values()))}")
    return told


def _bodies(request: bytes, deadline: float, query: Query) -> tuple[tuple[bytes, ...], bool]:
    """The answers to a request, and whether they are all; asked again if the tables changed meanwhile."""
    for _ in range(_TRIES):
        got = dump(request, timeout=deadline - time.monotonic(), netns=query.netns)
        if not got.interrupted:
            return got.bodies, True
    return got.bodies, False
