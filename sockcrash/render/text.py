# SPDX-License-Identifier: LGPL-2.1-or-later
"""One socket on one screen, grouped as a person thinks: who, state, send side, receive side, time, congestion."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Reason, Section, SocketRecord
from sockcrash.model.netns import short_name
from sockcrash.render.families import family_lines
from sockcrash.render.holders import holders_text, other_end_lines
from sockcrash.render.options import options_sentences, options_text
from sockcrash.render.picture import picture_lines
from sockcrash.render.queues import queues_line, queues_table
from sockcrash.render.story import story
from sockcrash.render.time_left import gives_up_lines, timers_lines
from sockcrash.render.units import count, end, microseconds, milliseconds, rate, show, some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ("fields_text", "head", "record_text")

# Kinds whose sk_state never says anything.
STATELESS = ("packet", "xdp", "other")


def record_text(record: SocketRecord, *, every: bool = False) -> str:
    """The default text of one record; ``every`` option is shown in a table, those that differ in a sentence."""
    lines = [head(record), *(f"  {label:<11}{text}" for label, text in _lines(record))]
    lines += [f"  {line}".rstrip() for line in picture_lines(record)]
    if any(queue.segments is not None for queue in record.queues or ()):
        lines += [f"  {line}" for line in queues_table(record.queues or ())]
    if every and record.options is not None:
        lines += [f"  {line}".rstrip() for line in options_text(record, every=True)]
    elif record.options is not None:
        labels = itertools.chain(("options",), itertools.repeat(""))
        lines += [
            f"  {label:<11}{text}" for label, text in zip(labels, options_sentences(record), strict=False)
        ]
    return "\n".join(lines)


def fields_text(record: SocketRecord, fields: Mapping[str, Any]) -> str:
    """Chosen fields of one record, one a line."""
    width = max((len(name) for name in fields), default=0)
    rows = (f"  {name:<{width}} = {show(value)}" for name, value in fields.items())
    return "\n".join((head(record), *rows))


def head(record: SocketRecord) -> str:
    """What a socket is, in a line: kind, ends, state, address."""
    ends = f"{end(record.local)}  "
    if isinstance(record.local, Absent):
        ends = f"{show(record.local)}  " if record.local.lost else ""
    elif not isinstance(record.peer, Absent) or record.peer.lost:
        ends = f"{end(record.local)} -> {end(record.peer)}  "
    state = "" if record.kind in STATELESS else f"{show(record.state)}  "
    return f"{record.kind}  {ends}{state}{record.address:#x}"


def _lines(record: SocketRecord) -> Iterator[tuple[str, str]]:
    if record.note:
        yield "note", record.note
    if not record.proved:
        yield "UNPROVED", "nothing proves that this memory is a socket: every value below may be wrong"
    if record.torn:
        yield "TORN", "the socket changed while it was read: values may not belong together"
    for sentence in story(record):
        yield "", sentence
    yield "held by", holders_text(record.owners, end(record.peer))
    yield from _labelled("other end", other_end_lines(record))
    yield "identity", _identity(record)
    if record.tcp:
        yield from _listener(record) if record.state == "LISTEN" else _stream(record)
    if record.minisock:
        yield from _minisock(record)
    yield from family_lines(record)
    if record.timers is not None:
        yield from _labelled("timers", timers_lines(record))
        if record.state not in ("LISTEN", "CLOSE"):
            yield from _labelled("gives up", gives_up_lines(record.gives_up))
    if record.queues and record.state != "LISTEN" and (waiting := queues_line(record.queues)):
        yield "queues", waiting
    if record.sock:
        yield "memory", _memory(record.sock)


def _identity(record: SocketRecord) -> str:
    cookie = record.cookie if isinstance(record.cookie, Absent) else f"{record.cookie:#x}"
    parts = [("inode", record.inode), ("cookie", cookie), ("netns", _netns(record)), ("uid", record.uid)]
    if some(record.device):
        parts.append(("device", record.device))
    if some(record.mark):
        parts.append(("mark", record.mark))
    if some(record.cgroup):
        parts.append(("cgroup", record.cgroup))
    if not isinstance(record.container, Absent):
        parts.append(("container", record.container[:12]))
    if record.kind in ("inet", "other", "packet", "unix", "vsock"):
        parts.insert(
            0, ("family", f"{show(record.family)} {show(record.type)} protocol {show(record.protocol)}")
        )
    shown = [f"{name} {show(value)}" for name, value in parts if not _inapplicable(value)]
    return ", ".join(shown)


def _netns(record: SocketRecord) -> Any:
    """The inode, the name if it has one, and whether it is deserted."""
    names = record.netns_names
    name = f" ({short_name(names[0])})" if names else ""
    deserted = ", which no process is in" if record.netns_processes == 0 else ""
    return f"{record.netns}{name}{deserted}" if name or deserted else record.netns


def _inapplicable(value: Any) -> bool:
    return isinstance(value, Absent) and value.reason is Reason.NOT_APPLICABLE


def _listener(record: SocketRecord) -> Iterator[tuple[str, str]]:
    sock, tcp = record.sock, record.tcp
    yield (
        "queues",
        (
            f"accept queue {show(sock['sk_ack_backlog'])} of {show(sock['sk_max_ack_backlog'])},"
            f" handshakes {show(tcp['accept_queue.qlen'])} ({show(tcp['accept_queue.young'])} without a retransmission)"
        ),
    )
    yield "congestion", f"{show(tcp['congestion'])} for its children unless they choose"


def _stream(record: SocketRecord) -> Iterator[tuple[str, str]]:
    tcp, sock = record.tcp, record.sock
    yield (
        "send",
        (
            f"in flight {count(tcp['unacked_bytes'], 'byte')} in {count(tcp['packets_out'], 'segment')}"
            f" (SACKed {show(tcp['sacked_out'])}, lost {show(tcp['lost_out'])},"
            f" retransmitted {show(tcp['retrans_out'])}),"
            f" unsent {count(tcp['notsent_bytes'], 'byte')}, peer's window {show(tcp['snd_wnd'])}"
        ),
    )
    yield "", _sequence(tcp, ("snd_una", "snd_nxt", "write_seq"))
    yield (
        "receive",
        (
            f"unread {count(tcp['receive_queue_bytes'], 'byte')}, window offered {show(tcp['receive_window_bytes'])}"
            f" (rcv_ssthresh {show(tcp['rcv_ssthresh'])}, clamp {show(tcp['window_clamp'])})"
        ),
    )
    yield "", _sequence(tcp, ("copied_seq", "rcv_nxt", "rcv_wup", "rcv_wnd"))
    yield (
        "time",
        (
            f"RTT {microseconds(tcp['rtt_us'])} +- {microseconds(tcp['rttvar_us'])}"
            f" (min {microseconds(tcp['min_rtt_us'])}), RTO {milliseconds(tcp['rto_ms'])}"
            f" (backoff {show(tcp['icsk_backoff'])}), delayed ACK {milliseconds(tcp['ato_ms'])}"
        ),
    )
    yield (
        "loss",
        (
            f"time-outs in a row {show(tcp['icsk_retransmits'])}, probes unanswered {show(tcp['icsk_probes_out'])},"
            f" retransmitted in all {count(tcp['total_retrans'], 'segment')}, reordering {show(tcp['reordering'])}"
        ),
    )
    yield (
        "congestion",
        (
            f"{show(tcp['congestion'])} {show(tcp['ca_state'])}, cwnd {show(tcp['snd_cwnd'])},"
            f" ssthresh {show(tcp['ssthresh'])}, pacing {rate(sock['pacing_rate_bytes_per_s'])},"
            f" delivering {rate(tcp['delivery_rate_bytes_per_s'])}"
        ),
    )
    yield (
        "sizes",
        (
            f"MSS {show(tcp['mss_cache'])}, peer's {show(tcp['icsk_ack.rcv_mss'])}, advertised {show(tcp['advmss'])},"
            f" path MTU {show(tcp['icsk_pmtu_cookie'])}"
        ),
    )
    yield "negotiated", _negotiated(tcp)
    yield "settings", _settings(tcp)
    yield (
        "activity",
        (
            f"sent {_ago(tcp['lastsnd_ms'])}, received {_ago(tcp['lastrcv_ms'])},"
            f" acknowledged {_ago(tcp['lastack_ms'])}"
        ),
    )
    yield (
        "totals",
        (
            f"sent {count(tcp['bytes_sent'], 'byte')} (acknowledged {show(tcp['bytes_acked'])},"
            f" again {show(tcp['bytes_retrans'])}) in {count(tcp['segs_out'], 'segment')},"
            f" received {count(tcp['bytes_received'], 'byte')} in {count(tcp['segs_in'], 'segment')}"
        ),
    )
    yield (
        "busy",
        (
            f"{microseconds(tcp['busy_us'])}, of which limited by the peer's window"
            f" {microseconds(tcp['rwnd_limited_us'])}, by the send buffer {microseconds(tcp['sndbuf_limited_us'])}"
        ),
    )


def _sequence(tcp: Section, names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {show(tcp[name])}" for name in names)


def _ago(value: int | Absent) -> str:
    return (
        "never"
        if isinstance(value, Absent) and value.reason is Reason.NOT_ASSIGNED
        else f"{milliseconds(value)} ago"
    )


def _negotiated(tcp: Section) -> str:
    names = tcp["negotiated"]
    if isinstance(names, Absent):
        return show(names)
    scale = f"wscale (peer's {show(tcp['rx_opt.snd_wscale'])}, ours {show(tcp['rx_opt.rcv_wscale'])})"
    return ", ".join(scale if name == "wscale" else name for name in names) or "no TCP options"


def _settings(tcp: Section) -> str:
    nonagle = tcp["nonagle"]
    if isinstance(nonagle, Absent):
        return show(nonagle)
    parts = [f"TCP_NODELAY {'on' if nonagle & 1 else 'off'}", f"TCP_CORK {'on' if nonagle & 2 else 'off'}"]
    if some(tcp["icsk_user_timeout"]):
        parts.append(f"TCP_USER_TIMEOUT {milliseconds(tcp['icsk_user_timeout'])}")
    if some(tcp["ulp"]):
        parts.append(f"ULP {show(tcp['ulp'])}")
    return ", ".join(parts)


def _minisock(record: SocketRecord) -> Iterator[tuple[str, str]]:
    mini = record.minisock
    if record.kind == "tcp-timewait":
        yield "sequence", _sequence(mini, ("tw_snd_nxt", "tw_rcv_nxt", "tw_rcv_wnd", "tw_ts_recent"))
        return
    yield "sequence", _sequence(mini, ("snt_isn", "rcv_isn", "rcv_nxt"))
    yield (
        "handshake",
        (
            f"SYN-ACK sent again {count(mini['num_retrans'], 'time')}, timed out {count(mini['num_timeout'], 'time')},"
            f" MSS {show(mini['mss'])}"
        ),
    )


def _labelled(label: str, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Lines of which the first has a label."""
    return zip(itertools.chain((label,), itertools.repeat("")), lines, strict=False)


def _memory(sock: Section) -> str:
    locks = sock["sk_userlocks"]
    pinned = (
        (" (set by the application)" if locks & bit else "" for bit in (2, 1))
        if isinstance(locks, int)
        else ("", "")
    )
    received, sent = pinned
    return (
        f"receive {show(sock['sk_rmem_alloc'])} of {show(sock['sk_rcvbuf'])}{received},"
        f" send {show(sock['sk_wmem_queued'])} of {show(sock['sk_sndbuf'])}{sent},"
        f" backlog {show(sock['sk_backlog.len'])}, drops {show(sock['drops'])}"
    )
