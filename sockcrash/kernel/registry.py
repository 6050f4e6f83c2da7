# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every group of rows that there is, and how each was bound on one kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockcrash.kernel import (
    accounts,
    control_sockets,
    fields,
    fields_datagram,
    fields_mptcp,
    fields_netlink,
    fields_packet,
    fields_queue,
    fields_tcp,
    fields_unix,
    fields_vsock,
    files,
    fixed_files,
    in_flight,
    mibs,
    mptcp,
    namespaces,
    netns,
    percpu,
    rhashtable,
    sockmap,
    sunrpc,
    tables_other,
    tables_tcp,
    users,
    waiting,
)
from sockcrash.kernel.layout import Group

if TYPE_CHECKING:
    from sockcrash.kernel.layout import Bound
    from sockcrash.kernel.view import Kernel

__all__ = ("GROUPS", "LayoutRow", "layout_rows")

_ROOMS = (
    *(
        fields,
        fields_tcp,
        fields_mptcp,
        fields_datagram,
        fields_unix,
        fields_netlink,
        fields_packet,
        fields_queue,
        fields_vsock,
    ),
    *(tables_tcp, tables_other, namespaces, rhashtable, mptcp, files),
    *(
        waiting,
        in_flight,
        fixed_files,
        sockmap,
        users,
        sunrpc,
        control_sockets,
        percpu,
        accounts,
        mibs,
        netns,
    ),
)
GROUPS: dict[str, Group] = {
    value.name: value for module in _ROOMS for value in vars(module).values() if isinstance(value, Group)
}


@dataclass(frozen=True, slots=True)
class LayoutRow:
    """One row as bound: the path that won, its place, or why none did."""

    group: str
    name: str
    ctype: str
    path: str | None
    where: str
    offset: int | None
    absent: str | None


def layout_rows(kernel: Kernel) -> Iterator[LayoutRow]:
    """All rows, group by group."""
    for group in GROUPS.values():
        for bound in kernel.bounds(group):
            yield _row(group, bound)


def _row(group: Group, bound: Bound) -> LayoutRow:
    field, spot = bound.field, bound.spot
    if spot is None or bound.place is None:
        return LayoutRow(group.name, field.name, field.ctype, None, "", None, str(bound.absent))
    bits = f" bits {spot.shift}..{spot.shift + spot.bits - 1}" if spot.bits else ""
    hops = "".join(f"+{hop.offset} -> " for hop in bound.hops)
    where = f"{hops}+{spot.offset}{bits} {spot.ctype}"
    return LayoutRow(group.name, field.name, field.ctype, bound.place.path, where, spot.offset, None)
