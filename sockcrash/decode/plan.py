# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which rows are read for a record of some kind, of which no more than a part is wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sockcrash.decode.congestion import INPUTS as CC_INPUTS
from sockcrash.decode.sock import INPUTS as DROPS_INPUTS
from sockcrash.decode.tcp import COMPUTED
from sockcrash.decode.timers import INPUTS as TIMERS_INPUTS
from sockcrash.kernel.fields import FULL, IDENTITY, SOCK
from sockcrash.kernel.fields_tcp import TCP, TCP_TIMERS
from sockcrash.kernel.layout import Group
from sockcrash.kernel.options import option_group

if TYPE_CHECKING:
    from sockcrash.decode.computed import Computed
    from sockcrash.decode.want import Want
    from sockcrash.kernel.sockets import Kind
    from sockcrash.kernel.view import Kernel, Reader

__all__ = ("Plan", "plan_for")

_OWNERS_INPUTS = ("ulp",)


@dataclass(frozen=True, slots=True)
class Plan:
    """The reader of a kind's sections, those of options last if they are wanted, and what is computed of TCP."""

    reader: Reader
    computed: Computed


def plan_for(kernel: Kernel, kind: Kind, want: Want, *, options: bool) -> Plan:
    """The plan for a kind of socket; made once."""
    plans: dict[tuple[str, Want, bool], Plan] = kernel.cache.setdefault("plans", {})
    key = (kind.name, want, options)
    if key not in plans:
        groups = kind.groups if want.members is None or kind.name != "tcp" else _tcp(want, want.members)
        if options and kind.full:
            groups = (*groups, option_group(kind.name))
        computed = tuple(one for one in COMPUTED if want.members is None or one[0] in want.members)
        plans[key] = Plan(kernel.reader(*groups), computed)
    return plans[key]


def _tcp(want: Want, members: frozenset[str]) -> tuple[Group, ...]:
    """The groups of a TCP socket without the rows that nobody asked for."""
    names = set(members)
    names.update(member for name, inputs, _ in COMPUTED if name in members for member in inputs)
    if "drops" in members:
        names.update(DROPS_INPUTS)
    for part, inputs in (("cc", CC_INPUTS), ("timers", TIMERS_INPUTS), ("owners", _OWNERS_INPUTS)):
        if part in want.parts:
            names.update(inputs)
    dropped = {"inode", "cgroup", "sk_prot_name"} - want.parts
    timers = TCP_TIMERS if "timers" in want.parts else Group("no timers", ())
    full = replace(FULL, fields=tuple(field for field in FULL.fields if field.name not in dropped))
    return IDENTITY, full, _narrowed(SOCK, names), _narrowed(TCP, names), timers


def _narrowed(group: Group, names: set[str]) -> Group:
    """The rows that give one of ``names``, themselves or converted."""
    fields = (
        f for f in group.fields if f.name in names or any(convert.name in names for convert in f.converts)
    )
    return replace(group, fields=tuple(fields))
