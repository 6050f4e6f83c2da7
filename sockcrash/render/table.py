# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rows of sockets as a table (tabulate) or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sockcrash.model import Absent, Endpoint, SocketRecord
from sockcrash.render.escape import printable
from sockcrash.render.holders import holder_word
from sockcrash.render.units import end, show

__all__ = ("RECORD_COLUMNS", "fields_row", "record_row", "rows")

RECORD_COLUMNS = ("address", "kind", "state", "recv-q", "send-q", "local", "peer", "inode", "held by")


def record_row(record: SocketRecord) -> tuple[Any, ...]:
    """The default columns of one socket."""
    return (
        f"{record.address:#x}",
        record.kind,
        record.state,
        record.recv_q,
        record.send_q,
        _end(record.local),
        _end(record.peer),
        record.inode,
        _holders(record),
    )


def _end(value: Endpoint | Absent) -> Any:
    return value if isinstance(value, Absent) and value.lost else end(value)


def _holders(record: SocketRecord) -> Any:
    if isinstance(record.owners, Absent):
        return record.owners
    return " ".join(map(holder_word, record.owners))


def fields_row(record: SocketRecord, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The address and chosen fields of one socket."""
    return (f"{record.address:#x}", *values.values())


def rows(columns: Sequence[str], made: Iterable[Sequence[Any]], output_format: str) -> Iterator[str]:
    """``table`` needs all rows at once; ``csv`` streams. In CSV an absent value is an empty cell."""
    if output_format == "csv":
        yield _csv(columns)
        for row in made:
            yield _csv(["" if isinstance(value, Absent) else value for value in row])
        return
    from tabulate import tabulate

    cells = [
        [show(value) if isinstance(value, Absent) else printable(str(value)) for value in row] for row in made
    ]
    yield tabulate(cells, headers=list(columns), tablefmt="simple", disable_numparse=True)


def _csv(row: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(
        row
    )  # with "" Python before 3.13 would not quote a newline
    return line.getvalue().removesuffix("\n")
