# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a TCP socket is doing just now, in a sentence or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.model import Absent, Section, SocketRecord
from sockcrash.render.units import count, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.model.waiting import GivesUp

__all__ = ("story",)


_NEEDED = (
    *("icsk_retransmits", "icsk_probes_out", "icsk_backoff", "snd_wnd", "notsent_bytes", "unacked_bytes"),
    *("receive_queue_bytes", "nonagle", "packets_out", "lost_out", "sacked_out"),
)
_CLOSING = {
    "CLOSE_WAIT": "The peer has closed; the application has not.",
    "FIN_WAIT1": "This side has closed; the peer has not acknowledged that yet.",
    "FIN_WAIT2": "This side has closed; the peer may go on sending.",
    "CLOSING": "Both sides have closed; the peer has not acknowledged that yet.",
    "LAST_ACK": "Both sides have closed; the peer has not acknowledged that yet.",
}
_ACTS = {
    "retransmit": "tries again",
    "persist": "probes",
    "loss-probe": "probes for loss",
    "rack-reorder": "looks for loss",
}


def story(record: SocketRecord) -> Iterator[str]:
    """Sentences, most urgent first; none where nothing can be said."""
    if record.kind != "tcp" or record.state in ("LISTEN", "CLOSE"):
        return
    tcp = record.tcp
    if any(isinstance(tcp[name], Absent) for name in _NEEDED):
        return
    if record.state == "SYN_SENT":
        unanswered = count(tcp["icsk_retransmits"], "SYN")
        yield f"Connecting: {unanswered} sent again without an answer{_waited(record)}."
        yield from _until(record)
        return
    sentences = [*_sending(record), *_receiving(tcp)]
    if record.state in _CLOSING:
        sentences.append(_CLOSING[str(record.state)])
    if not sentences and record.state == "ESTABLISHED":
        sentences += _idle(record)
    yield from sentences


def _sending(record: SocketRecord) -> Iterator[str]:
    tcp = record.tcp
    unsent, unacked = count(tcp["notsent_bytes"], "byte"), count(tcp["unacked_bytes"], "byte")
    said = True
    if tcp["icsk_retransmits"]:
        tries = count(tcp["icsk_retransmits"], "time-out")
        yield f"Retransmitting: {tries} in a row, {unacked} not acknowledged{_silence(tcp)}."
    elif tcp["snd_wnd"] == 0 and tcp["notsent_bytes"]:
        verb = "waits" if tcp["notsent_bytes"] == 1 else "wait"
        yield f"The peer's window is closed: {unsent} {verb} until it reads{_waited(record)}{_probes(tcp)}."
    elif tcp["unacked_bytes"]:
        yield f"{unacked} in flight{_holes(tcp)}."
    else:
        said = False
    if said:
        yield from _until(record)
    if tcp["notsent_bytes"] and tcp["nonagle"] & 2 and tcp["snd_wnd"]:
        yield f"Corked: {unsent} wait for TCP_CORK to be taken off."


def _receiving(tcp: Section) -> Iterator[str]:
    if tcp["receive_queue_bytes"]:
        full = " and the window offered is closed" if tcp["receive_window_bytes"] == 0 else ""
        yield f"The application has not read {count(tcp['receive_queue_bytes'], 'byte')}{full}."


def _idle(record: SocketRecord) -> Iterator[str]:
    unanswered = record.tcp["icsk_probes_out"]
    if not unanswered:
        yield "Idle: nothing unsent, nothing unacknowledged, nothing unread."
        return
    yield f"Idle, and {count(unanswered, 'keepalive probe')} went unanswered{_waited(record)}."
    yield from _until(record)


def _silence(tcp: Section) -> str:
    """Since when nothing came from the peer."""
    ages = [tcp[name] for name in ("lastack_ms", "lastrcv_ms") if isinstance(tcp[name], int)]
    return f", nothing heard for {milliseconds(min(ages))}" if ages else ""


def _holes(tcp: Section) -> str:
    if not tcp["lost_out"] and not tcp["sacked_out"]:
        return ""
    return f"; of {count(tcp['packets_out'], 'segment')} {tcp['sacked_out']} SACKed and {tcp['lost_out']} taken as lost"


def _probes(tcp: Section) -> str:
    """How the peer took the probes of its window."""
    if tcp["icsk_probes_out"]:
        return f", {count(tcp['icsk_probes_out'], 'probe')} unanswered"
    return ", it answers the probes" if tcp["icsk_backoff"] else ""


def _waited(record: SocketRecord) -> str:
    end = record.gives_up
    if end is None or isinstance(end, Absent) or end.waited_ms is None:
        return ""
    return f", for {milliseconds(end.waited_ms)} now"


def _until(record: SocketRecord) -> Iterator[str]:
    """When the transmit timer fires, if it runs, and when the kernel gives up if it is about to."""
    acts = [
        f"{_ACTS[timer.name]} {_when(timer.expires_in_ms)}"
        for timer in record.timers or ()
        if timer.pending and timer.name in _ACTS and isinstance(timer.expires_in_ms, int)
    ]
    end = record.gives_up
    if end is not None and not isinstance(end, Absent) and _is_near(record, end):
        acts.append(f"gives up in {milliseconds(end.in_ms)}")
    if acts:
        yield f"The kernel {' and '.join(acts)}."


def _when(left: int) -> str:
    return "now" if left <= 0 else f"in {milliseconds(left)}"


def _is_near(record: SocketRecord, end: GivesUp) -> bool:
    """Whether the end is worth a word: not while the first try is on its way, nor while the peer answers."""
    tcp = record.tcp
    if end.because == "zero-window":
        return bool(tcp["icsk_probes_out"]) or end.decided_by == "TCP_USER_TIMEOUT"
    return bool(tcp["icsk_retransmits"] or tcp["icsk_probes_out"]) or end.because == "connect"
