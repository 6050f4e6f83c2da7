# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of PACKET and XDP sockets (net/packet/internal.h, include/net/xdp_sock.h)."""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, Place

__all__ = ("PACKET", "XDP")

_P = "struct packet_sock"
_X = "struct xdp_sock"


def _ring(name: str) -> tuple[Field, ...]:
    members = ("pg_vec", "pg_vec_pages", "pg_vec_len", "frame_size", "frame_max", "head")
    return tuple(row(f"{name}.{member}", _P) for member in members)


PACKET = Group(
    "packet",
    (
        row("num", _P),
        row("ifindex", _P),
        # 61edf479818e ("net/packet: convert po->running to an atomic flag", v6.4)
        row("running", _P, Place("flags", bit="PACKET_SOCK_RUNNING", since="v6.4"), "running"),
        row("tp_version", _P),
        row("tp_hdrlen", _P),
        row("tp_reserve", _P),
        row("tp_tstamp", _P),
        row("copy_thresh", _P),
        row("tp_drops", _P, "tp_drops.counter"),
        row("stats.tp_packets", _P, "stats.stats1.tp_packets"),
        row("stats.tp_drops", _P, "stats.stats1.tp_drops"),
        row("fanout.id", _P, "fanout->id"),
        row("fanout.type", _P, "fanout->type"),
        row("fanout.flags", _P, "fanout->flags"),
        row("fanout.num_members", _P, "fanout->num_members"),
        *_ring("rx_ring"),
        *_ring("tx_ring"),
    ),
)

XDP = Group(
    "xdp",
    (
        row("queue_id", _X),
        row("zc", _X),
        row("state", _X),
        row("ifindex", _X, "dev->ifindex"),
        row("rx.nentries", _X, "rx->nentries"),
        row("rx.invalid_descs", _X, "rx->invalid_descs"),
        row("tx.nentries", _X, "tx->nentries"),
        row("tx.invalid_descs", _X, "tx->invalid_descs"),
        row("tx.queue_empty_descs", _X, "tx->queue_empty_descs"),
        row("umem.id", _X, "umem->id"),
        row("umem.size", _X, "umem->size"),
        row("umem.npgs", _X, "umem->npgs"),
        row("umem.chunk_size", _X, "umem->chunk_size"),
        row("umem.headroom", _X, "umem->headroom"),
        row("umem.flags", _X, "umem->flags"),
        row("umem.zc", _X, "umem->zc"),
        row("umem.users", _X, "umem->users.refs.counter"),
        row("rx_dropped", _X),
        row("rx_queue_full", _X),
        # The rings of the umem belong to the socket until it is bound, and to the pool of its queue then.
        row("pool", _X),
        row("pool.fq.nentries", _X, "pool->fq->nentries"),
        row("pool.fq.queue_empty_descs", _X, "pool->fq->queue_empty_descs"),
        row("pool.cq.nentries", _X, "pool->cq->nentries"),
        row("fq_tmp.nentries", _X, "fq_tmp->nentries"),
        row("cq_tmp.nentries", _X, "cq_tmp->nentries"),
    ),
)
