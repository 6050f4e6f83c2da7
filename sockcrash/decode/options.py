# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of one socket: value, bytes, words, default, and who wrote it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sockcrash.kernel.fields import IDENTITY
from sockcrash.kernel import uapi
from sockcrash.kernel.mptcp import fell_back
from sockcrash.kernel.options import (
    LEVEL_ORDER,
    BoundOption,
    answers,
    bound_options,
    deciding,
    first_subflow_options,
    index_of,
    option_group,
)
from sockcrash.kernel.options.context import Context
from sockcrash.kernel.options.origins import kernel as kernel_writes
from sockcrash.kernel.options.row import Default
from sockcrash.kernel.options.settings import read_settings
from sockcrash.model import Absent, OptionValue

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.model import Section

__all__ = ("options_of", "read_options")

_MOST_REMEMBERED = 1024


class Plan:
    """The options of all sockets of one kind, family and namespace; values that were made once are used again."""

    def __init__(self, context: Context, rows: tuple[BoundOption, ...]) -> None:
        self.context = context
        self._rows = [(bound, {}) for bound in rows if answers(bound.row, context.kind, context.family, context.ulp)]

    def options(self, address: int, values: tuple[Any, ...], *, facts: bool) -> list[OptionValue]:
        """Every option in order of level and number; without ``facts`` those that are never set are left out."""
        found: list[OptionValue] = []
        here: Context | None = None
        for bound, memo in self._rows:
            if bound.row.fresh:
                if here is None:
                    here = dataclasses.replace(self.context, address=address, clock=self.context.kernel.clock())
                if facts or bound.row.origin is not kernel_writes:
                    found.append(_make(here, bound, bound.inputs(values)))
                continue
            inputs = bound.inputs(values)
            value = memo.get(inputs)
            if value is None:
                if len(memo) >= _MOST_REMEMBERED:
                    memo.clear()
                value = memo[inputs] = _make(self.context, bound, inputs)
            found.append(value)
        return found


def read_options(kernel: Kernel, handle: Handle, *, facts: bool) -> list[OptionValue]:
    """The options of one socket, read for themselves. Raises drgn.FaultError."""
    if not handle.kind.full:
        return []
    identity, section = kernel.reader(IDENTITY, option_group(handle.kind.name)).sections(handle.address)
    return options_of(kernel, handle.kind.name, handle.address, identity, section, facts=facts)


def options_of(
    kernel: Kernel, kind: str, address: int, identity: Section, section: Section, *, facts: bool
) -> list[OptionValue]:
    """The options of a socket of which the group of its kind's options is read already."""
    values = tuple(section.values())
    family = identity["skc_family"]
    accepted, ulp, first = False, "", 0
    if kind == "tcp":
        device, device6, name = deciding(kind, values, index_of(kernel, kind))
        accepted = bool(device if family == uapi.AF_INET else device6)
        ulp = name if isinstance(name, str) else ""
    elif kind == "mptcp":
        first, flags = deciding(kind, values, index_of(kernel, kind))
    plan = _plan(kernel, kind, family, identity["skc_net"], accepted, ulp)
    found = plan.options(address, values, facts=facts)
    return _with_first_subflow(kernel, found, first, flags, facts=facts) if kind == "mptcp" else found


def _with_first_subflow(
    kernel: Kernel, own: list[OptionValue], first: int | Absent, flags: int | Absent, *, facts: bool
) -> list[OptionValue]:
    """What an MPTCP socket answers for its first subflow: some options, or all once it fell back to TCP."""
    if not isinstance(first, int) or not first:
        return own
    identity, section = kernel.reader(IDENTITY, option_group("tcp")).sections(first)
    theirs = options_of(kernel, "tcp", first, identity, section, facts=facts)
    if fell_back(kernel, flags):
        mine = [option for option in own if option.level in ("SOL_SOCKET", "SOL_MPTCP")]
        taken = [option for option in theirs if option.level != "SOL_SOCKET"]
    else:
        mine = own
        given = first_subflow_options(kernel)
        taken = [option for option in theirs if option.level == "IPPROTO_TCP" and option.name in given]
    through = [dataclasses.replace(option, member=f"mptcp_sock.first: {option.member}") for option in taken]
    return sorted((*mine, *through), key=lambda option: (LEVEL_ORDER[option.level], option.number))


def _plan(kernel: Kernel, kind: str, family: int, net: int, accepted: bool, ulp: str) -> Plan:
    """The plan of a socket; made anew when the sysctls of its namespace have been read again."""
    settings = read_settings(kernel, net)
    plans: dict[Any, tuple[Mapping[str, Any], Plan]] = kernel.cache.setdefault("option_plans", {})
    key = (kind, family, net, accepted, ulp)
    if key not in plans or plans[key][0] is not settings:
        context = Context(kernel, kernel.clock(), kind, family, net, settings, accepted, ulp)
        plans[key] = (settings, Plan(context, bound_options(kernel, kind)))
    return plans[key][1]


def _make(context: Context, bound: BoundOption, inputs: tuple[Any, ...]) -> OptionValue:
    row = bound.row
    value = _value(context, bound, inputs) if bound.lost is None else bound.lost
    default, source = _default(context, bound, inputs)
    if isinstance(value, Absent):
        text, raw, origin = "", value, None
    else:
        text = row.text(context, value, *inputs) if row.text else row.codec.text(value)
        raw = _bytes(context, bound, value, inputs) if bound.raw is None else bound.raw
        origin = row.origin(context, value, default, *inputs)
    return OptionValue(row.level, row.name, row.number, value, text, origin, raw, bound.member, default, source)


def _value(context: Context, bound: BoundOption, inputs: tuple[Any, ...]) -> Any:
    row = bound.row
    fields = inputs[: len(row.fields)]
    if not row.lenient:
        for one in fields:
            if isinstance(one, Absent):
                return one
    return row.value(context, *fields) if row.value else fields[0]


def _default(context: Context, bound: BoundOption, inputs: tuple[Any, ...]) -> tuple[Any, str | None]:
    default = bound.row.default
    if not isinstance(default, Default):
        return default, None
    value = default.by(context, *inputs)
    from_sysctl = default.source is not None and not isinstance(context.setting(default.source), Absent)
    return value, default.source.name if from_sysctl and default.source else None


def _bytes(context: Context, bound: BoundOption, value: Any, inputs: tuple[Any, ...]) -> bytes:
    row = bound.row
    return row.bytes_of(context, value, *inputs) if row.bytes_of else row.codec.pack(value, context.kernel.byte_order)
