# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of one socket: value, bytes, words, default, and who wrote it."""

from __future__ import annotations

import dataclasses
import logging
import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import IDENTITY
from sockcrash.kernel.mptcp import fell_back
from sockcrash.kernel.options import (
    LEVEL_ORDER,
    OBSOLETE_PACKET,
    SMC,
    STREAM,
    BoundOption,
    answers,
    bound_options,
    deciding,
    first_subflow_options,
    option_group,
)
from sockcrash.kernel.options.context import Context
from sockcrash.kernel.options.origins import SET
from sockcrash.kernel.options.origins import kernel as kernel_writes
from sockcrash.kernel.options.row import Default, first_lost
from sockcrash.kernel.options.settings import read_settings
from sockcrash.model import Absent, OptionValue, Reason, quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Section

__all__ = ("Kept", "Plan", "plan_of", "socket_options")

logger = logging.getLogger(__name__)

# What conversions make of numbers that no kernel writes there.
_GARBAGE = (ArithmeticError, LookupError, TypeError, ValueError, struct.error)
_NONSENSE = Absent(Reason.UNREADABLE, "what lies there can't be right")
_MOST_REMEMBERED = 1024
_MOST_ALIKE = 256
_BLOCK = 16


# Level and name of options that are given in any case; of others those that an untouched socket would show otherwise.
# None: all are given.
Kept: TypeAlias = "frozenset[tuple[str, str]] | None"
_MOST_KEPT = 64


class _Block:
    """Neighbouring rows whose values depend on the same few members: made once for each combination of these."""

    def __init__(self, rows: list[BoundOption], kept: Kept) -> None:
        self.rows = rows
        self.kept = kept
        self.inputs = _joined(rows)
        self.fresh, self.lively = rows[0].row.fresh, rows[0].lively
        self._memo: dict[tuple[Any, ...], list[OptionValue]] = {}

    def make(self, context: Context, values: tuple[Any, ...]) -> list[OptionValue]:
        """The options of these rows."""
        made = [_make(context, bound, bound.inputs(values)) for bound in self.rows]
        kept = self.kept
        if kept is None:
            return made
        return [option for option in made if option.differs or (option.level, option.name) in kept]

    def remembered(
        self, context: Context, inputs: tuple[Any, ...], values: tuple[Any, ...]
    ) -> list[OptionValue]:
        """The same, of ``inputs`` that tell all."""
        options = self._memo.get(inputs)
        if options is None:
            if len(self._memo) >= _MOST_REMEMBERED:
                self._memo.clear()
            options = self._memo[inputs] = self.make(context, values)
        return options


# What blocks gave that need not be asked again, and the next one that must be.
_Run: TypeAlias = "tuple[list[OptionValue], _Block | None]"


class _Blocks:
    """All blocks in their order; most sockets have all of the members alike that are not lively."""

    def __init__(self, blocks: list[_Block]) -> None:
        self._blocks = blocks
        self._inputs = _joined([row for block in blocks if not block.lively for row in block.rows])
        self._memo: dict[tuple[Any, ...], list[_Run]] = {}
        self._last: tuple[tuple[Any, ...], list[_Run]] = ((), [])

    def runs(self, context: Context, values: tuple[Any, ...]) -> list[_Run]:
        """The options of a socket, but for blocks whose members it has for itself, or that look beyond them."""
        inputs = self._inputs(values)
        known, runs = self._last
        if inputs == known and runs:
            return runs  # Comparing objects that are the same ones is much faster than hashing them.
        found = self._memo.get(inputs)
        if found is None:
            if len(self._memo) >= _MOST_ALIKE:
                self._memo.clear()
            found = self._memo[inputs] = list(self._made(context, values))
        self._last = inputs, found
        return found

    def _made(self, context: Context, values: tuple[Any, ...]) -> Iterator[_Run]:
        run: list[OptionValue] = []
        for block in self._blocks:
            inputs = block.inputs(values)
            if block.lively or (block.fresh and inputs[0]):
                yield run, block
                run = []
            else:
                run += block.remembered(context, inputs, values)
        yield run, None


