# SPDX-License-Identifier: LGPL-2.1-or-later
"""``-f``: fields chosen by name, members of any struct on the way as well as computed values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sockcrash.decode.chosen import field_value
from sockcrash.decode.want import AROUND, PARTS, Want
from sockcrash.model import Absent, Reason, SocketRecord

if TYPE_CHECKING:
    from sockcrash.cli.session import Session
    from sockcrash.locate.address import Handle

__all__ = ("chosen",)

_WANT = Want(None, PARTS - AROUND)


def chosen(
    session: Session, handles: Iterable[Handle], names: tuple[str, ...]
) -> Iterator[tuple[SocketRecord, dict[str, Any]]]:
    """Each socket with the values of ``names``: a member of its structs, else a value of its record."""
    for handle in handles:
        for record in session.records([handle], many=False, want=_WANT):
            values = {name: field_value(session.kernel, record, name) for name in names}
            if any(
                isinstance(value, Absent) and value.reason is Reason.UNREADABLE for value in values.values()
            ):
                session.unreadable = True
            yield record, values
