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
    from sockcrash.model import SocketRecord

__all__ = ("Filter", "parse_filter")


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter: ``matches(record)``, and what a record must have for that: ``want`` and named ``options``.

    ``namespaces``: inodes by the names that the filter has for them; they are filled in by ``resolve``.
    """

    text: str
    matches: Callable[[SocketRecord], bool]
    want: Want
    options: frozenset[str]
    namespaces: dict[str, int | None]

    def resolve(self, find: Callable[[str], int]) -> None:
        """Look up the namespaces that are named; what ``find`` raises is passed on."""
        for name in self.namespaces:
            self.namespaces[name] = find(name)


def parse_filter(text: str) -> Filter:
    """The filter that a text describes; FilterError, a usage error, says where it is wrong."""
    compiler = Compiler(text)
    matches = compiler.predicate(parse(text))
    return Filter(text, matches, compiler.want, compiler.options, compiler.namespaces)
