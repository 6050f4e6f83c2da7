# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every member of every TCP record against what drgn reads of it, one by one, at a C path that is written down here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import drgn
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Dump, Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

HZ = 250  # of Debian's kernels
STRUCTS = {
    ("tcp", "tcp"): ("struct tcp_sock", "struct inet_connection_sock", "struct sock"),
    ("tcp", "sock"): ("struct sock",),
    ("tcp-timewait", "minisock"): ("struct tcp_timewait_sock", "struct inet_timewait_sock"),
    ("tcp-request", "minisock"): (
        "struct tcp_request_sock",
        "struct inet_request_sock",
        "struct request_sock",
    ),
}
# Keys that are no C path: where the kernels keep them, one of these in each.
PATHS = {
    "sk_rmem_alloc": ("sk_backlog.rmem_alloc.counter",),
    "sk_wmem_alloc": ("sk_wmem_alloc.refs.counter",),
    "sk_omem_alloc": ("sk_omem_alloc.counter",),
    "sk_drops": ("sk_drops.counter",),
    "drops0": ("sk_drop_counters->drops0.counter",),
    "drops1": ("sk_drop_counters->drops1.counter",),
    "sk_incoming_cpu": ("__sk_common.skc_incoming_cpu",),
    "rskq_defer_accept": ("icsk_accept_queue.rskq_defer_accept",),
    "accept_queue.qlen": ("icsk_accept_queue.qlen.counter",),
    "accept_queue.young": ("icsk_accept_queue.young.counter",),
    "fastopenq.max_qlen": ("icsk_accept_queue.fastopenq.max_qlen",),
    "fastopenq.qlen": ("icsk_accept_queue.fastopenq.qlen",),
    "congestion_ops": ("icsk_ca_ops->name",),
    "ulp_ops": ("icsk_ulp_ops->name",),
    "tw_rcv_nxt": ("__tw_common.skc_tw_rcv_nxt", "tw_rcv_nxt"),
    "tw_snd_nxt": ("__tw_common.skc_tw_snd_nxt", "tw_snd_nxt"),
    "tw_timer_expires": ("tw_timer.expires",),
    "tw_timer_armed": ("tw_timer.entry.pprev",),
    "listener": ("__req_common.skc_listener",),
    "rsk_timer_expires": ("rsk_timer.expires",),
    "rsk_timer_armed": ("rsk_timer.entry.pprev",),
    "child": ("sk",),
}
U32 = 0xFFFFFFFF
CA_STATES = ("Open", "Disorder", "CWR", "Recovery", "Loss")

# Pointers that JSON shows as addresses.
ADDRESSES = ("listener", "child", "sk_drop_counters")


def _left(end: int, start: int) -> int:
    """end - start of two sequence numbers, not below 0."""
    distance = end - start & U32
    return distance if distance < 1 << 31 else 0


# What is made of members: computed here from drgn's values, by the formulas of the kernel's own source.
# None stands for "absent". Those that ss and TCP_INFO show too are in test_inspect_ss.
CONVERTED: dict[str, Callable[[drgn.Object, drgn.Object, drgn.Object], Any]] = {
    "rtt_us": lambda tp, _icsk, _sk: int(tp.srtt_us) >> 3 or None,
    "rttvar_us": lambda tp, _icsk, _sk: int(tp.mdev_us) >> 2,
    "min_rtt_us": lambda tp, _icsk, _sk: None if tp.rtt_min.s[0].v == U32 else int(tp.rtt_min.s[0].v),
    "rcv_rtt_us": lambda tp, _icsk, _sk: int(tp.rcv_rtt_est.rtt_us) >> 3 or None,
    "rto_ms": lambda _tp, icsk, _sk: int(icsk.icsk_rto) * 1000 // HZ,
    "rto_us": lambda _tp, icsk, _sk: int(icsk.icsk_rto) * 1_000_000 // HZ,
    "rto_min_us": lambda _tp, icsk, _sk: int(icsk.icsk_rto_min) * 1_000_000 // HZ,
    "delack_max_us": lambda _tp, icsk, _sk: int(icsk.icsk_delack_max) * 1_000_000 // HZ,
    "ato_ms": lambda _tp, icsk, _sk: int(icsk.icsk_ack.ato) * 1000 // HZ,
    "ato_us": lambda _tp, icsk, _sk: int(icsk.icsk_ack.ato) * 1_000_000 // HZ,
    "congestion": lambda _tp, icsk, _sk: icsk.icsk_ca_ops.name.string_().decode(),
    "ulp": lambda _tp, icsk, _sk: icsk.icsk_ulp_ops.name.string_().decode() if icsk.icsk_ulp_ops else None,
    "ssthresh": lambda tp, _icsk, _sk: None if tp.snd_ssthresh >= 0x7FFFFFFF else int(tp.snd_ssthresh),
    "wmem_alloc_bytes": lambda _tp, _icsk, sk: int(sk.sk_wmem_alloc.refs.counter) - 1,
    "pacing_rate_bytes_per_s": lambda _tp, _icsk, sk: _unless_all_ones(sk.sk_pacing_rate),
    "max_pacing_rate_bytes_per_s": lambda _tp, _icsk, sk: _unless_all_ones(sk.sk_max_pacing_rate),
}
# Of listeners these say that there is no stream.
OF_STREAMS: dict[str, Callable[[drgn.Object], Any]] = {
    "ca_state": lambda tp: CA_STATES[int(tp.inet_conn.icsk_ca_state)],
    "in_flight": lambda tp: int(tp.packets_out - (tp.sacked_out + tp.lost_out) + tp.retrans_out),
    "send_queue_bytes": lambda tp: int(tp.write_seq) - int(tp.snd_una) & U32,
    "unacked_bytes": lambda tp: int(tp.snd_nxt) - int(tp.snd_una) & U32,
    "notsent_bytes": lambda tp: _left(int(tp.write_seq), int(tp.snd_nxt)),
    "receive_queue_bytes": lambda tp: _left(int(tp.rcv_nxt), int(tp.copied_seq)),
    "receive_window_bytes": lambda tp: _left(int(tp.rcv_wup) + int(tp.rcv_wnd), int(tp.rcv_nxt)),
}
# Compared with what ss and TCP_INFO say, in test_inspect_ss; rto_max_ms below, where the kernel has it.
ELSEWHERE = frozenset(
    {
        "lastrcv_ms", "lastsnd_ms", "lastack_ms", "delivery_rate_bytes_per_s", "busy_us", "rwnd_limited_us",
        "sndbuf_limited_us", "total_rto_time_ms", "negotiated", "drops", "rto_max_ms",
    }
)  # fmt: skip


