# SPDX-License-Identifier: LGPL-2.1-or-later
"""The plain fields of sockets that all families have, and where each kernel keeps them.

Places are newest first. What a field means stands in Documentation/ and the RFCs; units are those of the kernel, and
a Convert adds the value that people read.
"""

from __future__ import annotations

from sockcrash.kernel.layout import Convert, Field, Group, Place

__all__ = ("FILE", "FULL", "IDENTITY", "PROTO", "SECRETS", "SOCK", "SOCKET", "SOCKFS", "row")


def row(
    name: str,
    ctype: str,
    *paths: str | Place,
    to: str = "",
    by: str = "",
    shared: bool = False,
    also: tuple[str, ...] = (),
) -> Field:
    """A Field: by default kept at its own name; ``to``/``by`` (and ``also`` pairs) name converted values."""
    places = tuple(path if isinstance(path, Place) else Place(path) for path in paths or (name,))
    pairs = ((to, by), *zip(also[::2], also[1::2], strict=True)) if to else ()
    return Field(name, ctype, places, tuple(Convert(*pair) for pair in pairs), shared)


_C = "struct sock_common"
_S = "struct sock"

# What every object in a socket table has: struct sock, inet_timewait_sock and request_sock begin with sock_common.
IDENTITY = Group(
    "identity",
    (
        row("skc_family", _C),
        row("skc_state", _C),
        row("skc_daddr", _C),
        row("skc_rcv_saddr", _C),
        row("skc_dport", _C),
        row("skc_num", _C),
        row("skc_v6_daddr", _C),
        row("skc_v6_rcv_saddr", _C),
        row("skc_bound_dev_if", _C),
        row("skc_cookie", _C, "skc_cookie.counter"),
        row("skc_net", _C, "skc_net.net"),
        row("netns", _C, "skc_net.net->ns.inum", shared=True),
        row("skc_prot", _C),
        row("skc_ipv6only", _C),
        row("skc_refcnt", _C, "skc_refcnt.refs.counter"),
        row("skc_next", _C, "skc_nulls_node.next"),
    ),
)

# Identity that only a full socket has (not TIME_WAIT, not NEW_SYN_RECV).
FULL = Group(
    "full",
    (
        row("sk_type", _S),
        row("sk_protocol", _S),
        row("sk_socket", _S),
        row("sk_prot_creator", _S),
        row("sk_prot_name", _S, "sk_prot_creator->name", to="proto_name", by="text", shared=True),
        row("inode", _S, "sk_socket-><struct socket_alloc.socket>vfs_inode.i_ino"),
        row("sk_uid", _S, "sk_uid.val"),
        row("sk_mark", _S),
        row("cgroup", _S, "sk_cgrp_data.cgroup", "sk_cgrp_data.val"),
        row("sk_flags", _S, "__sk_common.skc_flags"),
        row("dead", _S, Place("__sk_common.skc_flags", bit="SOCK_DEAD")),
        row("keepopen", _S, Place("__sk_common.skc_flags", bit="SOCK_KEEPOPEN")),
        row("sk_kern_sock", _S),
        row("sk_user_data", _S),
    ),
)

# struct sock: memory, queues, limits, state (include/net/sock.h).
SOCK = Group(
    "sock",
    (
        row("sk_rcvbuf", _S),
        row("sk_sndbuf", _S),
        row("sk_rmem_alloc", _S, "sk_backlog.rmem_alloc.counter"),
        row("sk_wmem_alloc", _S, "sk_wmem_alloc.refs.counter", to="wmem_alloc_bytes", by="less_one"),
        row("sk_wmem_queued", _S),
        row("sk_forward_alloc", _S),
        row("sk_omem_alloc", _S, "sk_omem_alloc.counter"),
        row("sk_backlog.len", _S),
        row("sk_drops", _S, "sk_drops.counter"),
        # 7.2 counts the drops of some sockets in a pair of counters of their own.
        row("sk_drop_counters", _S),
        row("drops0", _S, Place("sk_drop_counters->drops0.counter", since="v6.18")),
        row("drops1", _S, Place("sk_drop_counters->drops1.counter", since="v6.18")),
        row("sk_reserved_mem", _S),
        row("sk_ack_backlog", _S),
        row("sk_max_ack_backlog", _S),
        row("sk_rcvlowat", _S),
        row("sk_err", _S),
        row("sk_err_soft", _S),
        row("sk_shutdown", _S),
        row("sk_userlocks", _S),
        row("sk_lock.owned", _S),
        row("sk_tsq_flags", _S),
        row("sk_priority", _S),
        row("sk_pacing_rate", _S, to="pacing_rate_bytes_per_s", by="rate"),
        row("sk_max_pacing_rate", _S, to="max_pacing_rate_bytes_per_s", by="rate"),
        row("sk_pacing_status", _S),
        row("sk_pacing_shift", _S),
        row("sk_write_pending", _S),
        row("sk_receive_queue.qlen", _S),
        row("sk_write_queue.qlen", _S),
        row("sk_error_queue.qlen", _S),
        row("sk_incoming_cpu", _S, "__sk_common.skc_incoming_cpu"),
        row("sk_napi_id", _S),
        row("sk_dst_pending_confirm", _S),
    ),
)

PROTO = Group(
    "proto",
    (
        row("name", "struct proto", to="proto", by="text"),
        row("slab", "struct proto"),
        row("obj_size", "struct proto"),
        row("twsk_slab", "struct proto", "twsk_prot->twsk_slab"),
        row("rsk_slab", "struct proto", "rsk_prot->slab"),
        row("next", "struct proto", "node.next"),
    ),
)

SOCKET = Group(
    "socket",
    (
        row("sk", "struct socket"),
        row("file", "struct socket"),
        row("state", "struct socket"),
        row("type", "struct socket"),
        row("ops", "struct socket"),
    ),
)

FILE = Group(
    "file",
    (
        row("private_data", "struct file"),
        row("f_op", "struct file"),
    ),
)

# Where a struct socket lies in the slab object of its inode (net/socket.c, sock_alloc_inode).
SOCKFS = Group(
    "sockfs",
    (
        row("sockfs_inode", "struct sockfs_inode", "socket"),
        row("socket_alloc", "struct socket_alloc", "socket"),
    ),
)

# Keys that lie inside of a socket's own object (others are behind pointers that no row follows).
SECRETS = Group(
    "secrets",
    (row("local_key", "struct mptcp_sock"), row("remote_key", "struct mptcp_sock")),
)
