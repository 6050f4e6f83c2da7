# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of one socket: value, bytes, words, default, and who wrote it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import IDENTITY
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
    from sockcrash.model import Section

__all__ = ("Plan", "plan_of", "socket_options")

_MOST_REMEMBERED = 1024


class Plan:
    """The options of all sockets of one kind, family and namespace; values that were made once are used again."""

    def __init__(self, context: Context, rows: Iterable[BoundOption]) -> None:
        self.context = context
        self._rows: list[tuple[BoundOption, dict[tuple[Any, ...], OptionValue]]] = [
            (bound, {}) for bound in rows if answers(bound.row, context.kind, context.family, context.ulp)
        ]

    def options(self, address: int, values: tuple[Any, ...], *, facts: bool) -> list[OptionValue]:
        """Every option in order of level and number; without ``facts`` those that nobody sets are left out."""
        found: list[OptionValue] = []
        here: Context | None = None
        for bound, memo in self._rows:
            if not facts and bound.row.origin is kernel_writes:
                continue
            inputs = bound.inputs(values)
            if bound.row.fresh:
                if here is None:
                    here = dataclasses.replace(self.context, address=address, clock=self.context.kernel.clock())
                found.append(_make(here, bound, inputs))
                continue
            value = memo.get(inputs)
            if value is None:
                if len(memo) >= _MOST_REMEMBERED:
                    memo.clear()
                value = memo[inputs] = _make(self.context, bound, inputs)
            found.append(value)
        return found


def plan_of(kernel: Kernel, kind: str, identity: Section, values: tuple[Any, ...]) -> Plan:
    """The plan of a socket; made anew when the sysctls of its namespace have been read again."""
    net, family = identity["skc_net"], identity["skc_family"]
    accepted, ulp = _traits(kernel, kind, family, values)
    settings = read_settings(kernel, net)
    plans: dict[Any, tuple[Mapping[str, Any], Plan]] = kernel.cache.setdefault("option_plans", {})
    key = (kind, family, net, accepted, ulp)
    if key not in plans or plans[key][0] is not settings:
        context = Context(kernel, kernel.clock(), kind, family, net, settings, accepted, ulp)
        plans[key] = (settings, Plan(context, bound_options(kernel, kind)))
    return plans[key][1]


def _traits(kernel: Kernel, kind: str, family: int, values: tuple[Any, ...]) -> tuple[bool, str]:
    """Whether a listener made the socket, and its upper layer protocol."""
    known = deciding(kind, values, index_of(kernel, kind))
    if kind == "tcp":
        device, device6, ulp = known
        syn_device = device if family == uapi.AF_INET else device6
        return isinstance(syn_device, int) and syn_device != 0, ulp if isinstance(ulp, str) else ""
    if kind == "mptcp" and isinstance(known[0], int) and known[0]:
        identity, section = kernel.reader(IDENTITY, option_group("tcp")).sections(known[0])
        return _traits(kernel, "tcp", identity["skc_family"], tuple(section.values()))[0], ""
    return False, ""


def socket_options(
    kernel: Kernel, kind: str, address: int, identity: Section, section: Section, *, facts: bool
) -> list[OptionValue]:
    """The options of a full socket of which ``option_group(kind)`` is read. Raises drgn.FaultError."""
    values = tuple(section.values())
    found = plan_of(kernel, kind, identity, values).options(address, values, facts=facts)
    return _with_first_subflow(kernel, found, values, facts=facts) if kind == "mptcp" else found


def _with_first_subflow(
    kernel: Kernel, own: list[OptionValue], values: tuple[Any, ...], *, facts: bool
) -> list[OptionValue]:
    """What an MPTCP socket answers for its first subflow: some options, or all once it fell back to TCP."""
    first, flags = deciding("mptcp", values, index_of(kernel, "mptcp"))
    if not isinstance(first, int) or not first:
        return own
    identity, section = kernel.reader(IDENTITY, option_group("tcp")).sections(first)
    theirs = socket_options(kernel, "tcp", first, identity, section, facts=facts)
    if fell_back(kernel, flags):
        own = [option for option in own if option.level in ("SOL_SOCKET", "SOL_MPTCP")]
        taken = [option for option in theirs if option.level != "SOL_SOCKET"]
    else:
        given = first_subflow_options(kernel)
        taken = [option for option in theirs if option.level == "IPPROTO_TCP" and option.name in given]
    through = (dataclasses.replace(option, member=f"mptcp_sock.first: {option.member}") for option in taken)
    return sorted((*own, *through), key=lambda option: (LEVEL_ORDER[option.level], option.number))


def _make(context: Context, bound: BoundOption, inputs: tuple[Any, ...]) -> OptionValue:
    row = bound.row
    value = _value(context, bound, inputs) if bound.lost is None else bound.lost
    default, source = _default(context, bound, inputs)
    if isinstance(value, Absent):
        return OptionValue(row.level, row.name, row.number, value, "", None, value, bound.member, default, source)
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
