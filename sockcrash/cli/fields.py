# SPDX-License-Identifier: LGPL-2.1-or-later
"""``-f``: fields chosen by name, members of any struct on the way as well as computed values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sockcrash.cli.hints import nearest
from sockcrash.errors import UsageError
from sockcrash.kernel.members import known_member, member
from sockcrash.kernel.sockets import STRUCTS_ON_THE_WAY
from sockcrash.model import Absent, Reason, SocketRecord

if TYPE_CHECKING:
    from sockcrash.cli.session import Session
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle

__all__ = ("chosen", "parse_fields")


def parse_fields(kernel: Kernel, wanted: str) -> tuple[str, ...]:
    """The names of ``-f a,b,c``; one that no kind of socket has is a usage error with the nearest name."""
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",")))
    values = _computed_names(kernel)
    for name in names:
        if name in values or any(known_member(kernel, kind, name) for kind in STRUCTS_ON_THE_WAY):
            continue
        hint = nearest(name, sorted(values)) if name else ""
        raise UsageError(f"-f: no struct of a socket in this kernel has a member {name!r}.{hint}")
    return names


def _computed_names(kernel: Kernel) -> set[str]:
    """Every name that a section of some record has."""
    from sockcrash.decode.tcp import COMPUTED_NAMES
    from sockcrash.kernel.sockets import KINDS

    groups = {group for kind in KINDS.values() for group in kind.groups}
    names = {name for group in groups for index in kernel.reader(group).indexes for name in index}
    return names | set(COMPUTED_NAMES) | {"drops"}


def chosen(
    session: Session, handles: Iterable[Handle], names: tuple[str, ...]
) -> Iterator[tuple[SocketRecord, dict[str, Any]]]:
    """Each socket with the values of ``names``: a member of its structs, else a value of its record."""
    for handle in handles:
        for record in session.records([handle], many=False):
            values = {name: _value(session.kernel, record, name) for name in names}
            if any(
                isinstance(value, Absent) and value.reason is Reason.UNREADABLE for value in values.values()
            ):
                session.unreadable = True
            yield record, values


def _value(kernel: Kernel, record: SocketRecord, name: str) -> Any:
    if known_member(kernel, record.kind, name):
        return member(kernel, record.kind, record.address, name)
    for section in reversed(record.sections().values()):
        if name in section:
            return section[name]
    return Absent(Reason.NOT_APPLICABLE, f"a {record.kind} socket has no {name}")
