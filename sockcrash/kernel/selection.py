# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets a snapshot holds: the index that stands for the tables, tasks and slabs that are not in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sockcrash.model import Absent, OtherEnd, Owner, Reason

__all__ = ("Entry", "Index", "entry_from_json", "entry_to_json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One socket of a snapshot: how it was found, the verdict of the proof, and who held it.

    ``selected`` is False for a socket that is there only because a selected one's record needs it. ``netns_paths`` is
    where its network namespace was mounted, ``netns_processes`` how many were in it, ``owner_netns`` the inode of that
    of each owner's process. ``other_end``: the sockets there, whether they are in the snapshot or not.
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
    netns_processes: int | None = None
    other_end: tuple[OtherEnd, ...] | Absent | None = None


Index = dict[int, Entry]


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """An entry as plain data."""
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
        "netns_processes": entry.netns_processes,
        "other_end": _ends_to_json(entry.other_end),
        "owners": _owners_to_json(entry.owners),
    }


def _owners_to_json(owners: tuple[Owner, ...]) -> list[dict[str, Any]]:
    """What is known of each."""
    plain = [{name: getattr(owner, name) for name in Owner.__dataclass_fields__} for owner in owners]
    return [{name: value for name, value in owner.items() if value is not None} for owner in plain]


def _owners_from_json(data: list[dict[str, Any]]) -> tuple[Owner, ...]:
    return tuple(Owner(**owner) for owner in data)


def _absent_to_json(why: Absent) -> dict[str, str]:
    return {"absent": why.reason.value, "detail": why.detail}


def _absent_from_json(data: dict[str, str]) -> Absent:
    return Absent(Reason(data["absent"]), data["detail"])


def _ends_to_json(ends: tuple[OtherEnd, ...] | Absent | None) -> Any:
    if ends is None:
        return None
    if isinstance(ends, Absent):
        return _absent_to_json(ends)
    return [
        {
            "address": one.address,
            "kind": one.kind,
            "netns": _absent_to_json(one.netns) if isinstance(one.netns, Absent) else one.netns,
            "owners": _absent_to_json(one.owners)
            if isinstance(one.owners, Absent)
            else _owners_to_json(one.owners),
        }
        for one in ends
    ]


def _ends_from_json(data: Any) -> tuple[OtherEnd, ...] | Absent | None:
    if data is None:
        return None
    if isinstance(data, dict):
        return _absent_from_json(data)
    return tuple(
        OtherEnd(
            one["address"],
            one["kind"],
            _absent_from_json(one["netns"]) if isinstance(one["netns"], dict) else one["netns"],
            _absent_from_json(one["owners"])
            if isinstance(one["owners"], dict)
            else _owners_from_json(one["owners"]),
        )
        for one in data
    )


def entry_from_json(data: dict[str, Any]) -> Entry:
    """The reverse of ``entry_to_json``."""
    tuples = {name: tuple(data.get(name, ())) for name in ("netns_paths", "owner_netns")}
    ends = _ends_from_json(data.get("other_end"))
    return Entry(**{**data, **tuples, "owners": _owners_from_json(data["owners"]), "other_end": ends})
