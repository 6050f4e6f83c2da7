# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two samples of one socket into what has changed between them, and how fast its counters go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.model import SocketRecord

__all__ = ("DEFAULT_FIELDS", "OTHER_FIELDS", "Sample", "next_sample")

COUNTERS = frozenset({
    "bytes_acked", "bytes_received", "bytes_sent", "bytes_retrans", "segs_in", "segs_out", "data_segs_in",
    "data_segs_out", "total_retrans", "delivered", "delivered_ce", "dsack_dups", "reord_seen", "rcv_ooopack", "drops",
})  # fmt: skip
"""What only grows; those that the kernel keeps in 32 bits go round."""
_ROUND = 1 << 32
_WIDE = frozenset({"bytes_acked", "bytes_received", "bytes_sent", "bytes_retrans"})

DEFAULT_FIELDS: dict[str, tuple[str, ...]] = {
    "tcp": (
        "snd_cwnd", "snd_ssthresh", "ca_state", "rtt_us", "packets_out", "notsent_bytes", "total_retrans",
        "bytes_acked", "bytes_received",
    ),
}  # fmt: skip
OTHER_FIELDS: tuple[str, ...] = ("sk_rmem_alloc", "wmem_alloc_bytes", "sk_backlog.len", "drops")


@dataclass(frozen=True, slots=True)
class Sample:
    """A look at a socket: at what time (seconds since the epoch, and of a clock that nobody sets), what it showed.

    ``changed``: old values by name, of what differs from the sample before. ``rates``: per second since then.
    """

    time: float
    clock: float
    record: SocketRecord
    fields: dict[str, Any]
    changed: dict[str, Any]
    rates: dict[str, float]


def next_sample(
    before: Sample | None, time: float, clock: float, record: SocketRecord, values: Mapping[str, Any]
) -> Sample:
    """The sample of now; ``state`` is among what may have changed."""
    fields = {"state": record.state, **values}
    if before is None:
        return Sample(time, clock, record, fields, {}, {})
    changed = {
        name: before.fields[name] for name, value in fields.items() if before.fields.get(name, value) != value
    }
    span = clock - before.clock
    rates = {
        name: _grown(name, before.fields.get(name), value) / span
        for name, value in fields.items()
        if name in COUNTERS
        and span > 0
        and isinstance(value, int)
        and isinstance(before.fields.get(name), int)
    }
    return Sample(time, clock, record, fields, changed, rates)


def _grown(name: str, then: Any, now: Any) -> int:
    more = int(now - then)
    return more if more >= 0 or name in _WIDE else more % _ROUND
