# SPDX-License-Identifier: LGPL-2.1-or-later
"""getsockopt(TCP_INFO): its bytes as the kernel's own struct says, and a JSON record of sockcrash in the same terms.

What each member is made of: tcp_get_info() (net/ipv4/tcp.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.clock import Window
from oracle.compare import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drgn import Program

    from oracle.truth import Truth

__all__ = ("AGES", "FLICKERING", "as_tcp_info", "decoded", "members", "sample")

Record = dict[str, Any]
STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
AGES = frozenset({"tcpi_last_data_sent", "tcpi_last_data_recv", "tcpi_last_ack_recv"})
# While a segment is sent again and again these go up and come back: equal before and after need not be equal between.
FLICKERING = frozenset({"tcpi_retrans", "tcpi_lost", "tcpi_unacked", "tcpi_sacked", "tcpi_ca_state"})
OPTIONS = {"ts": 1, "sack": 2, "wscale": 4, "ecn": 8, "ecnseen": 16, "fastopen": 32}
USEC_TS, TFO_CHILD = 64, 128
# ecn_flags & TCP_ECN_MODE_ANY: tcpi_ecn_mode
ECN_MODES = {0: 0, 0x01: 1, 0x10: 2, 0x11: 3}
E1, E0, CE = 0, 1, 2  # index of *_ecn_bytes: INET_ECN_x - 1

# Members that hold a member of tcp_sock or inet_connection_sock as it is.
RAW = {
    "tcpi_ca_state": "icsk_ca_state",
    "tcpi_retransmits": "icsk_retransmits",
    "tcpi_probes": "icsk_probes_out",
    "tcpi_backoff": "icsk_backoff",
    "tcpi_delivery_rate_app_limited": "rate_app_limited",
    "tcpi_fastopen_client_fail": "fastopen_client_fail",
    "tcpi_rto": "rto_us",
    "tcpi_snd_mss": "mss_cache",
    "tcpi_rcv_mss": "icsk_ack.rcv_mss",
    "tcpi_unacked": "packets_out",
    "tcpi_sacked": "sacked_out",
    "tcpi_lost": "lost_out",
    "tcpi_retrans": "retrans_out",
    "tcpi_pmtu": "icsk_pmtu_cookie",
    "tcpi_rcv_ssthresh": "rcv_ssthresh",
    "tcpi_rttvar": "rttvar_us",
    "tcpi_snd_ssthresh": "snd_ssthresh",
    "tcpi_snd_cwnd": "snd_cwnd",
    "tcpi_advmss": "advmss",
    "tcpi_reordering": "reordering",
    "tcpi_rcv_space": "rcvq_space.space",
    "tcpi_total_retrans": "total_retrans",
    "tcpi_bytes_acked": "bytes_acked",
    "tcpi_bytes_received": "bytes_received",
    "tcpi_segs_out": "segs_out",
    "tcpi_segs_in": "segs_in",
    "tcpi_notsent_bytes": "notsent_bytes",
    "tcpi_min_rtt": "rtt_min.s[0].v",
    "tcpi_data_segs_in": "data_segs_in",
    "tcpi_data_segs_out": "data_segs_out",
    "tcpi_busy_time": "busy_us",
    "tcpi_rwnd_limited": "rwnd_limited_us",
    "tcpi_sndbuf_limited": "sndbuf_limited_us",
    "tcpi_delivered": "delivered",
    "tcpi_delivered_ce": "delivered_ce",
    "tcpi_bytes_sent": "bytes_sent",
    "tcpi_bytes_retrans": "bytes_retrans",
    "tcpi_dsack_dups": "dsack_dups",
    "tcpi_reord_seen": "reord_seen",
    "tcpi_rcv_ooopack": "rcv_ooopack",
    "tcpi_snd_wnd": "snd_wnd",
    "tcpi_rcv_wnd": "rcv_wnd",
    "tcpi_total_rto": "total_rto",
    "tcpi_total_rto_recoveries": "total_rto_recoveries",
    "tcpi_total_rto_time": "total_rto_time_ms",
    "tcpi_received_ce": "received_ce",
    "tcpi_accecn_fail_mode": "accecn_fail_mode",
    "tcpi_accecn_opt_seen": "saw_accecn_opt",
}
# Members that are no sample, or none any more: 0 in every kernel that has them.
ALWAYS_0 = frozenset({"tcpi_fackets", "tcpi_last_ack_sent", "tcpi_options2"})


def _options(tcp: Record) -> int:
    bits = sum(OPTIONS[word] for word in tcp["negotiated"])
    return bits | (USEC_TS if tcp["tcp_usec_ts"] else 0) | (TFO_CHILD if tcp["syn_fastopen_child"] else 0)


def _wscale(member: str) -> Callable[[Record], int]:
    return lambda tcp: tcp[member] if "wscale" in tcp["negotiated"] else 0


def _or_0(name: str) -> Callable[[Record], int]:
    return lambda tcp: tcp[name] or 0


def _ato(tcp: Record) -> int:
    """Since v6.12 tcp_delack_max() bounds it; scaling_ratio came earlier and stands for "not before"."""
    return min(tcp["ato_us"], tcp["delack_max_us"]) if tcp["total_rto"] is not None else tcp["ato_us"]


MADE: dict[str, Callable[[Record], int | None]] = {
    "tcpi_options": _options,
    "tcpi_snd_wscale": _wscale("rx_opt.snd_wscale"),
    "tcpi_rcv_wscale": _wscale("rx_opt.rcv_wscale"),
    "tcpi_ato": _ato,
    "tcpi_rtt": _or_0("rtt_us"),
    "tcpi_rcv_rtt": _or_0("rcv_rtt_us"),
    "tcpi_delivery_rate": _or_0("delivery_rate_bytes_per_s"),
    "tcpi_last_data_sent": lambda tcp: tcp["lastsnd_ms"],
    "tcpi_last_data_recv": lambda tcp: tcp["lastrcv_ms"],
    "tcpi_last_ack_recv": lambda tcp: tcp["lastack_ms"],
    "tcpi_rehash": lambda tcp: tcp["plb_rehash"] + tcp["timeout_rehash"],
    "tcpi_ecn_mode": lambda tcp: ECN_MODES[tcp["ecn_flags"] & 0x11],
    "tcpi_delivered_e1_bytes": lambda tcp: tcp["delivered_ecn_bytes"][E1],
    "tcpi_delivered_e0_bytes": lambda tcp: tcp["delivered_ecn_bytes"][E0],
    "tcpi_delivered_ce_bytes": lambda tcp: tcp["delivered_ecn_bytes"][CE],
    "tcpi_received_e1_bytes": lambda tcp: tcp["received_ecn_bytes"][E1],
    "tcpi_received_e0_bytes": lambda tcp: tcp["received_ecn_bytes"][E0],
    "tcpi_received_ce_bytes": lambda tcp: tcp["received_ecn_bytes"][CE],
}


def members(prog: Program) -> list[str]:
    """The members of this kernel's struct tcp_info."""
    return [member.name for member in prog.type("struct tcp_info").members or () if member.name]


