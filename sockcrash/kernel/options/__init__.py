# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every socket option as a row of data, and how the rows of one kind of socket are bound on a kernel.

A module for each level; what they share: row.py (what a row is), codecs.py (bytes and words), origins.py (who wrote
it), settings.py (sysctls), context.py (what functions of rows may look at).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sockcrash.kernel import uapi
from sockcrash.kernel.layout import Bound, Field, Group, bind
from sockcrash.kernel.options import datagram, ip, ipv6, programs, raw, sol_socket, sol_socket_facts, tcp
from sockcrash.kernel.options.row import EVERY_KIND, LEVELS, Option
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.view import Kernel

__all__ = ("LEVELS", "ROWS", "BoundOption", "answers", "bound_options", "option_group")

_MODULES = (sol_socket, programs, sol_socket_facts, tcp, ip, ipv6, datagram, raw)
ROWS: tuple[Option, ...] = tuple(
    sorted((row for module in _MODULES for row in module.ROWS), key=lambda row: (list(LEVELS).index(row.level), row.number))
)
"""Ordered by level and number; an option has several rows where kinds of socket differ."""

_V6_ONLY = ("IPPROTO_IPV6", "IPPROTO_ICMPV6")
_NOT_GIVEN = Absent(Reason.NOT_IN_KERNEL, "getsockopt of this kernel does not return it")


@dataclass(frozen=True, slots=True)
class BoundOption:
    """A row on one kernel: ``inputs(values of the kind's group)`` are its fields and marks.

    ``member`` names the members of its value as they were bound. ``lost`` is why the kernel has none of it. ``raw``
    is why getsockopt's bytes are not shown.
    """

    row: Option
    inputs: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    member: str | None
    lost: Absent | None
    raw: Absent | None


def answers(row: Option, kind: str, family: int) -> bool:
    """Whether sockets of that kind and family answer a row: ipv6_getsockopt() hands level IPPROTO_IP on, but not RAW's."""
    if row.level in _V6_ONLY:
        return family == uapi.AF_INET6
    if row.level == "IPPROTO_IP" and kind == "raw":
        return family == uapi.AF_INET
    return not row.families or family in row.families


def _rows(kind: str) -> Iterator[Option]:
    return (row for row in ROWS if kind in row.kinds)


def _make_group(kind: str) -> tuple[Group, dict[Field, str]]:
    """The fields of all rows of a kind, each once, under names of their own."""
    names: dict[Field, str] = {}
    fields: list[Field] = []
    for row in _rows(kind):
        for field in (*row.fields, *row.marks):
            if field not in names:
                prefix = f"{len(fields)}:"
                converts = tuple(dataclasses.replace(one, name=prefix + one.name) for one in field.converts)
                fields.append(dataclasses.replace(field, name=prefix + field.name, converts=converts))
                names[field] = (converts or (fields[-1],))[0].name
    return Group(f"options of {kind}", tuple(fields)), names


_GROUPS = {kind: _make_group(kind) for kind in EVERY_KIND}


def option_group(kind: str) -> Group:
    """All fields that the options of a kind of socket are made of: one section of its struct."""
    return _GROUPS[kind][0]


def bound_options(kernel: Kernel, kind: str, index: dict[str, int]) -> tuple[BoundOption, ...]:
    """The rows of a kind on this kernel; ``index`` is where the reader puts the names of ``option_group(kind)``."""
    group, names = _GROUPS[kind]
    bounds = dict(zip((field.name for field in group.fields), kernel.bounds(group), strict=True))
    by_field = {field: bounds[_plain(name, bounds)] for field, name in names.items()}
    return tuple(_bind(kernel, row, index, names, by_field) for row in _rows(kind))


def _plain(name: str, bounds: dict[str, Bound]) -> str:
    """The name of the field behind the name of its converted value."""
    if name in bounds:
        return name
    number = name.split(":", 1)[0] + ":"
    return next(other for other in bounds if other.startswith(number))


def _bind(
    kernel: Kernel, row: Option, index: dict[str, int], names: dict[Field, str], bounds: dict[Field, Bound]
) -> BoundOption:
    found = [bounds[field] for field in row.fields]
    lost = next((bound.absent for bound in found if bound.absent), None)
    if row.lenient and found and any(bound.spot for bound in found):
        lost = None
    given = all(bind(kernel.prog, field).spot for field in row.given)
    raw = row.raw if row.raw is not None or given else _NOT_GIVEN
    if not given and not row.fields:
        lost = _NOT_GIVEN
    places = [index[names[field]] for field in (*row.fields, *row.marks)]
    return BoundOption(row, _picker(places), _members(found), lost, raw)


def _picker(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if not places:
        return lambda _values: ()
    if len(places) == 1:
        only = places[0]
        return lambda values: (values[only],)
    return itemgetter(*places)


def _members(bounds: list[Bound]) -> str | None:
    """``tcp_sock.nonagle``, ``sock.__sk_common.skc_flags bit SOCK_DBG``; None if this kernel has none of them."""
    names = []
    for bound in bounds:
        if bound.place is not None:
            bit = "" if bound.place.bit is None else f" bit {bound.place.bit}"
            names.append(f"{bound.field.ctype.removeprefix('struct ')}.{bound.place.path}{bit}")
    return ", ".join(dict.fromkeys(names)) or None
