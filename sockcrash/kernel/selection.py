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
    owners: tuple[Owner, ...] | Absent
    selected: bool = True
    netns_paths: tuple[str, ...] = ()
    owner_netns: tuple[int | None, ...] = ()
    netns_processes: int | Absent | None = None
    other_end: tuple[OtherEnd, ...] | Absent | None = None

    @property
    def known_owners(self) -> tuple[Owner, ...]:
        """The owners; none where they could not be told."""
        return self.owners if isinstance(self.owners, tuple) else ()


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
        "netns_processes": _or_why(entry.netns_processes),
        "other_end": _ends_to_json(entry.other_end),
        "owners": _owners_to_json(entry.owners),
    }


def _or_why(value: Any) -> Any:
    return _absent_to_json(value) if isinstance(value, Absent) else value


def _owners_to_json(owners: tuple[Owner, ...] | Absent) -> Any:
    """What is known of each."""
    if isinstance(owners, Absent):
        return _absent_to_json(owners)
    plain = [{name: getattr(owner, name) for name in Owner.__dataclass_fields__} for owner in owners]
    return [{name: value for name, value in owner.items() if value is not None} for owner in plain]


def _owners_from_json(data: Any) -> tuple[Owner, ...] | Absent:
    return _absent_from_json(data) if isinstance(data, dict) else tuple(Owner(**owner) for owner in data)


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
            "netns": _or_why(one.netns),
            "owners": _owners_to_json(one.owners),
        }
        for one in ends
    ]


def _told(data: Any) -> Any:
    return _absent_from_json(data) if isinstance(data, dict) else data


def _ends_from_json(data: Any) -> tuple[OtherEnd, ...] | Absent | None:
    if data is None:
        return None
    if isinstance(data, dict):
        return _absent_from_json(data)
    return tuple(
        OtherEnd(
            one["address"],
            one["kind"],
            _told(one["netns"]),
            _owners_from_json(one["owners"]),
        )
        for one in data
    )


def entry_from_json(data: dict[str, Any]) -> Entry:
    """The reverse of ``entry_to_json``."""
    tuples = {name: tuple(data.get(name, ())) for name in ("netns_paths", "owner_netns")}
    ends = _ends_from_json(data.get("other_end"))
    owners, processes = _owners_from_json(data["owners"]), _told(data.get("netns_processes"))
    return Entry(**{**data, **tuples, "owners": owners, "netns_processes": processes, "other_end": ends})
