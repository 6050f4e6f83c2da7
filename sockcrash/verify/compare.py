# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options from memory against answers of getsockopt(2), byte for byte, and the account of it."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Mapping

from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.kernel.uapi import ERRORS, error_name
from sockcrash.model import Absent, Account, Disagreement, OptionValue, Tally

__all__ = ("SO_GET_FILTER", "Answers", "Key", "Ledger", "key_of")

Key = tuple[int, int]
"""Number of a level, number of an option."""
Answers = Mapping[Key, bytes | int]
"""What getsockopt copied out, or the errno."""


def key_of(name: str) -> Key:
    """The numbers of an option."""
    return next((LEVELS[row.level], row.number) for row in ROWS if row.name == name)


SO_GET_FILTER = key_of("SO_GET_FILTER")
# The kernel drops a cached route when time-outs pile up, and looks it up again at the next packet.
_OF_ROUTES = {"IP_MTU", "IPV6_MTU", "IPV6_PATHMTU"}
_NAMES = {number: level for level, number in LEVELS.items()}
_ALSO = {(row.level, row.name): row.also for row in ROWS if row.also}
_ERRNOS = set(ERRORS.values())


class Ledger:
    """What was compared so far."""

    def __init__(self) -> None:
        self._sockets = 0
        self._counts: dict[int, Counter[str]] = {}
        self._lost: dict[int, Counter[tuple[str, str]]] = {}
        self._wrong: list[Disagreement] = []
        self._unknown: dict[Key, list[str]] = {}
        self._silent: list[str] = []

    def account(self) -> Account:
        """The result."""
        tallies = tuple(
            Tally(
                _NAMES[level], counts["compared"], counts["equal"], counts["moved"], dict(self._lost[level])
            )
            for level, counts in sorted(self._counts.items())
        )
        unknown = {
            (_NAMES[level], number): tuple(labels) for (level, number), labels in self._unknown.items()
        }
        return Account(self._sockets, tallies, tuple(self._wrong), unknown, tuple(self._silent))

    def not_compared(self, socket: str) -> None:
        """A socket of which one side said nothing."""
        self._silent.append(socket)

    def compare(
        self, socket: str, options: Iterable[OptionValue], before: Answers, after: Answers | None = None
    ) -> None:
        """Enter one socket. A value counts as moved only if the kernel gave two different answers, before and after.

        ``after`` is None where there was no second look.
        """
        self._sockets += 1
        ours = _by_key(options)
        for key, first in sorted(before.items()):
            mine = ours.get(key)
            if mine is None:
                if isinstance(first, bytes):
                    self._unknown.setdefault(key, []).append(socket)
            elif isinstance(first, bytes) or (isinstance(mine.raw, bytes) and LEVELS[mine.level] == key[0]):
                second = first if after is None else after.get(key, errno.ENOPROTOOPT)
                self._enter(socket, key, mine, first, second)

    def _enter(
        self, socket: str, key: Key, mine: OptionValue, first: bytes | int, second: bytes | int
    ) -> None:
        counts = self._counts.setdefault(key[0], Counter())
        lost = self._lost.setdefault(key[0], Counter())
        if isinstance(mine.raw, Absent) and not _is_refusal(mine.raw):
            lost[mine.name, str(mine.raw)] += 1
            return
        counts["compared"] += 1
        if _same(key, mine.raw, first) or _same(key, mine.raw, second):
            counts["equal"] += 1
        elif first != second or (mine.name in _OF_ROUTES and _one_refuses(mine.raw, first)):
            counts["moved"] += 1
        else:
            memory = str(mine.raw) if isinstance(mine.raw, Absent) else mine.raw.hex()
            self._wrong.append(Disagreement(socket, mine.level, mine.name, mine.number, memory, _text(first)))


def _by_key(options: Iterable[OptionValue]) -> dict[Key, OptionValue]:
    """Options by number; of several with one number that one which getsockopt gives."""
    found: dict[Key, OptionValue] = {}
    for one in options:
        for level in (one.level, *_ALSO.get((one.level, one.name), ())):
            key = LEVELS[level], one.number
            if key not in found or isinstance(found[key].raw, Absent):
                found[key] = one
    return found


def _same(key: Key, mine: bytes | Absent, answer: bytes | int) -> bool:
    if isinstance(answer, int):
        return isinstance(mine, Absent)
    if isinstance(mine, Absent):
        return False
    if key == SO_GET_FILTER and len(answer) * 8 == len(mine):
        # The length that the call returns counts instructions of 8 bytes: a record may hold just as many bytes.
        return mine.startswith(answer)
    return mine == answer


def _one_refuses(mine: bytes | Absent, answer: bytes | int) -> bool:
    return isinstance(mine, Absent) is not isinstance(answer, int)


def _is_refusal(raw: Absent) -> bool:
    """Whether memory says that the call fails, and how: ``EINVAL: ...``."""
    return raw.detail.partition(":")[0] in _ERRNOS


def _text(answer: bytes | int) -> str:
    return answer.hex() if isinstance(answer, bytes) else error_name(answer)
