# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level SOL_XDP (net/xdp/xsk.c, xsk_setsockopt and xsk_getsockopt)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.kernel.layout import Field, Place, resolve
from sockcrash.kernel.options.codecs import COUNT, Codec, flags, items, record, shown
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import SET_ONLY, Option, field
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

_BUDGET = 32  # TX_BATCH_SIZE


def _xdp(*paths: str | Place, name: str = "") -> Field:
    return field("xdp_sock", *paths, name=name)


def _row(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("SOL_XDP", name, number, codec, fields, kinds=("xdp",), **more)


def _or_zero(value: Any) -> Any:
    """A counter behind a pointer: 0 where there is nothing to count."""
    return 0 if isinstance(value, Absent) and value.reason is Reason.NOT_APPLICABLE else value


_COUNTERS = {
    "rx_dropped": "rx_dropped", "rx_invalid_descs": "rx->invalid_descs", "tx_invalid_descs": "tx->invalid_descs",
    "rx_ring_full": "rx_queue_full", "rx_fill_ring_empty_descs": "pool->fq->queue_empty_descs",
    "tx_ring_empty_descs": "tx->queue_empty_descs",
}  # fmt: skip


def _statistics(_context: Context, *counters: Any) -> Any:
    value = {name: _or_zero(counter) for name, counter in zip(_COUNTERS, counters, strict=True)}
    return next((counter for counter in value.values() if isinstance(counter, Absent)), value)


def _offsets(context: Context) -> list[list[int]]:
    """struct xdp_mmap_offsets: rx, tx, fill and completion ring, each by producer, consumer, descriptors and flags."""

    def ring(ctype: str) -> list[int]:
        paths = ("ptrs.producer", "ptrs.consumer", "desc", "ptrs.flags")
        return [resolve(context.kernel.prog, ctype, path)[1].offset for path in paths]

    packets, addresses = ring("struct xdp_rxtx_ring"), ring("struct xdp_umem_ring")
    return [packets, packets, addresses, addresses]


def _entries(_context: Context, *counts: Any) -> Any:
    """Descriptors of a ring, from wherever it is kept just now; 0 without one."""
    return next((count for count in counts if isinstance(count, int)), _or_zero(counts[0]))


def _pairs(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items())


def _ring(name: str, number: int, *paths: str) -> Option:
    fields = (_xdp(path) for path in paths)
    return _row(name, number, COUNT, *fields, value=_entries, default=0, raw=SET_ONLY, lenient=True)


_UMEM = ("size", "chunk_size", "headroom")


def _umem(_context: Context, *members: Any) -> Any:
    if isinstance(members[0], Absent):
        nothing = members[0].reason is Reason.NOT_APPLICABLE
        return Absent(Reason.NOT_ASSIGNED, "there is none") if nothing else members[0]
    return dict(zip(_UMEM, members, strict=True))


ROWS = (
    _row(
        "XDP_MMAP_OFFSETS", 1, items("4Q", lambda value: "; ".join(" ".join(map(str, ring)) for ring in value)),
        value=_offsets,
        origin=kernel,
    ),
    _ring("XDP_RX_RING", 2, "rx->nentries"),
    _ring("XDP_TX_RING", 3, "tx->nentries"),
    _row(
        "XDP_UMEM_REG", 4, shown("object", _pairs), *(_xdp(f"umem->{name}") for name in _UMEM), value=_umem,
        raw=SET_ONLY,
        lenient=True, default=Absent(Reason.NOT_ASSIGNED),
    ),
    _ring("XDP_UMEM_FILL_RING", 5, "fq_tmp->nentries", "pool->fq->nentries"),
    _ring("XDP_UMEM_COMPLETION_RING", 6, "cq_tmp->nentries", "pool->cq->nentries"),
    _row(
        "XDP_STATISTICS", 7, record("6Q", tuple(_COUNTERS), _pairs), *(_xdp(path) for path in _COUNTERS.values()),
        value=_statistics, origin=kernel, lenient=True,
    ),
    _row("XDP_OPTIONS", 8, flags({1: "XDP_OPTIONS_ZEROCOPY"}), _xdp("zc"), origin=kernel),
    _row("XDP_MAX_TX_SKB_BUDGET", 9, COUNT, _xdp("max_tx_budget"), default=_BUDGET, raw=SET_ONLY),
)  # fmt: skip
