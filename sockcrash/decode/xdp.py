# SPDX-License-Identifier: LGPL-2.1-or-later
"""XDP sockets: device and queue, rings and the memory they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode.computed import amend
from sockcrash.decode.surroundings import device_name
from sockcrash.model import Absent, Endpoint, Reason

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields",)

_NO_PEER = Absent(Reason.NOT_APPLICABLE, "sockets of this family have no peer")
_UNBOUND = Absent(Reason.NOT_APPLICABLE, "not bound to a device")
# enum of struct xdp_sock.state
_STATES = {0: "READY", 1: "BOUND", 2: "UNBOUND"}


def fields(kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The xdp section and its end."""
    own = parts.own
    state = own["state"]
    where = "pool." if own["pool"] else ""
    added = {
        "state_name": state if isinstance(state, Absent) else _STATES.get(state, str(state)),
        "fq.nentries": own[f"{where}fq.nentries" if where else "fq_tmp.nentries"],
        "cq.nentries": own[f"{where}cq.nentries" if where else "cq_tmp.nentries"],
        "fq.queue_empty_descs": own["pool.fq.queue_empty_descs"],
        **parts.memory_queues(),
    }
    hidden = ("pool", "pool.fq.nentries", "pool.cq.nentries", "fq_tmp.nentries", "cq_tmp.nentries")
    section = amend(own, added, (*hidden, "pool.fq.queue_empty_descs"))
    return {"xdp": section, "local": _local(kernel, parts), "peer": _NO_PEER}


def _local(kernel: Kernel, parts: Parts) -> Endpoint | Absent:
    ifindex, queue = parts.own["ifindex"], parts.own["queue_id"]
    if isinstance(queue, Absent):
        return queue
    if isinstance(ifindex, Absent):
        return _UNBOUND if ifindex.reason is Reason.NOT_APPLICABLE else ifindex
    return Endpoint(
        ifindex=ifindex, device=device_name(kernel, parts.identity["skc_net"], ifindex), queue=queue
    )
