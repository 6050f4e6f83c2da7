# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which words a field can hold, where there are only so many: any other in a filter is a slip of the pen."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sockcrash.filter.values import NETIDS, schema
from sockcrash.kernel import uapi
from sockcrash.kernel.options import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ("words_of",)


@lru_cache(maxsize=16)
def words_of(name: str) -> frozenset[str]:
    """Every word that the field or option may be; empty where any text may be in it."""
    find = _WORDS.get(name)
    return frozenset(find()) if find else _of_option(name.upper())


def _of_option(name: str) -> frozenset[str]:
    known = [() if row.text else row.codec.words for row in ROWS if row.name == name]
    return frozenset().union(*known) if all(known) else frozenset()


def _kinds() -> list[str]:
    return list(schema()["kind"]["enum"])


def _timers() -> list[str]:
    return list(schema()["timer"]["properties"]["name"]["enum"])


def _owners() -> list[str]:
    kinds: list[dict[str, Any]] = [one["properties"]["kind"] for one in schema()["owner"]["oneOf"]]
    return [word for kind in kinds for word in kind.get("enum", [kind.get("const")])]


_WORDS: dict[str, Callable[[], Iterable[str]]] = {
    "kind": _kinds,
    "netid": lambda: (*_kinds(), *NETIDS.values()),
    "owner": _owners,
    "timers": _timers,
    "family": uapi.FAMILIES.values,
    "type": uapi.TYPES.values,
    "ca_state": uapi.CA_STATES.values,
    "protocol": lambda: (*uapi.PROTOCOLS.values(), *uapi.NETLINK_PROTOCOLS.values()),
}
