# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many sockets, a line each: columns of a fixed width, so that lines come out as the sockets are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sockcrash.model import Absent, Endpoint, OptionValue, Owner
from sockcrash.render.escape import printable
from sockcrash.render.holders import holder_word, owner_object
from sockcrash.render.json import SCHEMA
from sockcrash.render.nulls import or_null
from sockcrash.render.units import end, nothing

__all__ = ("NARROW", "Column", "cell", "counts_object", "default_columns", "lines", "row_object", "texts")

NARROW = 120
_ABSENT = "-"

# Heading (if it is not the name itself) and width of columns. Numbers, to the right, have a negative width.
_COLUMNS: dict[str, tuple[str, int]] = {
    "netid": ("Netid", 5), "state": ("State", 12), "recv_q": ("Recv-Q", -6), "send_q": ("Send-Q", -6),
    "local": ("Local Address:Port", 25), "peer": ("Peer Address:Port", 25), "owners": ("Process", 30),
    "inode": ("", -10), "netns": ("", -10), "uid": ("", -6), "cookie": ("", -8), "address": ("", 18),
    "timers": ("", 15), "kind": ("", 12), "family": ("", 10), "type": ("", 14), "protocol": ("", 15),
    "cgroup": ("", 30), "device": ("", 8), "comm": ("", 15), "path": ("", 30), "count": ("", -8), "congestion": ("", 8),
}  # fmt: skip
_LIKE_SS = ("netid", "state", "recv_q", "send_q", "local", "peer", "owners")
# What a wider terminal has room for, in this order, before the processes.
_MORE = ("inode", "uid", "netns", "cookie", "timers", "cgroup")
_NUMBER = -10
_ADDRESS = 18


def default_columns(width: int) -> tuple[str, ...]:
    """The columns of ss, and as many more as fit ``width`` characters."""
    room = width - sum(abs(_COLUMNS[name][1]) + 1 for name in _LIKE_SS) + 1
    more: list[str] = []
    for name in _MORE:
        room -= abs(_COLUMNS[name][1]) + 1
        if room < 0:
            break
        more.append(name)
    return (*_LIKE_SS[:-1], *more, _LIKE_SS[-1])


class Column(NamedTuple):
    """A column: what it shows is text, a number (``words`` False) or either; ``hexadecimal`` numbers are addresses."""

    name: str
    words: bool | None = True
    hexadecimal: bool = False


def lines(columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A heading and a line for each row. What is wider than its column moves the rest of its line."""
    headings = [(_COLUMNS.get(column.name, ("", 0))[0] or column.name, _width(column)) for column in columns]
    layout = " ".join(
        f"%{'' if width < 0 else '-'}{max(abs(width), len(heading))}s" for heading, width in headings
    )
    yield (layout % tuple(heading for heading, _ in headings)).rstrip()
    yield from map(str.rstrip, map(layout.__mod__, _cells(columns, rows)))


def texts(columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """Rows for CSV and tables: what is absent stays so, and a list without anything in it is empty."""
    for row in rows:
        (shown,) = _cells(columns, [row])
        yield [
            value if value.__class__ is Absent else "" if value == () else text
            for value, text in zip(row, shown, strict=True)
        ]


def _cells(columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Iterator[tuple[str, ...]]:
    if not any(column.hexadecimal for column in columns):
        shown = _SHOWN
        for row in rows:
            yield tuple([shown[value.__class__](value) for value in row])
        return
    show = [_address if column.hexadecimal else cell for column in columns]
    for row in rows:
        yield tuple([one(value) for one, value in zip(show, row, strict=True)])


def _address(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_address, value)) or _ABSENT
    return f"{value:#x}" if isinstance(value, int) else cell(value)


def _width(column: Column) -> int:
    if column.name in _COLUMNS:
        return _COLUMNS[column.name][1]
    return _ADDRESS if column.hexadecimal else _NUMBER if column.words is False else -_NUMBER


def cell(value: Any) -> str:
    """A value in a line of text."""
    return _SHOWN[value.__class__](value)


def _several(values: Sequence[Any]) -> str:
    if values and isinstance(values[0], Owner):
        return " ".join(map(holder_word, values))
    return ",".join(map(cell, values)) or _ABSENT


_SHOWN: defaultdict[type, Callable[[Any], str]] = defaultdict(
    lambda: lambda value: printable(str(value)),
    {
        int: str,
        str: printable,
        float: lambda value: f"{value:g}",
        Absent: nothing,
        bytes: bytes.hex,
        Endpoint: end,
        OptionValue: lambda option: (
            nothing(option.value) if isinstance(option.value, Absent) else printable(option.text)
        ),
        tuple: _several,
        list: _several,
    },
)


def row_object(
    address: int | Absent, kind: str, columns: Sequence[Column], values: Sequence[Any]
) -> dict[str, Any]:
    """The JSON object of one socket with chosen columns, keyed as -f keys it."""
    fields: dict[str, Any] = {}
    absent: dict[str, str] = {}
    where = None
    if isinstance(address, Absent):
        absent["address"] = str(address)
    else:
        where = f"{address:#x}"
    for (name, _, hexadecimal), value in zip(columns, values, strict=True):
        kind_of_value = value.__class__
        if kind_of_value is int:
            fields[name] = f"{value:#x}" if hexadecimal else value
        elif kind_of_value is str:
            fields[name] = value
        else:
            fields[name] = _plain(value, name, absent)
    return {"schema": SCHEMA, "address": where, "kind": kind, "fields": fields, "absent": absent}


def _plain(value: Any, name: str, absent: dict[str, str]) -> Any:
    if isinstance(value, Endpoint):
        if value.address is not None:
            return value.members()
        return {key: _plain(one, f"{name}.{key}", absent) for key, one in value.members().items()}
    if isinstance(value, OptionValue):
        value = value.value
    if isinstance(value, tuple):
        return [owner_object(one) if isinstance(one, Owner) else one for one in value]
    return or_null(absent, f"fields.{name}", value)


def counts_object(names: Sequence[str], counted: Iterable[tuple[Sequence[Any], int]]) -> list[dict[str, Any]]:
    """What --count-by found, for JSON."""
    return [{"count": count, "fields": dict(zip(names, values, strict=True))} for values, count in counted]