def _unless_all_ones(rate: drgn.Object) -> int | None:
    return None if int(rate) == (1 << 64) - 1 else int(rate)


def plain(value: drgn.Object) -> Any:
    """As JSON has it: numbers, lists, bytes as hex."""
    type_ = value.type_
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    if type_.kind == drgn.TypeKind.ARRAY and drgn.sizeof(type_.type) == 1:
        return value.to_bytes_().hex()
    raw = value.value_()
    return list(raw) if isinstance(raw, list) else int(raw)


class NoSuchMemberError(Exception):
    """This kernel's types have none of the paths of a key."""


def by_drgn(dump: Dump, record: Record, section: str, key: str) -> Any:
    """The value of a key, read by drgn alone; None behind a NULL pointer."""
    for ctype in STRUCTS[record["kind"], section]:
        for path in PATHS.get(key, (key,)):
            pointer, _, behind = path.partition("->")
            try:
                value = dump.object(record, ctype).subobject_(pointer)
                if behind and not value:
                    return None
                return plain(value[0].subobject_(behind) if behind else value)
            except LookupError:
                continue
    raise NoSuchMemberError(key)


def test_every_member_of_every_tcp_object(dump: Dump, figures: Callable[[str], None]) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for record in dump.tcp.values():
        for section in ("sock", "tcp", "minisock"):
            for key, ours in record.get(section, {}).items():
                if key in CONVERTED or key in OF_STREAMS or key in ELSEWHERE:
                    continue
                absent = record["absent"].get(f"{section}.{key}", "")
                try:
                    theirs = by_drgn(dump, record, section, key)
                except NoSuchMemberError:
                    agree = ours is None and absent.startswith("not_in_kernel")
                    counts["not in this kernel"] += 1
                else:
                    if theirs is not None and key in ADDRESSES:
                        theirs = f"{theirs:#x}"
                    elif theirs is not None and key.endswith("_armed"):
                        theirs = bool(theirs)
                    agree = ours == theirs and (theirs is not None or absent.startswith("not_applicable"))
                    counts["equal"] += agree
                if not agree:
                    wrong.append(f"{record['address']} {section}.{key}: {ours!r} ({absent}), drgn {theirs!r}")
    figures(f"Linux {dump.series}, members against drgn: {dict(counts)}, {len(wrong)} wrong")
    assert wrong == []
    assert counts["equal"] > 10_000


def test_converted_values(dump: Dump) -> None:
    full = [one for one in dump.tcp.values() if one["kind"] == "tcp"]
    for record in full:
        tp = dump.object(record)
        icsk, sk = (dump.object(record, ctype) for ctype in ("struct inet_connection_sock", "struct sock"))
        shown = {**record["tcp"], **record["sock"]}
        for key, made in CONVERTED.items():
            assert (record["address"], key, shown[key]) == (record["address"], key, made(tp, icsk, sk))
        for key, made_of_stream in OF_STREAMS.items():
            expected = None if record["state"] == "LISTEN" else made_of_stream(tp)
            assert (record["address"], key, shown[key]) == (record["address"], key, expected)
        rto_max = record["tcp"]["icsk_rto_max"]
        assert shown["rto_max_ms"] == (None if rto_max is None else rto_max * 1000 // HZ)


def test_identity_of_every_full_socket(dump: Dump) -> None:
    """Who a socket is, of every family."""
    full = [one for one in dump.records if one["kind"] not in ("tcp-timewait", "tcp-request")]
    assert {"udp", "raw", "unix", "netlink", "packet"} <= {one["kind"] for one in full}
    for record in full:
        sk = dump.object(record, "struct sock")
        common = sk.member_("__sk_common")
        assert record["netns"] == common.skc_net.net.ns.inum
        assert int(record["cookie"] or "0", 16) == common.skc_cookie.counter
        assert record["uid"] == sk.sk_uid.val
        assert record["mark"] == sk.sk_mark
        assert record["ifindex"] == common.skc_bound_dev_if
        socket = sk.sk_socket
        inode = drgn.container_of(socket, "struct socket_alloc", "socket").vfs_inode.i_ino if socket else None
        assert record["inode"] == inode
