# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of one socket: value, bytes, words, default, and who wrote it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sockcrash.kernel.fields import IDENTITY
from sockcrash.kernel.options import BoundOption, answers, bound_options, option_group
from sockcrash.kernel.options.context import Context
from sockcrash.kernel.options.origins import kernel as kernel_writes
from sockcrash.kernel.options.row import Default
from sockcrash.kernel.options.settings import read_settings
from sockcrash.model import Absent, OptionValue

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.model import Section

__all__ = ("Plan", "plan_for")

_MOST_REMEMBERED = 1024


class Plan:
    """The options of all sockets of one kind, family and namespace; values that were made once are used again."""

    def __init__(self, context: Context, rows: tuple[BoundOption, ...]) -> None:
        self.context = context
        self._rows = [(bound, {}) for bound in rows if answers(bound.row, context.kind, context.family)]

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


def plan_for(kernel: Kernel, kind: str, family: int, net: int, accepted: bool, section: Section) -> Plan:
    """The plan of a socket; made anew when the sysctls of its namespace have been read again."""
    settings = read_settings(kernel, net)
    plans: dict[Any, tuple[Mapping[str, Any], Plan]] = kernel.cache.setdefault("option_plans", {})
    key = (kind, family, net, accepted)
    if key not in plans or plans[key][0] is not settings:
        rows = _bound(kernel, kind, section)
        plans[key] = (settings, Plan(Context(kernel, kernel.clock(), kind, family, net, settings, accepted), rows))
    return plans[key][1]


def _bound(kernel: Kernel, kind: str, section: Section) -> tuple[BoundOption, ...]:
    memo: dict[str, tuple[BoundOption, ...]] = kernel.cache.setdefault("bound_options", {})
    if kind not in memo:
        memo[kind] = bound_options(kernel, kind, {name: number for number, name in enumerate(section)})
    return memo[kind]


def _make(context: Context, bound: BoundOption, inputs: tuple[Any, ...]) -> OptionValue:
    row = bound.row
    value = _value(context, bound, inputs) if bound.lost is None else bound.lost
    default, source = _default(context, bound, inputs)
    if isinstance(value, Absent):
        text, raw, origin = "", value, None
    else:
        text = row.text(context, value, *inputs) if row.text else row.codec.text(value)
        raw = _bytes(context, bound, value) if bound.raw is None else bound.raw
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


def _bytes(context: Context, bound: BoundOption, value: Any) -> bytes:
    row = bound.row
    return row.bytes_of(context, value) if row.bytes_of else row.codec.pack(value, context.kernel.byte_order)


def read_options(kernel: Kernel, handle: Handle, *, facts: bool) -> list[OptionValue]:
    """The options of one socket, read for themselves."""
    if not handle.kind.full:
        return []
    kind = handle.kind.name
    identity, section = kernel.reader(IDENTITY, option_group(kind)).sections(handle.address)
    plan = plan_for(kernel, kind, identity["skc_family"], identity["skc_net"], False, section)
    return plan.options(handle.address, tuple(section.values()), facts=facts)
