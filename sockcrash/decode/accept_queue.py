# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who waits at a TCP listener: connections to be accepted, and handshakes that are not complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields_queue import UNACCEPTED
from sockcrash.kernel.waiting import accept_queue
from sockcrash.model import Absent, Reason
from sockcrash.model.waiting import Queue, Segment

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.decode.want import Want
    from sockcrash.kernel.view import Kernel

__all__ = ("listener_queues",)

_MOST = 1 << 16  # listen(2) takes no more than net.core.somaxconn, which is less


def listener_queues(kernel: Kernel, parts: Parts, want: Want) -> tuple[Queue, ...]:
    """The accept queue and the SYN queue (the requests themselves lie in the table of connections)."""
    sock, tcp = parts.sock, parts.own
    limit = sock["sk_max_ack_backlog"]
    waiting = _children(kernel, parts.address) if want.segments else None
    if isinstance(waiting, Absent):
        return (Queue("accept", waiting, limit=limit), Queue("syn", tcp["accept_queue.qlen"], limit=limit))
    return (
        Queue("accept", sock["sk_ack_backlog"], limit=limit, segments=waiting),
        Queue("syn", tcp["accept_queue.qlen"], limit=limit),
    )


def _children(kernel: Kernel, address: int) -> tuple[Segment, ...] | Absent:
    trouble: list[str] = []
    try:
        found = tuple(_child(kernel, child) for child in accept_queue(kernel, address, trouble.append, _MOST))
    except drgn.FaultError as error:
        return kernel.unreadable(error)
    return Absent(Reason.UNREADABLE, trouble[0]) if trouble else found


def _child(kernel: Kernel, address: int) -> Segment:
    """A connection, as long as what it holds unread."""
    (tcp,) = kernel.reader(UNACCEPTED).sections(address)
    return Segment(address, tcp["rcv_nxt"] - tcp["copied_seq"] & 0xFFFFFFFF, 0)
