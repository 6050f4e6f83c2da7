# SPDX-License-Identifier: LGPL-2.1-or-later
"""Samples as lines, as a screen, and as JSON objects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sockcrash.render.json import SCHEMA
from sockcrash.render.nulls import or_null
from sockcrash.render.text import head
from sockcrash.render.units import rate, show

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from sockcrash.watch.changes import Sample

__all__ = ("end_line", "end_object", "fitting", "sample_line", "sample_object", "screen")

_BYTES = "bytes_"


def sample_line(sample: Sample, *, first: bool, several: bool) -> str:
    """``12:00:01.25  snd_cwnd 10 -> 20  bytes_acked 1.2 MB/s``; all fields of the first sample."""
    who = f" {sample.record.address:#x}" if several else ""
    parts = (
        [f"{name} {show(value)}" for name, value in sample.fields.items()] if first else list(_moved(sample))
    )
    return f"{_clock(sample.time)}{who}  " + ("  ".join(parts) or "-")


def _moved(sample: Sample) -> Iterator[str]:
    for name in sample.fields:
        per_second = sample.rates.get(name)
        if per_second:
            yield f"{name} {_rate(name, per_second)}"
        elif name in sample.changed:
            yield f"{name} {show(sample.changed[name])} -> {show(sample.fields[name])}"


def _rate(name: str, per_second: float) -> str:
    return rate(int(per_second)) if name.startswith(_BYTES) else f"+{per_second:.1f}/s"


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{int(seconds % 1 * 100):02d}"


def screen(samples: Sequence[Sample], interval: float) -> Iterator[str]:
    """What a terminal shows: each socket with all of its fields."""
    for sample in samples:
        yield f"{_clock(sample.time)}  every {interval:g} s  {head(sample.record)}"
        width = max(map(len, sample.fields))
        for name, value in sample.fields.items():
            old = f"was {show(sample.changed[name])}" if name in sample.changed else ""
            per_second = _rate(name, sample.rates[name]) if sample.rates.get(name) else ""
            yield f"  {name:<{width}}  {show(value):>16}  {per_second:>12}  {old}".rstrip()
        yield ""


def fitting(rows: Sequence[str], below: Sequence[str], size: os.terminal_size) -> list[str]:
    """What of ``rows`` fits onto a terminal above the lines ``below``: more would scroll at each look."""
    room = max(1, size.lines - 1 - len(below))
    if len(rows) > room:
        rows = [
            *rows[: room - 1],
            f"... {len(rows) - room + 1} lines more: choose fields by -f, or watch fewer sockets",
        ]
    return [row[: size.columns] for row in (*rows, *below)]


def end_line(address: int, why: str) -> str:
    """That a socket is not watched any more."""
    return f"{address:#x} is gone: {why}"


def sample_object(sample: Sample) -> dict[str, Any]:
    """One line of ``watch --json``."""
    absent: dict[str, str] = {}
    fields = {name: or_null(absent, f"watch.fields.{name}", value) for name, value in sample.fields.items()}
    return {
        "schema": SCHEMA,
        "watch": {
            "time": sample.time,
            "address": f"{sample.record.address:#x}",
            "kind": sample.record.kind,
            "fields": fields,
            "changed": list(sample.changed),
            "rates": sample.rates,
        },
        "absent": absent,
    }


def end_object(address: int, why: str) -> dict[str, Any]:
    """The line of a socket that is not watched any more: ``gone``, and in words."""
    return {"schema": SCHEMA, "watch_end": {"address": f"{address:#x}", "why": why}}
