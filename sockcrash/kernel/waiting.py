# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets wait in the queue of a listener for accept(2), of all families that listen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.chains import MAX_CHAIN, Complain, ring
from sockcrash.kernel.fields import row
from sockcrash.kernel.fields_queue import ACCEPT_QUEUE, REQUEST_LINK
from sockcrash.kernel.layout import Group
from sockcrash.kernel.mptcp import owner_of_subflow
from sockcrash.kernel.tables_other import array_sockets
from sockcrash.kernel.tables_tcp import listeners

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("accept_queue", "waiting")

_STATE = Group("sk_state", (row("skc_state", "struct sock_common"),))
# Children of a VSOCK listener: still in the handshake, or ready (net/vmw_vsock/af_vsock.c).
_VSOCK_QUEUES = Group(
    "vsock_accept_queues",
    (row("accept_queue", "struct vsock_sock"), row("pending_links", "struct vsock_sock")),
)


def waiting(kernel: Kernel, complain: Complain) -> dict[int, int]:
    """The listener of each TCP, MPTCP and VSOCK socket that was not accepted yet; of UNIX see ``in_flight``."""
    found: dict[int, int] = {}
    for children in (_of_tcp, _of_vsock):
        try:
            found.update(children(kernel, complain))
        except drgn.FaultError as error:
            complain(f"accept queues can't be read any further: {error}")
    return found


def _of_tcp(kernel: Kernel, complain: Complain) -> Iterator[tuple[int, int]]:
    for listener in listeners(kernel, complain):
        multipath = 0
        for number, child in enumerate(accept_queue(kernel, listener, complain)):
            if number == 0:
                multipath = owner_of_subflow(kernel, listener)
            yield child, listener
            if multipath:
                yield owner_of_subflow(kernel, child), multipath


def accept_queue(kernel: Kernel, listener: int, complain: Complain, most: int = MAX_CHAIN) -> Iterator[int]:
    """The sockets that wait at a TCP listener, oldest first (net/core/request_sock.c, reqsk_queue_remove).

    Raises drgn.FaultError.
    """
    (queue,) = kernel.reader(ACCEPT_QUEUE).sections(listener)
    request = queue["accept"]
    seen: set[int] = set()
    while request:
        if request in seen or len(seen) >= most:
            complain(f"the accept queue through {request:#x} runs in a circle: cut there")
            return
        seen.add(request)
        (section,) = kernel.reader(REQUEST_LINK).sections(request)
        yield section["sk"]
        request = section["dl_next"]


def _of_vsock(kernel: Kernel, complain: Complain) -> Iterator[tuple[int, int]]:
    for found in array_sockets(kernel, complain):
        if found.kinds != ("vsock",):
            continue
        (head,) = kernel.reader(_STATE).sections(found.address)
        if head["skc_state"] != uapi.LISTEN:
            continue
        for offset in kernel.offsets(_VSOCK_QUEUES).values():
            for child in ring(kernel, found.address + offset, offset, complain):
                yield child, found.address
