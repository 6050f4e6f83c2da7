# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a user chose by name, checked: fields (members of any struct on the way, computed values), options, levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode.tcp import COMPUTED_NAMES
from sockcrash.errors import UsageError, nearest
from sockcrash.kernel.members import known_member, member
from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.kernel.sockets import KINDS, STRUCTS_ON_THE_WAY
from sockcrash.model import Absent, Reason, SocketRecord

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("checked_fields", "checked_level", "checked_name", "computed_names", "field_value")


def checked_fields(kernel: Kernel, wanted: str) -> tuple[str, ...]:
    """The names of ``-f a,b,c``; one that no kind of socket has is a usage error with the nearest name."""
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",")))
    values = computed_names(kernel)
    for name in names:
        if name in values or any(known_member(kernel, kind, name) for kind in STRUCTS_ON_THE_WAY):
            continue
        hint = nearest(name, sorted(values)) if name else ""
        raise UsageError(f"-f: no struct of a socket in this kernel has a member {name!r}.{hint}")
    return names


def computed_names(kernel: Kernel) -> set[str]:
    """Every name that a section of some record has."""
    groups = {group for kind in KINDS.values() for group in kind.groups}
    names = {name for group in groups for index in kernel.reader(group).indexes for name in index}
    return names | set(COMPUTED_NAMES) | {"drops"}


def field_value(kernel: Kernel, record: SocketRecord, name: str) -> Any:
    """One field of a socket: a member of its structs, else a value of its record."""
    if known_member(kernel, record.kind, name):
        return member(kernel, record.kind, record.address, name)
    for section in reversed(record.sections().values()):
        if name in section:
            return section[name]
    return Absent(Reason.NOT_APPLICABLE, f"a {record.kind} socket has no {name}")


def checked_name(name: str) -> str:
    """The name of an option; a UsageError proposes the nearest."""
    known = sorted({row.name for row in ROWS})
    wanted = name.strip().upper()
    if wanted not in known:
        raise UsageError(f"no socket option is called {name!r}.{nearest(wanted, known)}")
    return wanted


def checked_level(level: str) -> str:
    """The name of a level of options; a UsageError names them all."""
    wanted = level.strip().upper()
    short = {name.split("_", 1)[1]: name for name in reversed(LEVELS)}
    bare = wanted.removeprefix("SOL_")  # SOL_TCP is another name of IPPROTO_TCP
    if wanted not in LEVELS and bare not in short:
        raise UsageError(f"{level!r} is no level of socket options", hint=f"there are {', '.join(LEVELS)}")
    return wanted if wanted in LEVELS else short[bare]
