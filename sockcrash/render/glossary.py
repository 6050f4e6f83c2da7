# SPDX-License-Identifier: LGPL-2.1-or-later
"""Entries of the glossary as text and as JSON objects, and the meanings beside the values of a record."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from sockcrash.glossary import meaning, section_entries
from sockcrash.model import Absent, Reason
from sockcrash.render.text import head
from sockcrash.render.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sockcrash.glossary import Entry
    from sockcrash.model import OptionValue, SocketRecord

__all__ = (
    "entry_line",
    "entry_object",
    "entry_text",
    "explained_fields",
    "explained_record",
    "member_section",
)

_LABEL, _VALUE = 12, 12
# Keys of a record itself that the glossary explains.
_OF_RECORD = ("kind", "type", "protocol", "inode", "cookie", "netns", "uid", "mark", "cgroup", "how")


def entry_text(entry: Entry, kept: Sequence[str], width: int = 100) -> str:
    """One entry in full; ``kept`` says where the kernel has it."""
    others = f" ({', '.join(entry.also)})" if entry.also else ""
    lines = [f"{entry.name}{others}  {entry.what}", ""]
    lines += textwrap.wrap(entry.means, width, initial_indent="  ", subsequent_indent="  ")
    if entry.text:
        lines += ["", *textwrap.wrap(entry.text, width, initial_indent="  ", subsequent_indent="  ")]
    lines.append("")
    for label, text in _facts(entry, kept):
        indent = " " * (_LABEL + 2)
        lines += textwrap.wrap(text, width, initial_indent=f"  {label:<{_LABEL}}", subsequent_indent=indent)
    return "\n".join(lines)


def _facts(entry: Entry, kept: Sequence[str]) -> Iterator[tuple[str, str]]:
    facts = (
        ("unit", entry.unit),
        ("implements", ", ".join(entry.implements)),
        ("defined in", ", ".join(entry.sources)),
        ("written by", "; ".join(_written(entry))),
        ("kept in", "; ".join(kept)),
        ("misread", entry.misread),
        ("see also", ", ".join(entry.see)),
    )
    yield from ((label, text) for label, text in facts if text)


def _written(entry: Entry) -> Iterator[str]:
    for file, functions in entry.written:
        yield f"{', '.join(f'{function}()' for function in functions)} in {file}"


def entry_line(entry: Entry) -> str:
    """One entry in one line."""
    return f"{entry.name}  ({entry.what})  {entry.means}"


def entry_object(entry: Entry, kept: Sequence[str]) -> dict[str, Any]:
    """The JSON object of one entry."""
    return {
        "name": entry.name,
        "also": list(entry.also),
        "sort": entry.sort,
        "section": entry.section or None,
        "means": entry.means,
        "text": entry.text,
        "unit": entry.unit or None,
        "implements": list(entry.implements),
        "sources": list(entry.sources),
        "written": [{"file": file, "functions": list(functions)} for file, functions in entry.written],
        "kept": list(kept),
        "misread": entry.misread or None,
        "see": list(entry.see),
    }


def member_section(record: SocketRecord, section: str) -> str:
    """The glossary's section for a section of a record: mini sockets have two, congestion controls one each."""
    if section == "minisock":
        return "timewait" if record.kind == "tcp-timewait" else "request"
    return section


def explained_record(record: SocketRecord) -> str:
    """Every value of a record with its meaning, section by section; what this kernel lacks is left out."""
    lines = list(_titled("record", _of_record(record)))
    for name, section in record.sections().items():
        lines += _titled(name, _members(section, member_section(record, name)))
    lines += _titled("cc", _of_congestion_control(record))
    running = [(timer.name, timer.expires_in_ms) for timer in record.timers or () if timer.pending]
    lines += _titled(
        "timers", ((name, f"{show(left)} ms", _means("timer", "", name)) for name, left in running)
    )
    differing = [option for option in _options(record) if option.differs]
    options = ((one.name, one.text, _means("option", one.level, one.name)) for one in differing)
    return "\n".join((*lines, *_titled("options", options)))


def _titled(title: str, rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    lines = list(_table(rows, "    "))
    yield from (f"  {title}", *lines) if lines else ()


def _table(rows: Iterable[tuple[str, str, str]], indent: str) -> Iterator[str]:
    """Lines of name, value and meaning, in columns."""
    table = list(rows)
    width = max((len(name) for name, _, _ in table), default=0)
    for name, value, means in table:
        yield f"{indent}{name:<{width}}  {value:<{_VALUE}}  {means}".rstrip()


def _of_record(record: SocketRecord) -> Iterator[tuple[str, str, str]]:
    if not isinstance(record.state, Absent):
        yield "state", record.state, _means("state", "", record.state)
    for name in _OF_RECORD:
        value = getattr(record, name)
        if not isinstance(value, Absent):
            shown = f"{value:#x}" if name == "cookie" else show(value)
            yield name, shown, _means("member", "record", name)


def _members(section: Mapping[str, Any], of: str) -> Iterator[tuple[str, str, str]]:
    """Members with what they mean; another value of the same thing has its unit there."""
    told: set[str] = set()
    for name, value in section.items():
        if isinstance(value, Absent) and value.reason is Reason.NOT_IN_KERNEL:
            continue
        entry = meaning("member", of, name)
        if entry is None:
            yield name, show(value), ""
        else:
            yield name, show(value), f"({entry.unit})" if entry.name in told and entry.unit else entry.means
            told.add(entry.name)


def _of_congestion_control(record: SocketRecord) -> Iterator[tuple[str, str, str]]:
    """The private area of those algorithms that the glossary knows."""
    of = f"cc-{record.tcp['congestion']}" if record.cc else ""
    if section_entries("member", of) and not isinstance(record.cc, Absent):
        yield from _members(record.cc, of)


def _options(record: SocketRecord) -> tuple[OptionValue, ...]:
    return () if isinstance(record.options, Absent) else record.options or ()


def explained_fields(record: SocketRecord, fields: Mapping[str, Any]) -> str:
    """Chosen fields of a record, one a line, with their meanings."""
    rows = ((name, show(value), _field_means(record, name)) for name, value in fields.items())
    return "\n".join((head(record), *_table(rows, "  ")))


def _field_means(record: SocketRecord, name: str) -> str:
    """Of a field as it was written after -f: a key of the record, a member of one of its sections, an option."""
    sections = [member_section(record, one) for one in record.sections()]
    levels = [option.level for option in _options(record) if option.name == name.upper()]
    places = [("member", one, name) for one in ("record", *sections)]
    for place in (*places, *(("option", level, name.upper()) for level in levels)):
        if means := _means(*place):
            return means
    return ""


def _means(sort: str, section: str, name: str) -> str:
    entry = meaning(sort, section, name)
    return entry.means if entry else ""
