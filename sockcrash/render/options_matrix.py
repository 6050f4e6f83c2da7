# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of many sockets side by side: sockets that are alike share a column, so that the odd one is seen at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sockcrash.model import Absent, OptionValue, SocketRecord
from sockcrash.render.options import value_text
from sockcrash.render.units import end, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ("matrix",)

_COLUMNS = 6
_NAMED = 4
_WIDEST = 24
_SAME_AS_DEFAULT = "."


_Row = tuple[str, int, str]
"""Level, number and name of an option."""


@dataclass
class _Alike:
    """Sockets with the same options, and what these are."""

    cells: dict[_Row, str]
    sockets: list[str] = field(default_factory=list)


def matrix(records: Iterable[SocketRecord]) -> Iterator[str]:
    """Lines: the sockets of each column, then a row for each option; ``*`` before rows in which columns differ.

    A dot stands for a socket in which the option is not shown: it is as in an untouched socket, or has no such option.
    """
    columns: dict[tuple[tuple[_Row, str], ...], _Alike] = {}
    levels = {"SOL_SOCKET": 0}
    rows: set[_Row] = set()
    for record in records:
        cells = dict(_cells(record))
        rows.update(cells)
        for level, _, _ in cells:
            levels.setdefault(level, len(levels))
        columns.setdefault(tuple(cells.items()), _Alike(cells)).sockets.append(_name(record))
    groups = sorted(columns.values(), key=lambda alike: -len(alike.sockets))
    for number, alike in enumerate(groups, 1):
        yield f"[{number}] {_sockets(alike.sockets)}"
    if not rows:
        yield ""
        yield "every option of every socket is as in an untouched socket"
    ordered = sorted(rows, key=lambda row: (levels[row[0]], row[1:]))
    for start in range(0, len(groups), _COLUMNS):
        yield ""
        yield from _block(ordered, groups, start)


def _cells(record: SocketRecord) -> Iterator[tuple[_Row, str]]:
    if isinstance(record.options, Absent):
        yield ("", 0, "options"), show(record.options)
        return
    for option in record.options or ():
        yield (option.level, option.number, option.name), _cell(option)


def _cell(option: OptionValue) -> str:
    """The value; a question mark where it can't be told who wrote it."""
    doubt = option.origin is None and not isinstance(option.value, Absent)
    return f"{value_text(option)}{' ?' if doubt else ''}"


def _name(record: SocketRecord) -> str:
    ends = "" if isinstance(record.local, Absent) else f" {end(record.local)}"
    peer = (
        ""
        if isinstance(record.peer, Absent) or end(record.peer) in ("*", "0.0.0.0:*", "[::]:*")
        else f"-{end(record.peer)}"
    )
    return f"{record.kind}{ends}{peer} {record.address:#x}"


def _sockets(names: list[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    count = f"{len(names)} sockets: " if len(names) > 1 else ""
    return f"{count}{', '.join(names[:_NAMED])}{more}"


def _block(rows: list[_Row], groups: list[_Alike], start: int) -> Iterator[str]:
    """One block of columns, as many as fit."""
    shown = groups[start : start + _COLUMNS]
    titles = [f"[{start + number}]" for number in range(1, len(shown) + 1)]
    width = max((len(name) for _, _, name in rows), default=0)
    widths = [
        min(_WIDEST, max([len(title), *(len(cell) for cell in alike.cells.values())]))
        for title, alike in zip(titles, shown, strict=True)
    ]
    if rows:
        yield (
            f"  {'':<{width}}  "
            + "  ".join(f"{title:<{size}}" for title, size in zip(titles, widths, strict=True)).rstrip()
        )
    for row in rows:
        texts = [alike.cells.get(row, _SAME_AS_DEFAULT) for alike in shown]
        if all(text == _SAME_AS_DEFAULT for text in texts):
            continue
        everywhere = {alike.cells.get(row, _SAME_AS_DEFAULT) for alike in groups}
        odd = "*" if len(everywhere) > 1 else " "
        cells = "  ".join(f"{_cut(text):<{size}}" for text, size in zip(texts, widths, strict=True))
        yield f"{odd} {row[2]:<{width}}  {cells}".rstrip()


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