def decoded(prog: Program, raw: bytes) -> dict[str, str]:
    """The bytes that getsockopt gave, by member, as text."""
    from drgn import Object

    info = Object.from_bytes_(prog, "struct tcp_info", raw)
    return {name: str(int(getattr(info, name))) for name in members(prog)}


def sample(prog: Program, truth: Truth, label: str, when: str) -> Sample:
    """What the kernel said of a socket ``before`` or ``after``."""
    raw = truth.tcp_info(label, when)
    assert raw is not None, label
    stamped = truth.raw[when]["options"][label]
    return Sample(decoded(prog, raw), Window(stamped["start"] * 1000, stamped["end"] * 1000))


def as_tcp_info(record: Record, names: Iterable[str]) -> dict[str, str | None]:
    """What TCP_INFO should say of this socket; None where sockcrash says "never". KeyError: an unknown member."""
    if record["state"] == "LISTEN":
        return _listening(record, names)
    return {name: _text(_member(record, name)) for name in names}


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _member(record: Record, name: str) -> int | None:
    tcp, sock = record["tcp"], record["sock"]
    if name in ALWAYS_0:
        return 0
    if name == "tcpi_state":
        return STATES.index(record["state"])
    if name in ("tcpi_pacing_rate", "tcpi_max_pacing_rate"):
        return int(sock[f"sk_{name.removeprefix('tcpi_')}"])
    return MADE[name](tcp) if name in MADE else int(tcp[RAW[name]])


def _listening(record: Record, names: Iterable[str]) -> dict[str, str | None]:
    """A listener has little of it; the accept queue and its limit stand in for unacked and sacked."""
    filled = {"tcpi_state", "tcpi_pacing_rate", "tcpi_max_pacing_rate", "tcpi_reordering", "tcpi_snd_cwnd"}
    said: dict[str, str | None] = {
        name: _text(_member(record, name)) if name in filled else "0" for name in names
    }
    said["tcpi_unacked"] = str(record["sock"]["sk_ack_backlog"])
    said["tcpi_sacked"] = str(record["sock"]["sk_max_ack_backlog"])
    return said
