# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which parts of a record are asked for, so that a list of many sockets reads no more than it shows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("ALONE", "AROUND", "EVERYTHING", "NOTHING", "PARTS", "Want")

PARTS = frozenset(
    ("cc", "cgroup", "gives_up", "inode", "namespace", "other_end", "owners", "queues", "timers")
)

# What the files of all tasks, or the tables, are looked through for.
AROUND = frozenset(("namespace", "other_end", "owners"))


@dataclass(frozen=True, slots=True)
class Want:
    """What a record shall hold; who, where and in which state it always does.

    ``members``: names of what the sections of a TCP socket shall have, None for everything. ``parts``: which of PARTS.
    What is not asked for looks as if there were none. Sections of other kinds of socket are always whole. ``segments``:
    queues with their buffers one by one, and the first ``payload`` bytes of each. ``at_once``: attributes of the record
    that will surely be looked at, which is faster to know beforehand.
    """

    members: frozenset[str] | None = frozenset()
    parts: frozenset[str] = frozenset()
    segments: bool = False
    payload: int = 0
    at_once: frozenset[str] = frozenset()

    def __or__(self, other: Want) -> Want:
        everything = self.members is None or other.members is None
        members = None if everything else (self.members or frozenset()) | (other.members or frozenset())
        return Want(
            members,
            self.parts | other.parts,
            self.segments or other.segments,
            max(self.payload, other.payload),
            self.at_once | other.at_once,
        )


NOTHING = Want()
EVERYTHING = Want(None, PARTS)
# All of the socket itself and its holders, but not what is around it.
ALONE = Want(None, PARTS - {"namespace", "other_end"})
