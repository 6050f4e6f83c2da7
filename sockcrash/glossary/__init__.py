# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a name means: members, options, states, timers, flags and words of ours.

The data lie in ``data/SORT[.SECTION[.THEME]].toml``. A file is read when something of its section is asked for;
``entries`` has all of them. In a file each table is an entry, by its name: ``means`` (one line) and ``text``;
``unit`` with its scaling; ``implements``, the variables of RFCs; ``rfc`` ("9293 3.3.1": the number and the
section) and ``docs`` (kernel documentation, manual pages); ``written`` ("function,function file": where the kernel
writes it); ``misread``, how one reads it wrong; ``also``, other names of the same thing, such as a value converted
from it; ``of``, the member that a flag or a word is a part of; ``see``.
"""

from __future__ import annotations

import importlib.resources
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ("SORTS", "Entry", "entries", "meaning", "plain", "section_entries")

ALL = "record"
_ALIKE = str.maketrans("- ", "__")
SORTS = ("member", "option", "state", "timer", "flag", "word")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name means. ``section`` is that of a record, an option's level, what a flag or word is a part of.

    ``written`` are pairs of a file of the kernel's source and its functions.
    """

    sort: str
    section: str
    name: str
    means: str
    text: str = ""
    unit: str = ""
    implements: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    written: tuple[tuple[str, tuple[str, ...]], ...] = ()
    misread: str = ""
    also: tuple[str, ...] = ()
    see: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it has of its own, in the kernel and in RFCs."""
        return (self.name, *self.also, *self.implements)

    @property
    def what(self) -> str:
        """``member of tcp``, ``option of IPPROTO_TCP``, ``state``, ``timer``, ``flag of sock.sk_flags``."""
        return f"{self.sort} of {self.section}" if self.section else self.sort


def entries() -> tuple[Entry, ...]:
    """Every entry that there is."""
    return tuple(entry for sort, section in _files() for entry in section_entries(sort, section))


def meaning(sort: str, section: str, name: str) -> Entry | None:
    """The entry of a name or of another name of the same thing; reads only the files of the section.

    What sections of all families have in common (``recv_q``) stands in that of the record.
    """
    found = _by_name(sort, section).get(name)
    return _by_name(sort, ALL).get(name) if found is None and sort == "member" else found


@cache
def section_entries(sort: str, section: str) -> tuple[Entry, ...]:
    """The entries of a section; none if there is no such section."""
    return tuple(entry for file in _files().get((sort, section), ()) for entry in _read(sort, section, file))


def plain(name: str) -> str:
    """A name as it is compared with others: ``FIN-WAIT-1``, ``fin_wait_1`` and ``Fin wait 1`` are one."""
    return name.casefold().translate(_ALIKE)


@cache
def _by_name(sort: str, section: str) -> Mapping[str, Entry]:
    return {name: entry for entry in section_entries(sort, section) for name in (entry.name, *entry.also)}


@cache
def _files() -> Mapping[tuple[str, str], tuple[Traversable, ...]]:
    """The files of each sort and section, in the order of their names."""
    found: dict[tuple[str, str], tuple[Traversable, ...]] = {}
    data = importlib.resources.files("sockcrash.glossary") / "data"
    for file in sorted(data.iterdir(), key=lambda one: one.name):
        sort, *rest = file.name.removesuffix(".toml").split(".")
        key = (sort, rest[0] if rest else "")
        found[key] = (*found.get(key, ()), file)
    return {key: found[key] for key in sorted(found, key=lambda key: (SORTS.index(key[0]), key[1]))}


def _read(sort: str, section: str, file: Traversable) -> Iterator[Entry]:
    for name, about in tomllib.loads(file.read_text(encoding="utf-8")).items():
        yield _entry(sort, about.get("of", section), name, about)


def _entry(sort: str, section: str, name: str, about: Mapping[str, Any]) -> Entry:
    def text(key: str) -> str:
        return " ".join(about.get(key, "").split())

    def names(key: str) -> tuple[str, ...]:
        return tuple(about.get(key, ()))

    rfcs = (f"RFC {one.replace(' ', ' section ', 1)}" for one in names("rfc"))
    written = (one.split(" ") for one in names("written"))
    return Entry(
        sort,
        section,
        name,
        means=text("means"),
        text=text("text"),
        unit=text("unit"),
        implements=names("implements"),
        sources=(*rfcs, *names("docs")),
        written=tuple((file, tuple(functions.split(","))) for functions, file in written),
        misread=text("misread"),
        also=names("also"),
        see=names("see"),
    )
