# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the route that a socket has cached says: metrics, MTU, hop limit."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("RTAX_HOPLIMIT", "RTAX_LOCK", "RTAX_MTU", "RTAX_RTO_MIN", "metric")

# include/uapi/linux/rtnetlink.h
RTAX_LOCK, RTAX_MTU, RTAX_HOPLIMIT, RTAX_RTO_MIN = 1, 2, 10, 13

_DST = Group("dst_entry", (row("_metrics", "struct dst_entry"),))


def metric(kernel: Kernel, dst: int, number: int) -> int:
    """dst_metric_raw(): a metric of the ``struct dst_entry *`` ``dst``, 0 if it is not set. Raises drgn.FaultError."""
    (section,) = kernel.reader(_DST).sections(dst)
    metrics = section["_metrics"] & ~3
    if not metrics:
        return 0
    (value,) = struct.unpack(kernel.byte_order + "I", kernel.read(metrics + 4 * (number - 1), 4))
    return int(value)
