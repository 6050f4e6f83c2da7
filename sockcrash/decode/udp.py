# SPDX-License-Identifier: LGPL-2.1-or-later
"""UDP and UDP-Lite sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode.computed import amend
from sockcrash.model import Absent

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields",)


def fields(_kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The udp section. Recv-Q is without what was read and not given back yet (``udp_rqueue_get``)."""
    queues = parts.memory_queues()
    received, deficit = queues["recv_q"], parts.own["forward_deficit"]
    if not isinstance(received, Absent):
        queues["recv_q"] = deficit if isinstance(deficit, Absent) else received - deficit
    return {"udp": amend(parts.own, queues)}
