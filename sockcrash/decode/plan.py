# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which rows are read for a record of some kind, of which no more than a part is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sockcrash.decode.congestion import INPUTS as CC_INPUTS
from sockcrash.decode.endpoint import LOCAL, PEER
from sockcrash.decode.picks import PICKS, Pick, picker, rows_of
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

__all__ = ("Glance", "Plan", "plan_for")

_OWNERS_INPUTS = ("ulp",)
# What every record takes of the first two sections, in the order in which decode() takes it.
IDENTITY_NAMES = (
    "skc_family",
    "skc_state",
    "skc_cookie",
    "skc_net",
    "netns",
    "skc_bound_dev_if",
    "skc_ipv6only",
)
_TCP = 3
FULL_NAMES = ("sk_type", "sk_protocol", "sk_socket", "sk_uid", "sk_mark", "dead", "keepopen")
Picker = Callable[[tuple[Any, ...]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Glance:
    """How a look is made: attributes by name ``at_once``, or one alone, ``later``."""

    at_once: Pick
    later: Callable[[str], Pick]


@dataclass(frozen=True, slots=True)
class Plan:
    """The reader of a kind's sections, those of options last if they are wanted, and what is computed of TCP.

    ``identity``, ``local``, ``peer`` and ``full`` pick what every record takes of the first two sections. ``glance`` is
    there when so little is wanted that a look will do.
    """

    reader: Reader
    computed: Computed
    identity: Picker
    local: Picker
    peer: Picker
    full: Picker
    glance: Glance | None


def plan_for(kernel: Kernel, kind: Kind, want: Want, *, options: bool) -> Plan:
    """The plan for a kind of socket; made once."""
    plans: dict[tuple[str, Want, bool], Plan] = kernel.cache.setdefault("plans", {})
    key = (kind.name, want, options)
    if key not in plans:
        groups = kind.groups if want.members is None or kind.name != "tcp" else _tcp(want, want.members)
        if options and kind.full:
            groups = (*groups, option_group(kind.name))
        computed = tuple(one for one in COMPUTED if want.members is None or one[0] in want.members)
        reader = kernel.reader(*groups)
        full = itemgetter(*(reader.indexes[1][name] for name in FULL_NAMES)) if kind.full else _nothing
        identity, local, peer = (
            itemgetter(*(reader.indexes[0][name] for name in names))
            for names in (IDENTITY_NAMES, LOCAL, PEER)
        )
        light = kind.name == "tcp" and want.members is not None and not options
        glance = _glance(kernel, want, groups) if light else None
        plans[key] = Plan(reader, computed, identity, local, peer, full, glance)
    return plans[key]


def _glance(kernel: Kernel, want: Want, groups: tuple[Group, ...]) -> Glance:
    def of(attributes: Sequence[str]) -> Pick:
        rows = rows_of(attributes)
        narrow = (group.narrowed(rows) for group in groups[: _TCP + 1])
        return picker(kernel, kernel.reader(*narrow), attributes)

    return Glance(of(sorted(want.at_once & PICKS.keys())), cache(lambda name: of((name,))))


def _nothing(_values: tuple[Any, ...]) -> tuple[Any, ...]:
    return ()


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
    return IDENTITY, full, SOCK.narrowed(names), TCP.narrowed(names), timers
