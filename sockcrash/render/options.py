# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of one socket as text: what it is, its value, who wrote it, where it is stored."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, OptionValue, Reason, SocketRecord
from sockcrash.render.escape import printable
from sockcrash.render.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = (
    "OPTION_COLUMNS",
    "default_text",
    "option_rows",
    "options_sentences",
    "options_text",
    "origin_text",
    "value_text",
)

OPTION_COLUMNS = (
    "address", "kind", "level", "option", "number", "value", "text", "origin", "inherited from", "default",
    "default from",
    "raw", "stored in",
)  # fmt: skip

_WIDTH = 110


def value_text(option: OptionValue) -> str:
    """The value in words, or why there is none."""
    value = option.value
    if not isinstance(value, Absent):
        return printable(option.text)
    explains_itself = value.detail and value.reason is not Reason.UNREADABLE
    return f"({printable(value.detail)})" if explains_itself else show(value)


def origin_text(option: OptionValue) -> str:
    """``set``, ``set, by listener 0x...``, ``default``, ``kernel``, ``?`` where it can't be told."""
    if option.inherited_from is not None:
        return f"set, by listener {option.inherited_from:#x}"
    return "" if isinstance(option.value, Absent) else option.origin or "?"


def default_text(option: OptionValue) -> str:
    """What an untouched socket holds, and the sysctl that says so."""
    source = f" ({option.default_from})" if option.default_from and option.default_text else ""
    return f"{printable(option.default_text)}{source}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {one}" for name, one in value.items())
    if isinstance(value, list):
        return " ".join(str(one) for one in value) or "none"
    return printable(str(value)) or "none"


def options_text(record: SocketRecord, *, every: bool) -> Iterator[str]:
    """Lines: a table of the options, with a blank line between levels."""
    options = record.options
    if isinstance(options, Absent):
        yield f"options {show(options)}"
        return
    if not options:
        yield "no such option" if every else "as in an untouched socket"
        return
    cells = [
        (one.name, value_text(one), origin_text(one), default_text(one), one.member or "") for one in options
    ]
    titles = ("option", "value", "origin", "default", "stored in")
    widths = [min(max(map(len, column)), 60) for column in zip(titles, *cells, strict=True)]
    yield _line(titles, widths)
    level = options[0].level
    for option, row in zip(options, cells, strict=True):
        if option.level != level:
            yield ""
            level = option.level
        yield _line(row, widths)


def options_sentences(record: SocketRecord) -> Iterator[str]:
    """Options that differ in a few lines: those that were set, those from each listener, those that can't be told.

    Names of those that can't be read stand behind the reason.
    """
    if isinstance(record.options, Absent):
        yield show(record.options)
        return
    parts: dict[str, list[str]] = {}
    for option in record.options or ():
        if isinstance(option.value, Absent):
            parts.setdefault(f"{value_text(option)}: ", []).append(option.name)
        else:
            parts.setdefault(_whence(option), []).append(f"{option.name} {value_text(option)}")
    for whence, words in parts.items():
        yield from textwrap.wrap(
            f"{whence}{', '.join(words)}", _WIDTH, break_long_words=False, break_on_hyphens=False
        )
    if not parts:
        yield "as in an untouched socket"


def _whence(option: OptionValue) -> str:
    if option.inherited_from is not None:
        return f"by listener {option.inherited_from:#x}: "
    return "" if option.origin else "set, or a default of before: "


def _line(cells: Iterable[str], widths: list[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def option_rows(record: SocketRecord) -> Iterator[tuple[Any, ...]]:
    """A row for each option, for tables and CSV."""
    for one in record.options if isinstance(record.options, tuple) else ():
        yield (
            f"{record.address:#x}",
            record.kind,
            one.level,
            one.name,
            one.number,
            one.value if isinstance(one.value, Absent) else _plain(one.value),
            one.text,
            one.origin or "",
            "" if one.inherited_from is None else f"{one.inherited_from:#x}",
            "" if one.default is None or isinstance(one.default, Absent) else _plain(one.default),
            one.default_from or "",
            one.raw if isinstance(one.raw, Absent) else one.raw.hex(),
            one.member or "",
        )
