# SPDX-License-Identifier: LGPL-2.1-or-later
"""A JSON record of sockcrash written the way ss would print that socket: the same keys, the same roundings.

The rules are those of misc/ss.c (what is 0 is mostly left out) over tcp_get_info(), inet_sk_diag_fill(),
inet_twsk_diag_fill() and inet_req_diag_fill() of the kernel.
"""

from __future__ import annotations

from typing import Any

__all__ = ("as_ss", "endpoint", "left_as_ss", "not_compared")

Record = dict[str, Any]

_PRIVATE_RTT = {"send": "ss takes the RTT of the algorithm's private area"}
# Of these the kernel gives INET_DIAG_VEGASINFO.
_OWN_RTT = frozenset({"vegas", "westwood", "illinois", "nv", "yeah"})
# What ss takes from places that no record has: printed by name, and counted as not compared.
_NOT_SHOWN = {
    "dctcp": "private area of a congestion control",
    "bbr": "private area of a congestion control",
    "md5keys": "keys are never shown",
    "version": "context of kTLS",
    "cipher": "context of kTLS",
    "rxconf": "context of kTLS",
    "txconf": "context of kTLS",
    "flags": "context of an MPTCP subflow",
    "token": "context of an MPTCP subflow",
    "seq": "context of an MPTCP subflow",
    "sfseq": "context of an MPTCP subflow",
    "ssnoff": "context of an MPTCP subflow",
    "maplen": "context of an MPTCP subflow",
}
STATES = {
    "ESTABLISHED": "ESTAB",
    "SYN_SENT": "SYN-SENT",
    "SYN_RECV": "SYN-RECV",
    "NEW_SYN_RECV": "SYN-RECV",
    "FIN_WAIT1": "FIN-WAIT-1",
    "FIN_WAIT2": "FIN-WAIT-2",
    "TIME_WAIT": "TIME-WAIT",
    "CLOSE": "UNCONN",
    "CLOSE_WAIT": "CLOSE-WAIT",
    "LAST_ACK": "LAST-ACK",
    "LISTEN": "LISTEN",
    "CLOSING": "CLOSING",
}
# ss key: tcp key. All of them unsigned numbers that ss leaves out when they are 0.
PLAIN = {
    "backoff": "icsk_backoff",
    "mss": "mss_cache",
    "pmtu": "icsk_pmtu_cookie",
    "rcvmss": "icsk_ack.rcv_mss",
    "advmss": "advmss",
    "cwnd": "snd_cwnd",
    "bytes_sent": "bytes_sent",
    "bytes_retrans": "bytes_retrans",
    "bytes_acked": "bytes_acked",
    "bytes_received": "bytes_received",
    "segs_out": "segs_out",
    "segs_in": "segs_in",
    "data_segs_out": "data_segs_out",
    "data_segs_in": "data_segs_in",
    "lastsnd": "lastsnd_ms",
    "lastrcv": "lastrcv_ms",
    "lastack": "lastack_ms",
    "delivered": "delivered",
    "delivered_ce": "delivered_ce",
    "unacked": "packets_out",
    "lost": "lost_out",
    "sacked": "sacked_out",
    "dsack_dups": "dsack_dups",
    "reord_seen": "reord_seen",
    "rcv_space": "rcvq_space.space",
    "rcv_ssthresh": "rcv_ssthresh",
    "notsent": "notsent_bytes",
    "rcv_ooopack": "rcv_ooopack",
    "snd_wnd": "snd_wnd",
}
# ss key: tcp key in µs; ss prints milliseconds by %g.
MICROSECONDS = {"ato": "ato_us", "rcv_rtt": "rcv_rtt_us", "minrtt": "min_rtt_us"}
# Timers that ss calls "on" (icsk_pending), in its order, then what it asks next. FIN_WAIT2 runs on keepalive's timer.
RUNNING = (
    ("retransmit", "on", "icsk_retransmits"),
    ("loss-probe", "on", "icsk_retransmits"),
    ("rack-reorder", "on", "icsk_retransmits"),
    ("persist", "persist", "icsk_probes_out"),
    ("keepalive", "keepalive", "icsk_probes_out"),
    ("fin-wait2", "keepalive", "icsk_probes_out"),
)
NO_RTO = 3_000_000  # µs: ss takes it for "none"
SSTHRESH_SHOWN = 0xFFFF


