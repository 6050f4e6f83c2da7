# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trees of terms into a predicate over records.

A comparison with a value that is absent is neither true nor false, so it never selects a socket, whether negated or
not: ``snd_cwnd < 3`` and ``not snd_cwnd < 3`` both leave UDP sockets out. Negations are therefore moved down to the
terms, where each says yes, no, or nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sockcrash.decode.want import NOTHING, Want
from sockcrash.errors import nearest
from sockcrash.filter import grammar
from sockcrash.filter.errors import FilterError
from sockcrash.filter.grammar import Not, Term, Tree, Word
from sockcrash.filter.hosts import end_test, port_number
from sockcrash.filter.states import EVERY_STATE, STATE_NAMES
from sockcrash.filter.values import Value, find_value, known_names, other_name
from sockcrash.filter.words import words_of
from sockcrash.model import Absent, Endpoint, OptionValue, Reason, SocketRecord

__all__ = ("Compiler",)

Test = Callable[[SocketRecord], bool | None]
Predicate = Callable[[SocketRecord], bool]

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SWITCHES = {"on": 1, "yes": 1, "true": 1, "off": 0, "no": 0, "false": 0}
_MANY = 20
# What is compared by terms that don't name it.
_OF_TERM = {"states": "state", "auto": "local"}
_NAMED = frozenset({"device", "cgroup", "container"})
_BELOW = "/*"
_BINDPORT_LOCK = 8  # SOCK_BINDPORT_LOCK, include/net/sock.h