class Plan:
    """The options of all sockets of one kind, family and namespace; values that were made once are used again."""

    def __init__(self, context: Context, rows: Iterable[BoundOption]) -> None:
        self.context = context
        self._rows = [row for row in rows if answers(row.row, context.kind, context.family, context.variant)]
        self._blocks: dict[tuple[bool, Kept], _Blocks] = {}

    def options(
        self, address: int, values: tuple[Any, ...], *, facts: bool, kept: Kept = None
    ) -> list[OptionValue]:
        """Options in order of level and number; without ``facts`` those that nobody sets are left out."""
        found: list[OptionValue] = []
        here: Context | None = None
        blocks = self._blocks.get((facts, kept)) or self._make_blocks(facts, kept)
        for run, block in blocks.runs(self.context, values):
            found += run
            if block is None:
                break
            inputs = block.inputs(values)
            if block.fresh and inputs[0]:
                if here is None:
                    here = dataclasses.replace(
                        self.context, address=address, clock=self.context.kernel.clock()
                    )
                found += block.make(here, values)
            else:
                found += block.remembered(self.context, inputs, values)
        return found

    def _make_blocks(self, facts: bool, kept: Kept) -> _Blocks:
        """Rows in their order; those that follow a pointer, or change with every packet, stand alone."""
        groups: list[list[BoundOption]] = [[]]
        for row in self._rows:
            if not facts and row.row.origin is kernel_writes:
                continue
            if row.row.fresh or row.lively:
                groups += [[row], []]
            else:
                if len(groups[-1]) >= _BLOCK:
                    groups.append([])
                groups[-1].append(row)
        if len(self._blocks) >= _MOST_KEPT:
            self._blocks.clear()
        blocks = self._blocks[facts, kept] = _Blocks([_Block(group, kept) for group in groups if group])
        return blocks


def _joined(rows: list[BoundOption]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """What picks the inputs of all rows, each once."""
    if len(rows) == 1:
        return rows[0].inputs
    places = sorted({place for row in rows for place in row.places})
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)


def plan_of(kernel: Kernel, kind: str, identity: Section, values: tuple[Any, ...]) -> Plan:
    """The plan of a socket; made anew when the sysctls of its namespace have been read again."""
    net, family = identity["skc_net"], identity["skc_family"]
    accepted, variant = _traits(kernel, kind, family, values)
    settings = read_settings(kernel, net)
    plans: dict[Any, tuple[Mapping[str, Any], Plan]] = kernel.cache.setdefault("option_plans", {})
    key = (kind, family, net, accepted, variant)
    if key not in plans or plans[key][0] is not settings:
        context = Context(kernel, kernel.clock(), kind, family, net, settings, accepted, variant)
        plans[key] = (settings, Plan(context, bound_options(kernel, kind)))
    return plans[key][1]


def _traits(kernel: Kernel, kind: str, family: int, values: tuple[Any, ...]) -> tuple[bool | None, str]:
    """Whether a listener made the socket, if that can be told, and its variant (see Context)."""
    known = deciding(kernel, kind, values)
    if kind == "tcp":
        device, device6, ulp = known
        syn_device = device if family == uapi.AF_INET else device6
        return _nonzero(syn_device), ulp if isinstance(ulp, str) else ""
    if kind == "packet":
        return False, OBSOLETE_PACKET if known[0] == uapi.SOCK_PACKET else ""
    if kind == "inet":
        type_, protocol = known
        return False, SMC if protocol == uapi.IPPROTO_SMC else STREAM if type_ == uapi.SOCK_STREAM else ""
    if kind == "mptcp":
        return _nonzero(known[0]) and _subflow_accepted(kernel, known[0]), ""
    return False, ""


def _subflow_accepted(kernel: Kernel, subflow: int) -> bool | None:
    try:
        identity, section = kernel.reader(IDENTITY, option_group("tcp")).sections(subflow)
    except drgn.FaultError:
        return None
    return _traits(kernel, "tcp", identity["skc_family"], section.unpacked)[0]


def _nonzero(value: int | Absent) -> bool | None:
    """None where that is lost."""
    if isinstance(value, Absent):
        return None if value.lost else False
    return value != 0


def socket_options(
    kernel: Kernel,
    kind: str,
    address: int,
    identity: Section,
    section: Section,
    *,
    facts: bool,
    kept: Kept = None,
    plan: Plan | None = None,
) -> list[OptionValue]:
    """The options of a full socket of which ``option_group(kind)`` is read, as Plan.options. Raises drgn.FaultError."""
    values = section.unpacked
    plan = plan or plan_of(kernel, kind, identity, values)
    found = plan.options(address, values, facts=facts, kept=kept)
    if kind != "mptcp":
        return found
    return _with_first_subflow(kernel, found, identity["skc_family"], values, facts=facts, kept=kept)


