# SPDX-License-Identifier: LGPL-2.1-or-later
"""The account of a comparison: a table by level, what memory does not give, and what disagrees."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sockcrash.render.escape import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.model import Account

__all__ = ("account_object", "account_text")

_TITLES = ("level", "compared", "equal", "moved", "not given", "disagree")


def account_text(account: Account) -> Iterator[str]:
    """Lines."""
    yield f"{account.sockets} sockets"
    yield ""
    wrong = Counter(one.level for one in account.disagreements)
    rows = [
        (one.level, one.compared, one.equal, one.moved, sum(one.lost.values()), wrong[one.level])
        for one in account.tallies
    ]
    total = ("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])) if rows else ()
    yield _line(_TITLES)
    for row in (*rows, total) if rows else ():
        yield _line(row)
    for tally in account.tallies:
        for (name, why), times in sorted(tally.lost.items()):
            yield f"not given by memory: {tally.level} {name}, {times} times: {printable(why)}"
    for one in account.disagreements:
        yield f"DISAGREE: {printable(one.socket)} {one.level} {one.name}: memory {one.memory}, getsockopt {one.kernel}"
    for (level, number), sockets in account.unknown.items():
        yield f"UNKNOWN: {level} {number} is answered: {printable(', '.join(sockets[:3]))}"
    for label in account.silent:
        yield f"not compared: {printable(label)}"


def _line(cells: tuple[Any, ...]) -> str:
    first, *rest = cells
    return f"{first:<16}" + "".join(f"{cell:>10}" for cell in rest)


def account_object(account: Account) -> dict[str, Any]:
    """The JSON object of an account."""
    wrong = Counter(one.level for one in account.disagreements)
    return {
        "sockets": account.sockets,
        "agrees": account.agrees,
        "levels": [
            {
                "level": tally.level,
                "compared": tally.compared,
                "equal": tally.equal,
                "moved": tally.moved,
                "not_given": sum(tally.lost.values()),
                "disagree": wrong[tally.level],
            }
            for tally in account.tallies
        ],
        "not_given": [
            {"level": tally.level, "name": name, "reason": why, "times": times}
            for tally in account.tallies
            for (name, why), times in sorted(tally.lost.items())
        ],
        "disagreements": [
            {
                "socket": one.socket,
                "level": one.level,
                "name": one.name,
                "number": one.number,
                "memory": one.memory,
                "getsockopt": one.kernel,
            }
            for one in account.disagreements
        ],
        "unknown": [
            {"level": level, "number": number, "sockets": list(sockets)}
            for (level, number), sockets in account.unknown.items()
        ],
        "not_compared": list(account.silent),
    }