def not_compared(record: Record) -> dict[str, str]:
    """Keys of ss that this record can't answer for, and why."""
    return _NOT_SHOWN | (_PRIVATE_RTT if record.get("tcp", {}).get("congestion") in _OWN_RTT else {})


def as_ss(record: Record) -> dict[str, str | None]:
    """The keys of ss' line of this socket; None: ss would count an age from the beginning of time, we say "never"."""
    keys: dict[str, str | None] = {**_columns(record)}
    keys.update(_timer(record))
    keys.update(_details(record))
    if record["kind"] == "tcp":
        keys.update(_memory(record["sock"]))
        keys.update(
            _listening(record) if record["state"] == "LISTEN" else _info(record) | _never(record["tcp"])
        )
        if record["tcp"]["ulp"] is not None:
            keys["tcp-ulp"] = record["tcp"]["ulp"]
    return keys


def _columns(record: Record) -> dict[str, str]:
    received = queued = 0
    if record["state"] == "LISTEN":
        received, queued = record["sock"]["sk_ack_backlog"], record["sock"]["sk_max_ack_backlog"]
    elif record["kind"] == "tcp":
        received, queued = record["tcp"]["receive_queue_bytes"], record["tcp"]["send_queue_bytes"]
    return {
        "state": STATES[record["state"]],
        "Recv-Q": str(received),
        "Send-Q": str(queued),
        "local": endpoint(record, "local"),
        "peer": endpoint(record, "peer"),
    }


def endpoint(record: Record, which: str) -> str:
    """One end of an inet socket as ss prints it."""
    end = record[which]
    address = end["address"]
    if address == "::" and not record["v6only"]:
        address = "*"
    elif ":" in address:
        address = f"[{address}]"
    device = f"%{record['device']}" if which == "local" and record["device"] is not None else ""
    return f"{address}{device}:{end['port'] or '*'}"


def _details(record: Record) -> dict[str, str]:
    keys = {"ino": str(record["inode"] or 0), "sk": f"{int(record['cookie'], 16):x}"}
    if record["uid"]:
        keys["uid"] = str(record["uid"])
    if record["mark"]:
        keys["fwmark"] = f"{record['mark']:#x}"
    if record["kind"] != "tcp":
        return keys
    keys["cgroup"] = record["cgroup"]
    if record["family"] == "AF_INET6" and record["state"] in ("LISTEN", "CLOSE"):
        keys["v6only"] = str(int(record["v6only"]))
    shutdown = record["sock"]["sk_shutdown"]
    keys["shutdown"] = f"{'-' if shutdown & 1 else '<'}-{'-' if shutdown & 2 else '>'}"
    return keys


def left_as_ss(milliseconds: int) -> str:
    """Time left as ss writes it: cut to seconds from 10 s on, to minutes from 10 min on; ``1.632ms`` is 1632 ms."""
    minutes, seconds, rest = milliseconds // 60_000, milliseconds // 1000 % 60, milliseconds % 1000
    text = ""
    if minutes:
        rest = 0
        text = f"{minutes}min"
        seconds = 0 if minutes > 9 else seconds
    if seconds:
        rest = 0 if seconds > 9 else rest
        text += f"{seconds}{'.' if rest else 'sec'}"
    return text + (f"{rest:03}ms" if rest else "")


def _timer(record: Record) -> dict[str, str]:
    timers = {timer["name"]: max(0, timer["expires_in_ms"]) for timer in record["timers"] if timer["pending"]}
    if record["kind"] == "tcp-timewait":
        return {"timer": f"(timewait,{left_as_ss(timers['time-wait'])},0)"}
    if record["kind"] == "tcp-request":
        return {"timer": f"(on,{left_as_ss(timers['syn-ack'])},{record['minisock']['num_retrans']})"}
    for name, shown, count in RUNNING:
        if name in timers:
            return {"timer": f"({shown},{left_as_ss(timers[name])},{record['tcp'][count]})"}
    if (
        "delayed-ack" in timers
        and "icsk_rto_max" in record["tcp"]
        and record["tcp"]["icsk_rto_max"] is not None
    ):
        # Kernels that have icsk_rto_max (v6.15) and tell of this timer too; this ss has no name for it.
        return {"timer": f"(unknown,{left_as_ss(timers['delayed-ack'])},{record['tcp']['icsk_ack.retry']})"}
    return {}


