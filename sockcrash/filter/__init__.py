# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets are meant by a filter, in the language of ss with fields and options beside its terms.

docs/filter.md describes the language. A filter is checked as a whole before any kernel is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockcrash.filter.grammar import parse
from sockcrash.filter.match import Compiler

if TYPE_CHECKING:
    from sockcrash.decode.want import Want
    from sockcrash.model import Absent, SocketRecord

__all__ = ("Filter", "parse_filter", "selection")


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter: ``matches(record)``, and what a record must have for that: ``want`` and named ``options``.

    ``namespaces``: inodes by the names that the filter has for them; they are filled in by ``resolve``. ``named``: the
    devices, control groups and containers that it names, each with its field. ``lost`` is filled while it matches: by
    name, why a value could not be told of some record, which it did not select for that.
    """

    text: str
    matches: Callable[[SocketRecord], bool]
    want: Want
    options: frozenset[str]
    namespaces: dict[str, int | None]
    named: frozenset[tuple[str, str]]
    lost: dict[str, Absent]

    def resolve(self, find: Callable[[str], int]) -> None:
        """Look up the namespaces that are named; what ``find`` raises is passed on."""
        for name in self.namespaces:
            self.namespaces[name] = find(name)


def parse_filter(text: str) -> Filter:
    """The filter that a text describes; FilterError, a usage error, says where it is wrong."""
    compiler = Compiler(text)
    matches = compiler.predicate(parse(text))
    return Filter(
        text, matches, compiler.want, compiler.options, compiler.namespaces, compiler.named, compiler.lost
    )


def selection(text: str | None, comm: str | None, cgroup: str | None) -> Filter | None:
    """The filter of a text, narrowed to the holders of a name and a control group; None if nothing is narrowed.

    ``cgroup``: a path, everything below it included; or the beginning of a container's id or name.
    """
    terms = [f"comm = {_quoted(comm)}"] if comm is not None else []
    if cgroup is not None and cgroup.startswith("/"):
        path = cgroup.rstrip("/")
        terms.append(f"(cgroup = {_quoted(path or '/')} or cgroup = {_quoted(path + '/*')})")
    elif cgroup is not None:
        terms.append(f"container = {_quoted(cgroup + '*')}")
    if text is None:
        return parse_filter(" and ".join(terms)) if terms else None
    alone = parse_filter(text)  # what is wrong is shown in the text as it was written
    return parse_filter(" and ".join([*terms, f"({text})"])) if terms else alone


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
