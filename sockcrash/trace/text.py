# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls and their summary for people."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sockcrash.kernel.uapi import error_name
from sockcrash.model import Absent
from sockcrash.render.escape import printable
from sockcrash.render.units import end
from sockcrash.trace.call import Call, Head, Held, Traced
from sockcrash.trace.load import MOST_CALLS

if TYPE_CHECKING:
    from sockcrash.trace.summary import Summary

__all__ = ("call_text", "summary_text")

_VERDICTS = {
    "same": "took effect: {}", "lowered": "lowered to {}", "raised": "raised to {}", "rounded": "rounded to {}",
    "ignored": "ignored: it holds {}", None: "it holds {}",
}  # fmt: skip
_TRUNCATED = 64


def call_text(call: Call) -> str:
    """One line: when, who, on which socket, what, and how it ended."""
    clock = time.strftime("%H:%M:%S", time.localtime(call.time)) + f".{int(call.time % 1 * 1e6):06d}"
    who = f"{printable(call.comm)}({'?' if call.pid is None else call.pid})"
    if call.pid != call.tid:
        who += f" thread {call.tid}"
    via = "" if call.via == "syscall" else " by io_uring"
    line = f"{clock} {who} fd {call.fd}{_socket(call.socket)}: {_what(call)}{via} ... {_ending(call)}"
    if isinstance(call.check, Held):
        line += "; " + _VERDICTS[call.check.verdict].format(printable(call.check.text))
    elif isinstance(call.check, Absent):
        line += f"; not read back ({call.check.detail or call.check})"
    return line


def _socket(socket: Traced | Absent) -> str:
    if isinstance(socket, Absent):
        return ""
    kind = "socket" if isinstance(socket.head, Absent) else _head(socket.head)
    return f" {kind} {socket.address:#x}"


def _head(head: Head) -> str:
    kind = head.protocol if head.family in ("AF_INET", "AF_INET6") else head.family
    name = kind.removeprefix("IPPROTO_").removeprefix("AF_").lower()
    if isinstance(head.local, Absent):
        return name
    ends = end(head.local)
    if not isinstance(head.peer, Absent) and head.peer.port:
        ends += f" -> {end(head.peer)}"
    return f"{name} {ends} {head.state}" if name in ("tcp", "mptcp") else f"{name} {ends}"


def _what(call: Call) -> str:
    name = f"option {call.name} of level {call.level}" if _is_number(call.name) else call.name
    if call.switch is not None:
        return f"{'enabling' if call.switch else 'disabling'} {name}"
    if isinstance(call.value, Absent):
        return f"setting {name} ({_why(call.value)}, {_bytes(call.length)})"
    late = ", as it was after the call" if call.late else ""
    return f"setting {name} to {_short(printable(call.text))}{late}"


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdigit()


def _bytes(length: int) -> str:
    return f"{length} byte{'' if length == 1 else 's'}"


def _why(value: Absent) -> str:
    return "value not shown: it may hold a key" if value.reason.value == "secret" else value.detail


def _short(text: str) -> str:
    return text if len(text) <= _TRUNCATED else f"{text[:_TRUNCATED]}..."


def _ending(call: Call) -> str:
    took = "" if call.ns is None else f" ({call.ns / 1000:.1f} µs)"
    if call.result is None:
        return "its end was not seen"
    if call.result < 0:
        return f"{error_name(-call.result)} ({os.strerror(-call.result)}){took}"
    return f"success{took}"


def summary_text(summary: Summary) -> Iterator[str]:
    """Who set what how often."""
    if not summary.lines:
        yield "no setsockopt calls were seen"
    else:
        yield f"{'process':<24} {'option':<28} {'calls':>8} {'failed':>8} {'mean µs':>9}"
    order = sorted(summary.lines.items(), key=lambda item: (item[0][0], item[0][1] or 0, -item[1].calls))
    for (comm, pid, level, name), line in order:
        who = f"{printable(comm)}({'?' if pid is None else pid})"
        option = f"{level} {name}" if _is_number(name) else name
        mean = f"{line.ns / line.timed / 1000:.1f}" if line.timed else "?"
        tail = f"  {line.unfinished} without an end" if line.unfinished else ""
        yield f"{who:<24} {option:<28} {line.calls:>8} {line.failed:>8} {mean:>9}{tail}"
    if summary.shed:
        yield f"the values of {summary.shed} calls were not fetched: more than {MOST_CALLS} calls a second"
    if summary.lost_events or summary.missed_probes:
        yield (
            f"LOST: {summary.lost_events} events found no room in the buffer, "
            f"probes missed {summary.missed_probes} hits"
        )
    if summary.command_status is not None:
        yield f"the command ended with status {summary.command_status}"
