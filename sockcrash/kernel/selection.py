# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets a snapshot holds: the index that stands for the tables, tasks and slabs that are not in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sockcrash.model import Owner

__all__ = ("Entry", "Index", "entry_from_json", "entry_to_json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One socket of a snapshot: how it was found, the verdict of the proof, and who held it.

    ``selected`` is False for a socket that is there only because a selected one's record needs it. ``netns_paths`` is
    where its network namespace was mounted, ``owner_netns`` the inode of that of each owner's process.
    """

    address: int
    kind: str
    how: str
    proved: bool
    note: str
    torn: bool
    owners: tuple[Owner, ...]
    selected: bool = True
    netns_paths: tuple[str, ...] = ()
    owner_netns: tuple[int | None, ...] = ()


Index = dict[int, Entry]


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """An entry as plain data."""
    owners = [{name: getattr(owner, name) for name in Owner.__dataclass_fields__} for owner in entry.owners]
    return {
        "address": entry.address,
        "kind": entry.kind,
        "how": entry.how,
        "proved": entry.proved,
        "note": entry.note,
        "torn": entry.torn,
        "selected": entry.selected,
        "netns_paths": list(entry.netns_paths),
        "owner_netns": list(entry.owner_netns),
        "owners": [{name: value for name, value in owner.items() if value is not None} for owner in owners],
    }


def entry_from_json(data: dict[str, Any]) -> Entry:
    """The reverse of ``entry_to_json``."""
    tuples = {name: tuple(data.get(name, ())) for name in ("netns_paths", "owner_netns")}
    return Entry(**{**data, **tuples, "owners": tuple(Owner(**owner) for owner in data["owners"])})