def _memory(sock: Record) -> dict[str, str]:
    members = (
        ("r", sock["sk_rmem_alloc"]),
        ("rb", sock["sk_rcvbuf"]),
        ("t", sock["wmem_alloc_bytes"]),
        ("tb", sock["sk_sndbuf"]),
        ("f", sock["sk_forward_alloc"] & 0xFFFFFFFF),
        ("w", sock["sk_wmem_queued"]),
        ("o", sock["sk_omem_alloc"]),
        ("bl", sock["sk_backlog.len"]),
        ("d", sock["drops"]),
    )
    return {"skmem": "(" + ",".join(f"{name}{value}" for name, value in members) + ")"}


def _listening(record: Record) -> dict[str, str]:
    """tcp_get_info() of a listener fills in little; its accept queue stands in for unacked."""
    tcp = record["tcp"]
    keys = {"congestion": tcp["congestion"], "cwnd": str(tcp["snd_cwnd"]), **_pacing(record["sock"])}
    if record["sock"]["sk_ack_backlog"]:
        keys["unacked"] = str(record["sock"]["sk_ack_backlog"])
    if tcp["reordering"] != 3:
        keys["reordering"] = str(tcp["reordering"])
    return keys


def _info(record: Record) -> dict[str, str]:
    tcp = record["tcp"]
    keys = {key: str(tcp[name]) for key, name in PLAIN.items() if tcp[name]}
    keys.update({key: f"{tcp[name] / 1000:g}" for key, name in MICROSECONDS.items() if tcp[name]})
    keys.update({word: "" for word in tcp["negotiated"] if word != "wscale"})
    keys["congestion"] = tcp["congestion"]
    if "wscale" in tcp["negotiated"]:
        keys["wscale"] = f"{tcp['rx_opt.snd_wscale']},{tcp['rx_opt.rcv_wscale']}"
    if tcp["rto_us"] not in (0, NO_RTO):
        keys["rto"] = f"{tcp['rto_us'] / 1000:g}"
    if tcp["rtt_us"]:
        keys["rtt"] = f"{tcp['rtt_us'] / 1000:g}/{tcp['rttvar_us'] / 1000:g}"
        if tcp["mss_cache"] and tcp["snd_cwnd"]:
            keys["send"] = f"{tcp['snd_cwnd'] * tcp['mss_cache'] * 8_000_000.0 / tcp['rtt_us']:.0f}bps"
    if tcp["snd_ssthresh"] and tcp["snd_ssthresh"] < SSTHRESH_SHOWN:
        keys["ssthresh"] = str(tcp["snd_ssthresh"])
    keys.update(_pacing(record["sock"]))
    if tcp["delivery_rate_bytes_per_s"]:
        keys["delivery_rate"] = f"{tcp['delivery_rate_bytes_per_s'] * 8}bps"
    if tcp["rate_app_limited"]:
        keys["app_limited"] = ""
    if tcp["retrans_out"] or tcp["total_retrans"]:
        keys["retrans"] = f"{tcp['retrans_out']}/{tcp['total_retrans']}"
    if tcp["reordering"] != 3:
        keys["reordering"] = str(tcp["reordering"])
    return keys | _busy(tcp)


def _never(tcp: Record) -> dict[str, None]:
    return {key: None for key in ("lastsnd", "lastrcv", "lastack") if tcp[PLAIN[key]] is None}


def _pacing(sock: Record) -> dict[str, str]:
    rate, most = sock["pacing_rate_bytes_per_s"], sock["max_pacing_rate_bytes_per_s"]
    if not rate:
        return {}
    return {"pacing_rate": f"{rate * 8}bps" + (f"/{most * 8}bps" if most else "")}


def _busy(tcp: Record) -> dict[str, str]:
    busy = tcp["busy_us"]
    if not busy:
        return {}
    keys = {"busy": f"{busy // 1000}ms"}
    for key, name in (("rwnd_limited", "rwnd_limited_us"), ("sndbuf_limited", "sndbuf_limited_us")):
        if tcp[name]:
            keys[key] = f"{tcp[name] // 1000}ms({100.0 * tcp[name] / busy:.1f}%)"
    return keys
