# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls and their summary as JSON objects, schema 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.kernel.uapi import error_name
from sockcrash.model import Absent, Endpoint, Reason
from sockcrash.render.json import SCHEMA
from sockcrash.render.nulls import or_null
from sockcrash.trace.call import Call, Head, Held, Traced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.trace.summary import Summary

__all__ = ("call_object", "summary_object")


_NOBODY = Absent(Reason.UNREADABLE, "the thread was gone before anybody looked")
_UNSEEN = Absent(Reason.UNREADABLE, "the end of the call was not seen")


def call_object(call: Call) -> dict[str, Any]:
    """One line of ``trace --json``."""
    absent: dict[str, str] = {}

    def plain(name: str, value: Any) -> Any:
        return or_null(absent, f"trace.{name}", value)

    value = plain("value", call.value)
    found: dict[str, Any] = {
        "time": call.time,
        "comm": call.comm,
        "pid": plain("pid", _NOBODY if call.pid is None else call.pid),
        "tid": call.tid,
        "via": call.via,
        "fd": call.fd,
        "socket": _socket(call.socket, plain),
        "level": call.level,
        "level_number": call.level_number,
        "name": call.name,
        "number": call.number,
        "length": call.length,
        "value": value,
        "text": None if isinstance(call.value, Absent) else call.text,
        "raw": call.raw.hex() if isinstance(call.raw, bytes) else plain("raw", call.raw),
        "late": call.late,
        "switch": call.switch,
        "result": plain("result", _UNSEEN if call.result is None else call.result),
        "error": error_name(-call.result) if call.result is not None and call.result < 0 else None,
        "duration_us": plain("duration_us", _UNSEEN if call.ns is None else call.ns / 1000),
        "check": _check(call.check, plain),
    }
    return {"schema": SCHEMA, "trace": found, "absent": absent}


def _socket(socket: Traced | Absent, plain: Any) -> dict[str, Any] | None:
    if isinstance(socket, Absent):
        plain("socket", socket)
        return None
    return {
        "address": f"{socket.address:#x}",
        **_head(socket.head, plain),
        "inode": socket.inode,
    }


def _head(head: Head | Absent, plain: Any) -> dict[str, Any]:
    if isinstance(head, Absent):
        return {name: plain(f"socket.{name}", head) for name in Head.__dataclass_fields__}
    return {
        "family": head.family,
        "type": head.type,
        "protocol": head.protocol,
        "state": head.state,
        "local": _end(head.local, "socket.local", plain),
        "peer": _end(head.peer, "socket.peer", plain),
    }


def _end(one: Endpoint | Absent, name: str, plain: Any) -> dict[str, Any] | None:
    if isinstance(one, Absent):
        plain(name, one)
        return None
    return {"address": one.address, "port": one.port}


def _check(held: Held | Absent | None, plain: Any) -> dict[str, Any] | None:
    if isinstance(held, Held):
        return {"value": held.value, "text": held.text, "verdict": held.verdict}
    if isinstance(held, Absent):
        plain("check", held)
    return None


def summary_object(summary: Summary, target: Mapping[str, Any]) -> dict[str, Any]:
    """The last line of ``trace --json``."""
    return {
        "schema": SCHEMA,
        "target": dict(target),
        "trace_summary": {
            "calls": summary.calls,
            "values_not_fetched": summary.shed,
            "lost_events": summary.lost_events,
            "missed_probes": summary.missed_probes,
            "command_status": summary.command_status,
            "options": [
                {
                    "comm": comm,
                    "pid": pid,
                    "level": level,
                    "name": name,
                    "calls": line.calls,
                    "failed": line.failed,
                    "unfinished": line.unfinished,
                    "mean_us": line.ns / line.timed / 1000 if line.timed else None,
                }
                for (comm, pid, level, name), line in summary.lines.items()
            ],
        },
    }
