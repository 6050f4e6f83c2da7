# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a TCP socket is doing just now, in a sentence or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.model import Absent, SocketRecord
from sockcrash.render.units import count, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("story",)


def story(record: SocketRecord) -> Iterator[str]:
    """Sentences, most urgent first; none where nothing can be said."""
    if record.kind != "tcp" or record.state in ("LISTEN", "CLOSE"):
        return
    tcp = record.tcp
    needed = (
        "icsk_retransmits",
        "snd_wnd",
        "notsent_bytes",
        "unacked_bytes",
        "receive_queue_bytes",
        "nonagle",
    )
    if any(isinstance(tcp[name], Absent) for name in needed):
        return
    left = _left(record)
    said = False
    if record.state == "SYN_SENT":
        yield f"Connecting: {count(tcp['icsk_retransmits'], 'SYN')} went unanswered{left}."
        return
    if tcp["icsk_retransmits"]:
        yield f"Retransmitting: {count(tcp['icsk_retransmits'], 'time-out')} in a row without an answer{left}."
        said = True
    if tcp["snd_wnd"] == 0 and tcp["notsent_bytes"]:
        waiting = count(tcp["notsent_bytes"], "byte")
        yield f"The peer's window is closed: {waiting} wait until it reads{left}."
        said = True
    elif tcp["notsent_bytes"] and tcp["nonagle"] & 2:
        yield f"Corked: {count(tcp['notsent_bytes'], 'byte')} wait for TCP_CORK to be taken off."
        said = True
    if tcp["receive_queue_bytes"]:
        full = " and the window offered is closed" if tcp["receive_window_bytes"] == 0 else ""
        yield f"The application has not read {count(tcp['receive_queue_bytes'], 'byte')}{full}."
        said = True
    if tcp["unacked_bytes"] and not tcp["icsk_retransmits"]:
        yield f"{count(tcp['unacked_bytes'], 'byte')} in flight{left}."
        said = True
    if record.state == "CLOSE_WAIT":
        yield "The peer has closed; the application has not."
        said = True
    if not said and record.state == "ESTABLISHED":
        yield "Idle: nothing unsent, nothing unacknowledged, nothing unread."


def _left(record: SocketRecord) -> str:
    """When the transmit timer fires, if it runs."""
    what = {
        "retransmit": "tries again",
        "persist": "probes",
        "loss-probe": "probes for loss",
        "rack-reorder": "looks for loss",
    }
    for timer in record.timers or ():
        if timer.pending and timer.name in what and isinstance(timer.expires_in_ms, int):
            when = "now" if timer.expires_in_ms <= 0 else f"in {milliseconds(timer.expires_in_ms)}"
            return f"; the kernel {what[timer.name]} {when}"
    return ""
