# SPDX-License-Identifier: LGPL-2.1-or-later
"""Queues, and when the kernel gives up, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent
from sockcrash.render.nulls import or_null

if TYPE_CHECKING:
    from sockcrash.model.waiting import GivesUp, Queue, Segment

__all__ = ("gives_up_object", "queues_object")


def gives_up_object(end: GivesUp | None) -> dict[str, Any] | None:
    """When the kernel gives up."""
    if end is None:
        return None
    return {
        "because": end.because,
        "waited_ms": end.waited_ms,
        "in_ms": end.in_ms,
        "decided_by": end.decided_by,
        "limit": end.limit,
        "unless": end.unless,
        "then": end.then,
        "steps": [{"in_ms": step.in_ms, "does": step.does} for step in end.steps],
    }


def queues_object(queues: tuple[Queue, ...], absent: dict[str, str]) -> dict[str, Any]:
    """All queues by their names; what a queue has none of is left out, as are buffers that nobody asked for."""
    return {(key := _key(queue.name)): _queue(queue, f"queues.{key}", absent) for queue in queues}


def _key(name: str) -> str:
    return name.replace("-", "_")


def _queue(queue: Queue, where: str, absent: dict[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in (
        ("skbs", queue.skbs), ("bytes", queue.bytes), ("truesize", queue.truesize), ("limit", queue.limit),
        ("fds", queue.fds),
    ):  # fmt: skip
        if value is not None:
            out[name] = value if value.__class__ is int else or_null(absent, f"{where}.{name}", value)
    base, runs = queue.base, queue.runs
    if isinstance(base, Absent):
        out["base"] = or_null(absent, f"{where}.base", base)
    if isinstance(runs, Absent):
        out["runs"] = or_null(absent, f"{where}.runs", runs)
    if isinstance(base, tuple):
        out["base"] = {"name": base[0], "value": base[1]}
    if isinstance(runs, tuple):
        out["runs"] = [{"from": run.start, "to": run.end, "fate": run.fate} for run in runs]
    if queue.segments is not None:
        out["segments"] = [
            _segment(segment, f"{where}.segments.{number}", absent)
            for number, segment in enumerate(queue.segments)
        ]
    return out


def _segment(segment: Segment, where: str, absent: dict[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "address": f"{segment.address:#x}",
        "bytes": segment.length,
        "truesize": segment.truesize,
    }
    if segment.start is not None:
        out |= {"from": segment.start, "to": segment.end}
    for name in ("segments", "age_ms", "fds"):
        value = getattr(segment, name)
        if value is not None:
            out[name] = or_null(absent, f"{where}.{name}", value)
    for name in ("flags", "marks"):
        names = getattr(segment, name)
        if names is not None:
            out[name] = list(names)
    if segment.error is not None:
        out["error"] = {"errno": segment.error[0], "origin": segment.error[1]}
    if segment.payload is not None:
        data = or_null(absent, f"{where}.payload", segment.payload)
        out["payload"] = None if data is None else data.hex()
    return out