@dataclass(slots=True)
class Compiler:
    """Compiles the terms of one filter, and gathers what they want: ``namespaces`` are words that name some.

    ``named``: likewise words for what is in _NAMED. ``lost`` is filled when records are compared: by name, a value that
    could not be told of one of them.
    """

    text: str
    want: Want = NOTHING
    options: frozenset[str] = frozenset()
    namespaces: dict[str, int | None] = field(default_factory=dict)
    named: frozenset[tuple[str, str]] = frozenset()
    lost: dict[str, Absent] = field(default_factory=dict)

    def predicate(self, tree: Tree, positive: bool = True) -> Predicate:
        """Whether a record is selected; with ``positive`` False, by the negation."""
        if isinstance(tree, Not):
            return self.predicate(tree.item, not positive)
        if isinstance(tree, Term):
            return self._selects(tree, self._test(tree), positive)
        parts = [self.predicate(item, positive) for item in tree.items]
        if isinstance(tree, grammar.All) is positive:
            return lambda record: all(part(record) for part in parts)
        return lambda record: any(part(record) for part in parts)

    def _selects(self, term: Term, test: Test, positive: bool) -> Predicate:
        """Where a term says nothing, it is noted if that is for want of a value that may be there."""
        name = _OF_TERM.get(term.kind, term.subject.text)
        value = find_value(name)
        assert value is not None
        get, lost = value.get, self.lost

        def selects(record: SocketRecord) -> bool:
            found = test(record)
            if found is None:
                why = _plain(get(record))
                if (
                    why.__class__ is Absent
                    and why.lost
                    and (name not in lost or why.reason is Reason.UNREADABLE)
                ):
                    lost[name] = why
            return found is positive

        return selects

    def _test(self, term: Term) -> Test:
        if term.kind == "states":
            states = self._states(term)
            return lambda record: _in_states(record, states)
        if term.kind == "auto":
            self._needs(Value("autobound", _autobound, want=Want(frozenset({"sk_userlocks"}))))
            return _autobound
        assert term.value is not None
        special = {
            "src": self._end,
            "dst": self._end,
            "sport": self._port,
            "dport": self._port,
            "fwmark": self._mark,
        }
        if term.kind == "ss" and term.subject.text in special:
            return special[term.subject.text](term, term.value)
        return self._comparison(term, term.value)

    def _wrong(self, message: str, word: Word) -> FilterError:
        return FilterError(message, self.text, word.start, word.end)

    def _needs(self, value: Value) -> None:
        self.want |= value.want
        self.options |= value.options

    def _states(self, term: Term) -> frozenset[str]:
        """As ss gathers them: each ``state`` adds, each ``exclude`` takes away, from all if it comes first."""
        states: frozenset[str] = frozenset()
        for verb, name in term.more:
            named = self._state(name)
            if verb.text == "state":
                states |= named
            else:
                states = (states or EVERY_STATE) - named
        return states

    def _state(self, name: Word) -> frozenset[str]:
        wanted = name.text.lower().replace("_", "-")
        if wanted not in STATE_NAMES:
            raise self._wrong(f"there is no state {name.text!r}.{nearest(wanted, list(STATE_NAMES))}", name)
        return STATE_NAMES[wanted]

    def _end(self, term: Term, value: Word) -> Test:
        end = "local" if term.subject.text == "src" else "peer"
        try:
            test = end_test(end, value.text)
        except ValueError as error:
            raise self._wrong(str(error), value) from None
        return self._equal_only(term, test)

    def _equal_only(self, term: Term, test: Test) -> Test:
        if term.op == "=":
            return test
        if term.op != "!=":
            raise self._wrong(f"{term.subject.text} is compared by = or != only", term.subject)

        def differs(record: SocketRecord) -> bool | None:
            found = test(record)
            return None if found is None else not found

        return differs

    def _port(self, term: Term, value: Word) -> Test:
        """A port, or as ss has it a whole end (``dport = inet:*:22``) of which the port counts."""
        try:
            number = port_number(value.text.rpartition(":")[2])
        except ValueError as error:
            raise self._wrong(str(error), value) from None
        found = find_value(term.subject.text)
        assert found is not None
        return _numeric(found.get, term.op, number)

    def _mark(self, term: Term, value: Word) -> Test:
        mark, slash, mask = value.text.partition("/")
        try:
            wanted, bits = int(mark, 0), int(mask, 0) if slash else 0xFFFFFFFF
        except ValueError:
            raise self._wrong(f"{value.text!r} is no mark: NUMBER or NUMBER/MASK", value) from None

        def test(record: SocketRecord) -> bool | None:
            return None if isinstance(record.mark, Absent) else record.mark & bits == wanted

        return self._equal_only(term, test) if slash else self._comparison(term, value)

    def _comparison(self, term: Term, value: Word) -> Test:
        name = term.subject.text
        found = find_value(name)
        if found is None:
            raise self._wrong(
                f"no field or option is called {name!r}.{nearest(name, known_names())}", term.subject
            )
        self._needs(found)
        if found.name == "state" and term.op in ("=", "!="):
            states = self._state(value)
            return self._equal_only(term, lambda record: _in_states(record, states))
        if found.name == "netns":
            return self._netns(term, value, found)
        if found.name in ("device", "dev") and value.text.isdigit() and not value.quoted:
            found = find_value("ifindex") or found
        real = other_name(found.name) or found.name
        if real in _NAMED:
            self.named |= {(real, value.text.removesuffix(_BELOW) or value.text)}
        number = None if value.quoted else _number(value.text, found.hexadecimal)
        self._spelt(found, value, number)
        if term.op in _ORDER and found.manifold:
            raise self._wrong(
                f"{name} is no single number: compare it by = with its words, as list -o {name} shows them",
                term.subject,
            )
        if term.op in _ORDER and (number is None or found.words):
            raise self._wrong(
                f"{term.op} compares numbers: {_what(found, value)}",
                value if number is None else term.subject,
            )
        if found.words is False:
            if number is None:
                raise self._wrong(f"{name} is a number, {value.text!r} is none", value)
            return _numeric(found.get, term.op, number)
        return _worded(found, term.op, value.text, number)

    def _spelt(self, found: Value, value: Word, number: float | None) -> None:
        """A FilterError if no socket can have this word in a field that has one of a few words only."""
        known = words_of(other_name(found.name) or found.name)
        if not known or number is not None or _is_pattern(value.text):
            return
        fold = _fold(found)
        if fold(value.text) not in map(fold, known):
            raise self._wrong(
                f"{found.name}: there is no {value.text!r}.{_meant(value.text, sorted(known))}", value
            )

    def _netns(self, term: Term, value: Word, found: Value) -> Test:
        if value.text.isdigit():
            return _numeric(found.get, term.op, int(value.text))
        known = self.namespaces
        known.setdefault(value.text, None)
        return self._equal_only(
            term,
            lambda record: None if isinstance(record.netns, Absent) else record.netns == known[value.text],
        )


