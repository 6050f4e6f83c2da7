# SPDX-License-Identifier: LGPL-2.1-or-later
"""MPTCP sockets, and the TCP sockets that carry their data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.computed import amend, pointer
from sockcrash.kernel import uapi
from sockcrash.kernel.fields import SOCK
from sockcrash.kernel.mptcp import fell_back, subflows
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields",)


def fields(kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The mptcp section."""
    own = parts.own
    added = {
        "fallback": fell_back(kernel, own["flags"]),
        "first": pointer(own["first"]),
        "subflows": _subflows(kernel, parts.address),
        **_queues(kernel, parts),
    }
    return {"mptcp": amend(own, added, ("ca_name",))}


def _subflows(kernel: Kernel, address: int) -> tuple[int, ...] | Absent:
    """Addresses of the TCP sockets on conn_list; what that list lacks makes it absent."""
    trouble: list[str] = []
    try:
        found = subflows(kernel, address, trouble.append)
    except drgn.FaultError as error:
        return kernel.unreadable(error)
    if trouble:
        return Absent(Reason.UNREADABLE, trouble[0])
    return tuple(found)


def _queues(kernel: Kernel, parts: Parts) -> dict[str, int | Absent]:
    """Recv-Q and Send-Q; of a listener the accept queue of its TCP socket and that queue's limit."""
    if parts.identity["skc_state"] != uapi.LISTEN:
        return parts.memory_queues()
    first = parts.own["first"]
    if isinstance(first, Absent) and first.lost:
        return dict.fromkeys(("recv_q", "send_q"), first)
    if not first:
        return parts.memory_queues()
    try:
        (sock,) = kernel.reader(SOCK).sections(first)
    except drgn.FaultError as error:
        return dict.fromkeys(("recv_q", "send_q"), kernel.unreadable(error))
    return {"recv_q": sock["sk_ack_backlog"], "send_q": sock["sk_max_ack_backlog"]}
