# SPDX-License-Identifier: LGPL-2.1-or-later
"""TCP_INFO: struct tcp_info as tcp_get_info() of net/ipv4/tcp.c fills it on this kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.options.codecs import shown
from sockcrash.kernel.options.encode import encode, members_of
from sockcrash.kernel.options.origins import kernel as kernel_writes
from sockcrash.kernel.options.routes import RTAX_LOCK, RTAX_RTO_MIN, metric
from sockcrash.kernel.options.row import Option, absent, field
from sockcrash.kernel.units import signed32
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.clock import Clock
    from sockcrash.kernel.layout import Field
    from sockcrash.kernel.options.context import Context
    from sockcrash.kernel.view import Kernel

__all__ = ("INFO", "info_fields", "tcp_info")

_U32 = 0xFFFFFFFF
# Members of struct tcp_sock, inet_connection_sock and sock that go in as they are: tcpi_NAME → member.
_SAME = {
    "reordering": "reordering", "snd_cwnd": "snd_cwnd", "ca_state": "icsk_ca_state",
    "retransmits": "icsk_retransmits",
    "probes": "icsk_probes_out", "backoff": "icsk_backoff", "snd_mss": "mss_cache", "rcv_mss": "icsk_ack.rcv_mss",
    "unacked": "packets_out", "sacked": "sacked_out", "lost": "lost_out", "retrans": "retrans_out",
    "pmtu": "icsk_pmtu_cookie", "rcv_ssthresh": "rcv_ssthresh", "snd_ssthresh": "snd_ssthresh", "advmss": "advmss",
    "rcv_space": "rcvq_space.space", "total_retrans": "total_retrans", "bytes_acked": "bytes_acked",
    "bytes_received": "bytes_received", "segs_out": "segs_out", "segs_in": "segs_in", "data_segs_in": "data_segs_in",
    "data_segs_out": "data_segs_out", "min_rtt": "rtt_min.s[0].v", "delivered": "delivered",
    "delivered_ce": "delivered_ce", "bytes_sent": "bytes_sent", "bytes_retrans": "bytes_retrans",
    "dsack_dups": "dsack_dups", "reord_seen": "reord_seen", "rcv_ooopack": "rcv_ooopack", "snd_wnd": "snd_wnd",
    "rcv_wnd": "rcv_wnd", "fastopen_client_fail": "fastopen_client_fail", "total_rto": "total_rto",
    "total_rto_recoveries": "total_rto_recoveries", "delivery_rate_app_limited": "rate_app_limited",
    "accecn_fail_mode": "accecn_fail_mode", "accecn_opt_seen": "saw_accecn_opt", "received_ce": "received_ce",
}  # fmt: skip
_OTHERS = (
    "rx_opt.tstamp_ok", "rx_opt.sack_ok", "rx_opt.wscale_ok", "rx_opt.snd_wscale", "rx_opt.rcv_wscale", "ecn_flags",
    "syn_data_acked", "tcp_usec_ts", "syn_fastopen_child", "icsk_rto", "icsk_ack.ato", "icsk_rto_min",
    "icsk_delack_max", "lsndtime", "icsk_ack.lrcvtime", "rcv_tstamp", "srtt_us", "mdev_us", "rcv_rtt_est.rtt_us",
    "write_seq", "snd_nxt", "chrono_stat", "chrono_type", "chrono_start", "rate_delivered", "rate_interval_us",
    "plb_rehash", "timeout_rehash", "total_rto_time", "rto_stamp", "delivered_ecn_bytes", "received_ecn_bytes",
    "sk_pacing_rate", "sk_max_pacing_rate", "sk_ack_backlog", "sk_max_ack_backlog", "sk_dst_cache",
)  # fmt: skip
# Not filled by any kernel.
_NEVER = {"fackets", "last_ack_sent", "options2"}
_NAMES = ("__sk_common.skc_state", *dict.fromkeys((*_SAME.values(), *_OTHERS)))


def _member(name: str) -> Field:
    if name.startswith("icsk_"):
        return field("inet_connection_sock", name)
    return field("sock" if name.startswith(("sk_", "__sk_")) else "tcp_sock", name)


def info_fields() -> tuple[Field, ...]:
    """The fields that ``tcp_info`` wants, in their order."""
    return tuple(_member(name) for name in _NAMES)


def tcp_info(context: Context, *members: Any) -> Any:
    """struct tcp_info as an object, without the prefix ``tcpi_``; members that this kernel lacks are left out."""
    have = {name: value for name, value in zip(_NAMES, members, strict=True) if value.__class__ is not Absent}
    try:
        info = _listener(have) if have["__sk_common.skc_state"] == uapi.LISTEN else _stream(context, have)
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)
    except KeyError as error:
        lost = dict(zip(_NAMES, members, strict=True))[error.args[0]]
        return lost if isinstance(lost, Absent) else Absent(Reason.NOT_IN_KERNEL, str(error))
    masks = _masks(context.kernel)
    if have["__sk_common.skc_state"] != uapi.LISTEN and (unknown := masks.keys() - info.keys() - _NEVER):
        names = ", ".join(f"tcpi_{name}" for name in masks if name in unknown)
        return absent(f"this kernel's tcp_info has members that no row knows: {names}")
    given = info.get
    return {name: given(name, 0) & mask for name, mask in masks.items()}


def _masks(kernel: Kernel) -> dict[str, int]:
    """The members of this kernel's struct, and what the kernel's assignments leave of a value."""
    memo: dict[str, dict[str, int]] = kernel.cache
    if "tcp_info" not in memo:
        spots = members_of(kernel, "struct tcp_info")
        memo["tcp_info"] = {
            name.removeprefix("tcpi_"): (1 << (spot.bits or spot.size * 8)) - 1
            for name, spot in spots.items()
        }
    return memo["tcp_info"]


def _common(have: dict[str, Any]) -> dict[str, int]:
    return {
        "state": have["__sk_common.skc_state"],
        "pacing_rate": have["sk_pacing_rate"],
        "max_pacing_rate": have["sk_max_pacing_rate"],
        "reordering": have["reordering"],
        "snd_cwnd": have["snd_cwnd"],
    }


def _listener(have: dict[str, Any]) -> dict[str, int]:
    return {**_common(have), "unacked": have["sk_ack_backlog"], "sacked": have["sk_max_ack_backlog"]}


def _stream(context: Context, have: dict[str, Any]) -> dict[str, int]:
    clock = context.clock
    info = _common(have)
    info |= {name: have[member] for name, member in _SAME.items() if member in have}
    wscale = have["rx_opt.wscale_ok"]
    ecn = have["ecn_flags"]
    options = (
        have["rx_opt.tstamp_ok"], have["rx_opt.sack_ok"], wscale, ecn & 0x11, ecn & 8, have["syn_data_acked"],
        have.get("tcp_usec_ts"), have.get("syn_fastopen_child"),
    )  # fmt: skip
    rate, interval = have["rate_delivered"], have["rate_interval_us"]
    unsent = signed32(have["write_seq"] - have["snd_nxt"])
    info.update(
        options=sum(1 << number for number, on in enumerate(options) if on),
        snd_wscale=have["rx_opt.snd_wscale"] if wscale else 0,
        rcv_wscale=have["rx_opt.rcv_wscale"] if wscale else 0,
        rto=_us(clock, have["icsk_rto"]),
        ato=_us(clock, _ato(context, have)),
        last_data_sent=_ago_ms(clock, have["lsndtime"]),
        last_data_recv=_ago_ms(clock, have["icsk_ack.lrcvtime"]),
        last_ack_recv=_ago_ms(clock, have["rcv_tstamp"]),
        rtt=have["srtt_us"] >> 3,
        rttvar=have["mdev_us"] >> 2,
        rcv_rtt=have["rcv_rtt_est.rtt_us"] >> 3,
        notsent_bytes=max(0, unsent),
        delivery_rate=rate * have["mss_cache"] * 1_000_000 // interval if rate and interval else 0,
        ecn_mode={0: 0, 1: 1, 0x10: 2, 0x11: 3}[ecn & 0x11],
        **_chrono(clock, have),
    )
    if "plb_rehash" in have:
        info["rehash"] = have["plb_rehash"] + have["timeout_rehash"]
    if "rto_stamp" in have:
        stamp = have["rto_stamp"]
        info["total_rto_time"] = have["total_rto_time"] + (
            clock.mono_ns // 1_000_000 - stamp & _U32 if stamp else 0
        )
    for way in ("delivered", "received"):
        counters = have.get(f"{way}_ecn_bytes")
        if counters is not None:
            info.update(
                (f"{way}_{name}_bytes", counter)
                for name, counter in zip(("e1", "e0", "ce"), counters, strict=True)
            )
    return info


def _us(clock: Clock, jiffies: int) -> int:
    return jiffies * 1_000_000 // clock.hz


def _ago_ms(clock: Clock, stamp: int) -> int:
    """jiffies_to_msecs() of an unsigned difference; jiffies may lag in a dump, then it wraps as in the kernel."""
    return (clock.jiffies - stamp & _U32) * 1000 // clock.hz


def _ato(context: Context, have: dict[str, Any]) -> int:
    """Since v6.7 (bbf80d713fe7, and tcp_usec_ts came with it) no more than tcp_delack_max()."""
    if "tcp_usec_ts" not in have:
        return int(have["icsk_ack.ato"])
    rto_min, dst = have["icsk_rto_min"], have["sk_dst_cache"]
    if dst and metric(context.kernel, dst, RTAX_LOCK) >> RTAX_RTO_MIN & 1:
        rto_min = metric(context.kernel, dst, RTAX_RTO_MIN) * context.clock.hz // 1000
    return int(min(have["icsk_ack.ato"], have["icsk_delack_max"], max(rto_min, 2) - 1))


def _chrono(clock: Clock, have: dict[str, Any]) -> dict[str, int]:
    """tcp_get_info_chrono_stats(): enum tcp_chrono 1 busy, 2 limited by the window, 3 by the send buffer."""
    stats = list(have["chrono_stat"])
    if have["chrono_type"]:
        stats[have["chrono_type"] - 1] += clock.jiffies - have["chrono_start"] & _U32
    busy, window, buffer = (_us(clock, jiffies) for jiffies in stats)
    return {"busy_time": busy + window + buffer, "rwnd_limited": window, "sndbuf_limited": buffer}


def _text(value: dict[str, int]) -> str:
    state = uapi.name_of(uapi.TCP_STATES, value["state"])
    return f"{state}, rtt {value.get('rtt', 0)} µs, cwnd {value['snd_cwnd']}, {value['total_retrans']} retransmitted"


def _bytes(context: Context, value: dict[str, int], *_: Any) -> bytes:
    return encode(context.kernel, "struct tcp_info", value, "tcpi_")


INFO = Option(
    "IPPROTO_TCP", "TCP_INFO", 11, shown("object", _text), info_fields(), tcp_info, origin=kernel_writes, lenient=True,
    fresh=True, bytes_of=_bytes, kinds=("tcp",),
)  # fmt: skip
