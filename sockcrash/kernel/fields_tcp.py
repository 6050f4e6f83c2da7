# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of TCP sockets: tcp_sock, inet_connection_sock, and the two mini sockets.

Units (net/ipv4/tcp_input.c, include/net/tcp.h, include/linux/tcp.h): srtt_us is µs << 3, mdev_us µs << 2, icsk_rto
and icsk_ack.ato are jiffies, lsndtime, rcv_tstamp and lrcvtime are tcp_jiffies32, *_mstamp are µs, cwnd and its kin
count segments, windows count bytes.
"""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, Place

__all__ = ("LISTENER", "REQUEST", "TCP", "TCP_TIMERS", "TIMEWAIT")

_T = "struct tcp_sock"
_I = "struct inet_connection_sock"


def _t(*names: str) -> tuple[Field, ...]:
    return tuple(row(name, _T) for name in names)


def _i(*names: str) -> tuple[Field, ...]:
    return tuple(row(name, _I) for name in names)


TCP = Group(
    "tcp",
    (
        # Send sequence space (RFC 9293 section 3.3.1) and send window.
        *_t("snd_una", "snd_nxt", "write_seq", "pushed_seq", "snd_sml", "snd_up", "snd_wl1"),
        *_t("snd_wnd", "max_window", "high_seq", "tlp_high_seq"),
        # Receive sequence space and window.
        *_t("rcv_nxt", "copied_seq", "rcv_wup", "rcv_wnd", "rcv_mwnd_seq", "rcv_ssthresh", "window_clamp"),
        *_t("scaling_ratio", "urg_data", "urg_seq"),
        *_t("rcvq_space.space", "rcvq_space.seq", "rcvq_space.time"),
        # Round trip and retransmission time-out (RFC 6298).
        row("srtt_us", _T, to="rtt_us", by="srtt"),
        row("mdev_us", _T, to="rttvar_us", by="shr2"),
        # The member rttvar_us is left to -f: tcp.rttvar_us is what TCP_INFO and ss call rttvar.
        *_t("mdev_max_us", "rtt_seq"),
        row("rtt_min.s[0].v", _T, to="min_rtt_us", by="min_rtt"),
        row("rcv_rtt_est.rtt_us", _T, to="rcv_rtt_us", by="rtt"),
        *_t("rcv_rtt_est.seq", "rcv_rtt_est.time"),
        row("icsk_rto", _I, to="rto_ms", by="jiffies_ms", also=("rto_us", "jiffies_us")),
        row("icsk_rto_min", _I, to="rto_min_us", by="jiffies_us"),
        row("icsk_rto_max", _I, to="rto_max_ms", by="jiffies_ms"),
        row("icsk_delack_max", _I, to="delack_max_us", by="jiffies_us"),
        *_i("icsk_backoff", "icsk_retransmits", "icsk_probes_out", "icsk_probes_tstamp", "icsk_user_timeout"),
        *_i("icsk_syn_retries", "icsk_pending"),
        *_t("retrans_stamp", "undo_marker", "undo_retrans", "rto_stamp", "total_rto", "total_rto_recoveries"),
        *_t("total_rto_time"),
        # Acknowledging.
        row("icsk_ack.pending", _I),
        row("icsk_ack.quick", _I),
        row("icsk_ack.pingpong", _I),
        row("icsk_ack.retry", _I),
        row("icsk_ack.ato", _I, to="ato_ms", by="jiffies_ms", also=("ato_us", "jiffies_us")),
        row("icsk_ack.lrcvtime", _I, to="lastrcv_ms", by="age32_ms"),
        row("icsk_ack.last_seg_size", _I),
        row("icsk_ack.rcv_mss", _I),
        row("lsndtime", _T, to="lastsnd_ms", by="age32_ms"),
        row("rcv_tstamp", _T, to="lastack_ms", by="age32_ms"),
        *_t("compressed_ack", "last_oow_ack_time"),
        # Congestion control (RFC 5681, 6937, 8985, 9438).
        row("congestion_ops", _I, "icsk_ca_ops->name", to="congestion", by="text", shared=True),
        *_i("icsk_ca_state", "icsk_ca_initialized", "icsk_ca_setsockopt", "icsk_ca_dst_locked"),
        *_t("snd_cwnd"),
        row("snd_ssthresh", _T, to="ssthresh", by="ssthresh"),
        *_t(
            "snd_cwnd_cnt",
            "snd_cwnd_clamp",
            "snd_cwnd_used",
            "snd_cwnd_stamp",
            "prior_cwnd",
            "prior_ssthresh",
        ),
        *_t("prr_delivered", "prr_out", "is_cwnd_limited", "max_packets_out", "app_limited"),
        *_t("packets_out", "sacked_out", "lost_out", "retrans_out", "reordering", "reord_seen", "dsack_dups"),
        *_t("rack.mstamp", "rack.rtt_us", "rack.end_seq", "rack.reo_wnd_steps", "rack.reo_wnd_persist"),
        *_t(
            "rack.dsack_seen",
            "rack.advanced",
            "total_retrans",
            "bytes_retrans",
            "timeout_rehash",
            "plb_rehash",
        ),
        *_t("delivered", "delivered_ce", "lost", "rate_delivered", "rate_interval_us", "rate_app_limited"),
        *_t("delivered_mstamp", "first_tx_mstamp"),
        # Segment sizes.
        *_t("mss_cache", "advmss", "tcp_header_len"),
        *_i("icsk_ext_hdr_len", "icsk_pmtu_cookie"),
        *_i("icsk_mtup.enabled", "icsk_mtup.search_high", "icsk_mtup.search_low", "icsk_mtup.probe_size"),
        # What was negotiated in the handshake (RFC 7323, 2018, 3168).
        *_t(
            "rx_opt.tstamp_ok", "rx_opt.saw_tstamp", "rx_opt.sack_ok", "rx_opt.wscale_ok", "rx_opt.snd_wscale"
        ),
        *_t("rx_opt.rcv_wscale", "rx_opt.mss_clamp", "rx_opt.user_mss", "rx_opt.ts_recent"),
        *_t("rx_opt.ts_recent_stamp", "rx_opt.rcv_tsval", "rx_opt.rcv_tsecr", "rx_opt.num_sacks"),
        *_t("tsoffset", "tcp_usec_ts", "ecn_flags"),
        # Counters.
        *_t("bytes_acked", "bytes_received", "bytes_sent", "segs_in", "segs_out", "data_segs_in"),
        *_t("data_segs_out", "rcv_ooopack", "chrono_type", "chrono_start", "chrono_stat"),
        # Settings that steer it.
        *_t("nonagle", "keepalive_time", "keepalive_intvl", "keepalive_probes", "linger2", "notsent_lowat"),
        *_t("thin_lto", "repair", "repair_queue", "recvmsg_inq", "tcp_tx_delay", "save_syn"),
        # Fast Open (RFC 7413), MPTCP, ULP.
        *_t("syn_data", "syn_data_acked", "syn_fastopen", "syn_fastopen_exp", "syn_fastopen_ch"),
        *_t(
            "syn_fastopen_child", "fastopen_connect", "fastopen_no_cookie", "fastopen_client_fail", "is_mptcp"
        ),
        row("ulp_ops", _I, "icsk_ulp_ops->name", to="ulp", by="text", shared=True),
        row("rskq_defer_accept", _I, "icsk_accept_queue.rskq_defer_accept"),
        row("accept_queue.qlen", _I, "icsk_accept_queue.qlen.counter"),
        row("accept_queue.young", _I, "icsk_accept_queue.young.counter"),
        row("fastopenq.max_qlen", _I, "icsk_accept_queue.fastopenq.max_qlen"),
        row("fastopenq.qlen", _I, "icsk_accept_queue.fastopenq.qlen"),
        # Clocks of the socket.
        *_t("tcp_mstamp", "tcp_wstamp_ns", "tcp_clock_cache"),
        # Accurate ECN.
        *_t("received_ce", "accecn_fail_mode", "saw_accecn_opt", "received_ecn_bytes", "delivered_ecn_bytes"),
    ),
)

# Timers: expiry in jiffies and whether the timer is armed (timer_pending: entry.pprev is not NULL).
TCP_TIMERS = Group(
    "tcp_timers",
    (
        row(
            "xmit_expires",
            _I,
            Place("icsk_inet.sk.tcp_retransmit_timer.expires", commit="9a5e5334adc0", since="v6.19"),
            Place("icsk_timeout"),
        ),
        row(
            "keepalive_expires",
            _I,
            Place(
                "icsk_keepalive_timer.expires",
                commit='08dfe370239e ("tcp: introduce icsk->icsk_keepalive_timer")',
            ),
            Place("icsk_inet.sk.sk_timer.expires"),
        ),
        row(
            "keepalive_armed",
            _I,
            Place("icsk_keepalive_timer.entry.pprev", commit="08dfe370239e"),
            Place("icsk_inet.sk.sk_timer.entry.pprev"),
        ),
        # In which level of the timer wheel they wait (TIMER_ARRAYMASK).
        row(
            "xmit_flags",
            _I,
            Place("icsk_inet.sk.tcp_retransmit_timer.flags", commit="9a5e5334adc0", since="v6.19"),
            Place("icsk_retransmit_timer.flags"),
        ),
        row(
            "keepalive_flags",
            _I,
            Place("icsk_keepalive_timer.flags", commit="08dfe370239e"),
            Place("icsk_inet.sk.sk_timer.flags"),
        ),
        row("delack_expires", _I, "icsk_ack.timeout", "icsk_delack_timer.expires"),
        row("pacing_expires", _T, Place("pacing_timer._softexpires"), Place("pacing_timer.node.expires")),
        row("pacing_state", _T, "pacing_timer.state", "pacing_timer.is_queued"),
        row("compressed_ack_expires", _T, "compressed_ack_timer._softexpires"),
        row("compressed_ack_state", _T, "compressed_ack_timer.state", "compressed_ack_timer.is_queued"),
    ),
)

_W = "struct tcp_timewait_sock"
TIMEWAIT = Group(
    "timewait",
    (
        row("tw_substate", _W, "tw_sk.tw_substate"),
        row("tw_mark", _W, "tw_sk.tw_mark"),
        row("tw_sport", _W, "tw_sk.tw_sport"),
        row("tw_tos", _W, "tw_sk.tw_tos"),
        row("tw_priority", _W, "tw_sk.tw_priority"),
        row("tw_rcv_wscale", _W, "tw_sk.tw_rcv_wscale"),
        row("tw_transparent", _W, "tw_sk.tw_transparent"),
        row("tw_rcv_nxt", _W, Place("tw_sk.__tw_common.skc_tw_rcv_nxt"), "tw_rcv_nxt"),
        row("tw_snd_nxt", _W, Place("tw_sk.__tw_common.skc_tw_snd_nxt"), "tw_snd_nxt"),
        row("tw_rcv_wnd", _W),
        row("tw_ts_recent", _W),
        row("tw_ts_recent_stamp", _W),
        row("tw_ts_offset", _W),
        row("tw_last_oow_ack_time", _W),
        row("tw_entry_stamp", _W, "tw_sk.tw_entry_stamp", "tw_entry_stamp"),
        row("tw_timer_expires", _W, "tw_sk.tw_timer.expires"),
        row("tw_timer_armed", _W, "tw_sk.tw_timer.entry.pprev"),
    ),
)

_OF_LISTENER = (
    "icsk_syn_retries",
    "icsk_rto_max",
    "rskq_defer_accept",
    "accept_queue.qlen",
    "accept_queue.young",
)
_R = "struct tcp_request_sock"
_RS = "struct request_sock"
_RI = "struct inet_request_sock"
REQUEST = Group(
    "request",
    (
        row("listener", _RS, "__req_common.skc_listener", "rsk_listener"),
        row("mss", _RS),
        row("num_retrans", _RS),
        row("num_timeout", _RS),
        row("syncookie", _RS),
        row("timeout", _RS),
        row("ts_recent", _RS),
        row("rsk_timer_expires", _RS, "rsk_timer.expires"),
        row("rsk_timer_armed", _RS, "rsk_timer.entry.pprev"),
        row("child", _RS, "sk"),
        row("snd_wscale", _RI),
        row("rcv_wscale", _RI),
        row("tstamp_ok", _RI),
        row("sack_ok", _RI),
        row("wscale_ok", _RI),
        row("ecn_ok", _RI),
        row("acked", _RI),
        row("ir_mark", _RI),
        row("rcv_isn", _R),
        row("snt_isn", _R),
        row("rcv_nxt", _R),
        row("snt_synack", _R),
        row("txhash", _R),
        row("ts_off", _R),
    ),
)

# What a listener says of the requests in its SYN queue.
LISTENER = Group(
    "listener",
    (
        row("sk_max_ack_backlog", _I, "icsk_inet.sk.sk_max_ack_backlog"),
        *TCP.narrowed(_OF_LISTENER).fields,
    ),
)
