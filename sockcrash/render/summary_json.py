# SPDX-License-Identifier: LGPL-2.1-or-later
"""A summary as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Endpoint
from sockcrash.render.holders import owner_object
from sockcrash.render.nulls import or_null

if TYPE_CHECKING:
    from sockcrash.model.overview import Load, NamespaceSummary, Summary, TopSocket

__all__ = ("summary_object",)


def summary_object(summary: Summary) -> dict[str, Any]:
    """The JSON object of a summary."""
    absent: dict[str, str] = {}
    return {
        "whole": summary.whole,
        **_load(summary.load),
        "kinds": [{"kind": one.kind, **_load(one.load), "states": dict(one.states)} for one in summary.kinds],
        "holders": dict(summary.holders),
        "namespaces": [_namespace(one, f"namespaces.{one.inode}", absent) for one in summary.namespaces],
        "processes": [{"pid": one.pid, "comm": one.comm, **_load(one.load)} for one in summary.processes],
        "memory": [
            {
                "protocol": one.protocol,
                "pages": one.pages,
                "page_bytes": summary.page_size,
                "limits": list(one.limits),
                "pressure": one.pressure,
                "sockets": one.sockets,
            }
            for one in summary.memory
        ],
        "orphans": or_null(absent, "orphans", summary.orphans),
        "max_orphans": or_null(absent, "max_orphans", summary.max_orphans),
        "top": {name: [_top(one) for one in sockets] for name, sockets in summary.top.items()},
        "absent": absent,
    }


def _load(load: Load) -> dict[str, int]:
    return {
        "sockets": load.sockets,
        "unread_bytes": load.unread,
        "unsent_bytes": load.unsent,
        "memory_bytes": load.memory,
    }


def _namespace(one: NamespaceSummary, where: str, absent: dict[str, str]) -> dict[str, Any]:
    counts = one.counts
    fragments = {
        f"{name}{key}": or_null(absent, f"{where}.{name}{key}", value)
        for name, pair in (("fragments", counts.fragments), ("fragments6", counts.fragments6))
        for key, value in zip(("", "_bytes"), pair, strict=True)
    }
    return {
        "inode": one.inode,
        "initial": counts.initial,
        "names": list(one.names),
        "processes": or_null(absent, f"{where}.processes", one.processes),
        **_load(one.load),
        "states": dict(one.states),
        "used": counts.used,
        "inuse": dict(counts.inuse),
        "time_wait": counts.time_wait,
        "max_time_wait": counts.max_time_wait,
        **fragments,
        "ports": {"first": counts.first_port, "last": counts.last_port, **one.ports},
        "counters": {group: dict(counters) for group, counters in one.counters.items()},
    }


def _top(one: TopSocket) -> dict[str, Any]:
    return {
        "bytes": one.value,
        "address": f"{one.address:#x}",
        "kind": one.kind,
        "local": _end(one.local),
        "peer": _end(one.peer),
        "owners": None if isinstance(one.owners, Absent) else [owner_object(owner) for owner in one.owners],
    }


def _end(end: Endpoint | Absent) -> dict[str, Any] | None:
    if isinstance(end, Absent):
        return None
    return {name: None if isinstance(value, Absent) else value for name, value in end.members().items()}