def _meant(word: str, known: list[str]) -> str:
    """What to write for a word that is none of ``known``: the same in other capitals, without its prefix, or near."""
    same = {tail: one for one in known for tail in (one.lower().partition("_")[2], one.lower())}
    if word.lower() in same:
        return f" Did you mean {same[word.lower()]}?"
    return nearest(word, known) or (f" It is one of {', '.join(known)}." if len(known) < _MANY else "")


def _what(found: Value, value: Word) -> str:
    return f"{found.name} is text" if found.words else f"{value.text!r} is none"


def _in_states(record: SocketRecord, states: frozenset[str]) -> bool | None:
    return None if isinstance(record.state, Absent) else record.state in states


def _number(text: str, hexadecimal: bool) -> int | float | None:
    """A number as people write it; None if it is none. ``hexadecimal`` ones may be without 0x."""
    if text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    try:
        if hexadecimal:
            return int(text, 16)
        return int(text, 0) if text.lower().lstrip("+-").startswith("0x") else int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None  # no infinity, and what is no number


def _numeric(get: Callable[[SocketRecord], Any], op: str, number: float) -> Test:
    """A comparison of numbers; of several, one that compares so is enough (and none may be equal for ``!=``)."""
    compare: Callable[[Any, Any], Any] = _ORDER.get(op, operator.eq)
    negated = op == "!="

    def test(record: SocketRecord) -> bool | None:
        value = get(record)
        if value.__class__ is int or value.__class__ is float:
            return bool(compare(value, number)) is not negated
        numbers = [one for one in _several(value) if isinstance(one, (int, float))]
        return any(compare(one, number) for one in numbers) is not negated if numbers else None

    return test


def _fold(found: Value) -> Callable[[str], str]:
    """What makes words alike that are the same."""
    return str.casefold if found.caseless else str


def _worded(found: Value, op: str, word: str, number: float | None) -> Test:
    """A comparison with a word, which may be a pattern, or a number where the value is one."""
    get, fold = found.get, _fold(found)
    text = fold(word)
    compare = _ORDER.get(op)
    negated = op == "!="
    literal = compare is None and not _is_pattern(text)

    def test(record: SocketRecord) -> bool | None:
        value = get(record)
        if literal and value.__class__ is str:
            return (value == text) is not negated
        values = [one for one in _several(value) if not isinstance(one, Absent)]
        if compare is not None:
            numbers = [one for one in values if isinstance(one, (int, float))]
            return any(compare(one, number) for one in numbers) if numbers else None
        return any(_is(one, text, number, fold) for one in values) is not negated if values else None

    return test


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, OptionValue) else value


def _several(value: Any) -> tuple[Any, ...]:
    """The values that a comparison may be true of: those of a list, the value and the words of an option.

    Of an option of several numbers the first of its words says it too: ``on, 5 s`` is on, and 1.
    """
    if isinstance(value, OptionValue):
        if isinstance(value.value, dict):
            first = value.text.partition(", ")[0]
            return (value.text, first, *([_SWITCHES[first]] if first in _SWITCHES else ()))
        return () if isinstance(value.value, Absent) else (value.value, value.text)
    if isinstance(value, Absent):
        return ()
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _is(value: Any, text: str, number: float | None, fold: Callable[[str], str]) -> bool:
    if isinstance(value, (int, float)):
        return value == number
    if isinstance(value, bytes):
        value = value.hex()
    words = _words_of_end(value) if isinstance(value, Endpoint) else fold(str(value))
    return words == text or (_is_pattern(text) and fnmatchcase(words, text))


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _words_of_end(end: Endpoint) -> str:
    """The address or path of an end: what a pattern for ``local`` and ``peer`` is compared with."""
    return str(end.path if end.path is not None else end.address)


def _autobound(record: SocketRecord) -> bool | None:
    """Whether the kernel chose the port or name: as INET_DIAG_BC_AUTO has it of inet sockets, as ss of others."""
    local = record.local
    if isinstance(local, Absent):
        return None
    if local.address is not None:
        locks = record.sock.get("sk_userlocks", 0)
        return None if isinstance(locks, Absent) else not locks & _BINDPORT_LOCK
    if local.path is not None:
        path = local.path
        return isinstance(path, Absent) or (len(path) == 6 and fnmatchcase(path, "@" + "[0-9a-f]" * 5))
    if local.portid is not None:
        return local.portid > 0x7FFFFFFF
    if local.cid is not None:
        return (local.port or 0) > 1023
    return local.ifindex == 0 and local.ethertype == 0
