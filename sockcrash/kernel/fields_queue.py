# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of queues: where each begins in its socket, and of a sk_buff what tells which data it carries.

include/linux/skbuff.h, include/net/tcp.h (struct tcp_skb_cb), include/net/request_sock.h, include/linux/errqueue.h.
"""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, Place

__all__ = (
    "ACCEPT_QUEUE",
    "DATA",
    "ERROR_CB",
    "FRAGMENT",
    "QUEUES",
    "REQUEST_LINK",
    "SCM_FDS",
    "SHARED",
    "SKB",
    "TCP_CB",
    "TCP_QUEUES",
    "UDP_QUEUES",
    "UNACCEPTED",
    "UNIX_CB",
)

_S = "struct sock"
QUEUES = Group(
    "queues",
    (
        row("receive", _S, "sk_receive_queue.next"),
        row("write", _S, "sk_write_queue.next"),
        row("error", _S, "sk_error_queue.next"),
        row("backlog", _S, "sk_backlog.head"),
    ),
)

ACCEPT_QUEUE = Group(
    "tcp_accept_queue", (row("accept", "struct inet_connection_sock", "icsk_accept_queue.rskq_accept_head"),)
)
TCP_QUEUES = Group(
    "tcp_queues",
    (
        row("retransmit", _S, "tcp_rtx_queue.rb_node"),
        row("out-of-order", "struct tcp_sock", "out_of_order_queue.rb_node"),
    ),
)
UDP_QUEUES = Group("udp_queues", (row("reader", "struct udp_sock", "reader_queue.next"),))

_B = "struct sk_buff"
SKB = Group(
    "skb",
    (
        row("next", _B),
        row("rb_left", _B, "rbnode.rb_left"),
        row("rb_right", _B, "rbnode.rb_right"),
        row("len", _B),
        row("truesize", _B),
        row("sk", _B),
        row("skb_mstamp_ns", _B),
        row("cb", _B),
    ),
)

# What the owner of a sk_buff keeps in its cb: places are those within cb.
TCP_CB = Group(
    "tcp_cb",
    (
        row("seq", "struct tcp_skb_cb"),
        row("end_seq", "struct tcp_skb_cb"),
        row("tcp_gso_segs", "struct tcp_skb_cb"),
        row("tcp_flags", "struct tcp_skb_cb"),
        row("sacked", "struct tcp_skb_cb"),
    ),
)
UNIX_CB = Group("unix_cb", (row("fp", "struct unix_skb_parms"), row("consumed", "struct unix_skb_parms")))
SCM_FDS = Group("scm_fds", (row("count", "struct scm_fp_list"),))
ERROR_CB = Group(
    "error_cb",
    (
        row("ee_errno", "struct sock_exterr_skb", "ee.ee_errno"),
        row("ee_origin", "struct sock_exterr_skb", "ee.ee_origin"),
    ),
)

REQUEST_LINK = Group(
    "request_link", (row("dl_next", "struct request_sock"), row("sk", "struct request_sock"))
)
# Of a connection that was not accepted yet
UNACCEPTED = Group("unaccepted", (row("rcv_nxt", "struct tcp_sock"), row("copied_seq", "struct tcp_sock")))

# Where the bytes are: in the head from ``data`` on, then in pages. skb_frag_t is a struct bio_vec before v6.9.
DATA = Group(
    "skb_data",
    (
        row("len", _B),
        row("data_len", _B),
        row("data", _B),
        row("head", _B),
        row("end", _B),
    ),
)
SHARED = Group("skb_shared", (row("nr_frags", "struct skb_shared_info"),))


def _of_fragment(name: str, new: str, old: str) -> Field:
    return Field(name, "struct skb_shared_info", (Place(f"frags[0].{new}"), Place(f"frags[0].{old}")))


FRAGMENT = Group(
    "skb_fragment",
    (
        _of_fragment("page", "netmem", "bv_page"),
        _of_fragment("size", "len", "bv_len"),
        _of_fragment("offset", "offset", "bv_offset"),
    ),
)
