# SPDX-License-Identifier: LGPL-2.1-or-later
"""The filter language: text into a tree of terms, each with its place in the text.

It is that of ss (iproute2, misc/ssfilter.y), with names of fields and options beside ss's own terms. Terms beside each
other are joined by "and", but several ``state`` in a row are one choice, as ss takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from typing import Any as Any_

from sockcrash.filter.errors import FilterError

if TYPE_CHECKING:
    import lark

__all__ = ("All", "Any", "Not", "Term", "Tree", "Word", "parse")

GRAMMAR = r"""
start: _group
_group: item | all | any
all: item (_AND? item)+
any: item (_OR item)+
?item: _NOT item -> negation
     | "(" _group ")"
     | states | comparison | ss_term | auto
states: (STATE VALUE)+
comparison: NAME OP VALUE
ss_term: KEYWORD OP? VALUE
auto: AUTOBOUND

_AND.3: /(?:and(?![^\s()=<>!&|])|&&?)/
_OR.3: /(?:or(?![^\s()=<>!&|])|\|\|?)/
_NOT.3: /(?:not(?![^\s()=<>!&|])|!(?!=))/
OP.2: /[<>!=]=|=|<|>|(?:eq|neq?|lt|gt|leq?|geq?)(?![^\s()=<>!&|])/
STATE.3: /(?:state|exclude|excl)(?=\s+[^\s=<>!])/
KEYWORD.3: /(?:src|dst|sport|dport|dev|fwmark|cgroup)(?![^\s()=<>!&|])/
AUTOBOUND.3: /autobound(?![^\s()=<>!&|])/
NAME: /[A-Za-z_][\w.\[\]-]*/
VALUE: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s()=<>!&|"']+/
%ignore /\s+/
"""

# What may come next, as people say it.
_SAID = {
    "NAME": "a field or option",
    "VALUE": "a value",
    "OP": "a comparison (= != < <= > >=)",
    "LPAR": "(",
    "RPAR": ")",
    "_AND": "and",
    "_OR": "or",
    "$END": "the end",
}
_SYMBOLS = {
    "==": "=", "eq": "=", "ne": "!=", "neq": "!=", "lt": "<", "gt": ">",
    "le": "<=", "leq": "<=", "ge": ">=", "geq": ">=",
}  # fmt: skip
_MAX_LENGTH = 1 << 16
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of the filter: what it says, and where in the text it begins and ends."""

    text: str
    start: int
    end: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """A condition: ``states`` of words in pairs; ``auto``; or one of a ``subject`` (a keyword or name), op, value."""

    kind: str
    subject: Word
    op: str = "="
    value: Word | None = None
    more: tuple[tuple[Word, Word], ...] = ()


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these."""

    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Any one of these."""

    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not this."""

    item: Tree


Tree = All | Any | Not | Term


@lru_cache(maxsize=1)
def _parser() -> lark.Lark:
    import lark

    return lark.Lark(GRAMMAR, parser="lalr", lexer="contextual", propagate_positions=True)


def parse(text: str) -> Tree:
    """The tree of a filter; FilterError says where it is wrong."""
    import lark

    if not text.strip():
        raise FilterError("the filter is empty", text, len(text), len(text))
    if len(text) > _MAX_LENGTH:
        raise FilterError(f"a filter has at most {_MAX_LENGTH} characters", text[:60], 0, 0)
    try:
        tree = _parser().parse(text)
    except lark.exceptions.UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        raise FilterError(f"{text[at]!r} is out of place", text, at, at + 1) from None
    except lark.exceptions.UnexpectedToken as error:
        raise _out_of_place(error, text) from None
    (item,) = tree.children
    return _tree(item, text, 0)


def _out_of_place(error: lark.exceptions.UnexpectedToken, text: str) -> FilterError:
    token, expected = error.token, set(error.accepts or error.expected)
    if token.type == "$END":
        wanted = ", ".join(sorted(_SAID[one] for one in expected & _SAID.keys() - {"$END"}))
        return FilterError(f"the filter ends too early: {wanted} is missing", text, len(text), len(text))
    start = token.start_pos or 0
    end = start + len(token)
    if token.type in ("_AND", "_OR") and expected & {"_AND", "_OR"}:
        return FilterError(
            "and beside or: ss reads such a filter from left to right, most languages read it otherwise;"
            " say by parentheses what belongs together",
            text,
            start,
            end,
        )
    wanted = " or ".join(sorted(_SAID[one] for one in expected & _SAID.keys() - {"_AND", "_OR", "$END"}))
    return FilterError(
        f"{str(token)!r} is out of place" + (f": {wanted} is expected" if wanted else ""), text, start, end
    )


def _tree(node: Any_, text: str, depth: int) -> Tree:
    if depth > _MAX_DEPTH:
        raise FilterError("the filter is nested too deep", text, 0, 0)
    children = node.children
    if node.data in ("all", "any"):
        items = tuple(_tree(child, text, depth + 1) for child in children if not isinstance(child, str))
        return All(items) if node.data == "all" else Any(items)
    if node.data == "negation":
        return Not(_tree(children[0], text, depth + 1))
    words = [_word(child) for child in children]
    if node.data == "states":
        return Term("states", words[0], more=tuple(zip(words[::2], words[1::2], strict=True)))
    if node.data == "auto":
        return Term("auto", words[0])
    subject, *op, value = words
    symbol = _SYMBOLS.get(op[0].text, op[0].text) if op else "="
    return Term("ss" if node.data == "ss_term" else "comparison", subject, symbol, value)


def _word(token: lark.Token) -> Word:
    text, start = str(token), token.start_pos or 0
    if token.type == "VALUE" and text[0] in "\"'":
        return Word(_unescaped(text[1:-1]), start, start + len(text), quoted=True)
    return Word(text, start, start + len(text))


def _unescaped(text: str) -> str:
    """``text`` without the backslashes before characters that stand for themselves."""
    out: list[str] = []
    characters = iter(text)
    for character in characters:
        out.append(next(characters, "") if character == "\\" else character)
    return "".join(out)