def _with_first_subflow(
    kernel: Kernel,
    own: list[OptionValue],
    family: int,
    values: tuple[Any, ...],
    *,
    facts: bool,
    kept: Kept,
) -> list[OptionValue]:
    """What an MPTCP socket answers for its first subflow: some options, or all once it fell back to TCP."""
    first, flags = deciding(kernel, "mptcp", values)
    if not first and not (isinstance(first, Absent) and first.lost):
        return own
    fallen = fell_back(kernel, flags)
    if isinstance(fallen, Absent) and fallen.lost:
        lost = _lost(kernel, "mptcp", family, fallen, facts=facts)
        own = [option for option in own if option.level == "SOL_SOCKET"]
        own += [option for option in lost if option.level != "SOL_SOCKET"]
        first = fallen
    theirs = _of_subflow(kernel, family, first, facts=facts, kept=kept)
    if fallen:
        own = [option for option in own if option.level == "SOL_SOCKET"]
        taken = [option for option in theirs if option.level != "SOL_SOCKET"]
    else:
        given = first_subflow_options(kernel)
        taken = [option for option in theirs if option.level == "IPPROTO_TCP" and option.name in given]
    through = (dataclasses.replace(option, member=f"mptcp_sock.first: {option.member}") for option in taken)
    return sorted((*own, *through), key=lambda option: (LEVEL_ORDER[option.level], option.number))


def _of_subflow(
    kernel: Kernel, family: int, subflow: int | Absent, *, facts: bool, kept: Kept
) -> list[OptionValue]:
    try:
        if isinstance(subflow, int):
            identity, section = kernel.reader(IDENTITY, option_group("tcp")).sections(subflow)
            return socket_options(kernel, "tcp", subflow, identity, section, facts=facts, kept=kept)
    except drgn.FaultError as error:
        subflow = kernel.unreadable(error)
    return _lost(kernel, "tcp", family, subflow, facts=facts)


def _lost(kernel: Kernel, kind: str, family: int, why: Absent, *, facts: bool) -> list[OptionValue]:
    """Every option of a kind, and why none can be told."""
    return [
        _absent(bound, why)
        for bound in bound_options(kernel, kind)
        if answers(bound.row, kind, family, "") and (facts or bound.row.origin is not kernel_writes)
    ]


def _make(context: Context, bound: BoundOption, inputs: tuple[Any, ...]) -> OptionValue:
    """The option of a row; members that garbage has been written over cost this one alone."""
    try:
        return _made(context, bound, inputs)
    except _GARBAGE as error:
        logger.debug("%s of %s", error, bound.row.name, exc_info=True)
        hole = first_lost(inputs)
        return _absent(bound, _NONSENSE if hole is None else hole)
    except drgn.FaultError as error:
        return _absent(bound, context.kernel.unreadable(error))


def _absent(bound: BoundOption, why: Absent) -> OptionValue:
    row = bound.row
    return OptionValue(row.level, row.name, row.number, why, "", None, why, bound.member, None, None)


def _made(context: Context, bound: BoundOption, inputs: tuple[Any, ...]) -> OptionValue:
    row = bound.row
    absent = Absent in map(type, inputs)
    value = _value(context, bound, inputs, absent=absent) if bound.lost is None else bound.lost
    hole = first_lost(inputs) if absent else None
    default, source = _default(context, bound, inputs, hole)
    fields = {
        "level": row.level,
        "name": row.name,
        "number": row.number,
        "value": value,
        "text": "",
        "origin": None,
        "raw": value,
        "member": bound.member,
        "default": default,
        "default_from": source,
    }
    if isinstance(value, Absent):
        return quick(OptionValue, fields)
    fields["text"] = row.text(context, value, *inputs) if row.text and hole is None else row.codec.text(value)
    fields["raw"] = _bytes(context, bound, value, inputs, hole) if bound.raw is None else bound.raw
    lost = hole is not None or (isinstance(default, Absent) and default.lost)
    origin = None if lost else row.origin(context, value, default, *inputs)
    # What a listener hands on, or the kernel takes from a SYN, was not set by a call.
    fields["origin"] = None if context.accepted is None and origin == SET else origin
    if default is not None and not isinstance(default, Absent):
        fields["default_text"] = row.codec.text(default)
    return quick(OptionValue, fields)


def _value(context: Context, bound: BoundOption, inputs: tuple[Any, ...], *, absent: bool) -> Any:
    row = bound.row
    fields = inputs[: len(row.fields)]
    if absent:
        for one in fields:
            if isinstance(one, Absent) and (one.lost or not row.lenient):
                return one
    return row.value(context, *fields) if row.value else fields[0]


def _default(
    context: Context, bound: BoundOption, inputs: tuple[Any, ...], hole: Absent | None
) -> tuple[Any, str | None]:
    default = bound.row.default
    if not isinstance(default, Default):
        return default, None
    if hole is not None:
        return hole, None
    value = default.by(context, *inputs)
    from_sysctl = default.source is not None and not isinstance(context.setting(default.source), Absent)
    return value, default.source.name if from_sysctl and default.source else None


def _bytes(
    context: Context, bound: BoundOption, value: Any, inputs: tuple[Any, ...], hole: Absent | None
) -> bytes | Absent:
    row = bound.row
    if not row.bytes_of:
        return row.codec.pack(value, context.kernel.byte_order)
    return row.bytes_of(context, value, *inputs) if hole is None else hole
