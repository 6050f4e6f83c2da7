# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which listener an accepted socket has an option from: the one at its place with the same value, if there is one."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import drgn

from sockcrash.decode.options import plan_of, socket_options
from sockcrash.kernel import uapi
from sockcrash.kernel.fields import IDENTITY
from sockcrash.kernel.mptcp import owner_of_subflow
from sockcrash.kernel.options import bound_options, deciding, handed_on, option_group
from sockcrash.kernel.tables_other import array_sockets, unix_sockets
from sockcrash.kernel.tables_tcp import listeners
from sockcrash.model import Absent, OptionValue, Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("OptionReader",)

_STREAMS = ("tcp", "mptcp")
_OTHERS = ("unix", "vsock")
_ANY6, _ANY_CONTEXT = bytes(16), 0xFFFFFFFF


class _Place(NamedTuple):
    """Where a socket lies: what a listener and its children have alike, its address, whether that is any."""

    key: tuple[object, ...]
    address: object = None
    anywhere: bool = True


@dataclass(frozen=True, slots=True)
class _Listener:
    """A listening socket: where it listens, what was set that its children have too, and what members hold."""

    address: int
    place: _Place
    options: dict[tuple[str, str], OptionValue]
    carried: dict[tuple[str, str], Any]


class OptionReader:
    """Reads the options that are wanted of sockets, and names the listeners that explain them.

    Without ``every``, those that an untouched socket would show otherwise. ``levels`` and ``names`` narrow it; what
    is asked for by name is always given.
    """

    def __init__(
        self,
        kernel: Kernel,
        complain: Callable[[str], None],
        *,
        every: bool = False,
        levels: frozenset[str] = frozenset(),
        names: frozenset[str] = frozenset(),
    ) -> None:
        self._kernel = kernel
        self._complain = complain
        self._every, self._levels, self._names = every, levels, names
        self._facts = every or bool(names)
        self._tables: dict[str, dict[tuple[object, ...], list[_Listener]]] = {}

    def read(
        self, kind: str, address: int, identity: Section, section: Section
    ) -> tuple[OptionValue, ...] | Absent:
        """The options of a full socket of which ``option_group(kind)`` is read."""
        try:
            found = self._found(kind, address, identity, section)
        except drgn.FaultError as error:
            return self._kernel.unreadable(error)
        return tuple(found)

    def _found(self, kind: str, address: int, identity: Section, section: Section) -> list[OptionValue]:
        values = section.unpacked
        plan = plan_of(self._kernel, kind, identity, values)
        accepted = kind in _STREAMS and plan.context.accepted
        listeners = self._candidates(kind, identity, values) if accepted else []
        kept = None if self._facts or self._levels else frozenset(_known(listeners))
        found = socket_options(
            self._kernel, kind, address, identity, section, facts=self._facts, kept=kept, plan=plan
        )
        if kind in _OTHERS and _perhaps_handed_on(kind, found):
            listeners = self._candidates(kind, identity, values)
        if listeners:
            found = self._explained(kind, values, found, listeners)
        if self._every and not (self._levels or self._names):
            return found
        return [option for option in found if self._wants(option)]

    def listeners_on(self, kind: str, address: int) -> list[int]:
        """Every listener that ``inherited_from`` of a full socket is chosen from. Raises drgn.FaultError."""
        if kind not in (*_STREAMS, *_OTHERS):
            return []
        identity, section = self._kernel.reader(IDENTITY, option_group(kind)).sections(address)
        _, beside = self._beside(kind, identity, section.unpacked)
        return [one.address for one in beside]

    def _beside(
        self, kind: str, identity: Section, values: tuple[Any, ...]
    ) -> tuple[object, list[_Listener]]:
        """The address of a socket's place, and the listeners there whatever theirs is; none of a listener."""
        if identity["skc_state"] == uapi.LISTEN:
            return None, []
        place = _place(self._kernel, kind, identity, values)
        return place.address, self._table_of(kind).get(place.key, [])

    def _wants(self, option: OptionValue) -> bool:
        if self._levels and option.level not in self._levels:
            return False
        return option.name in self._names if self._names else self._every or option.differs

    def _candidates(self, kind: str, identity: Section, values: tuple[Any, ...]) -> list[_Listener]:
        """The listeners that may have made a socket."""
        address, beside = self._beside(kind, identity, values)
        return [one for one in beside if one.place.anywhere or one.place.address == address]

    def _explained(
        self, kind: str, values: tuple[Any, ...], options: list[OptionValue], candidates: list[_Listener]
    ) -> list[OptionValue]:
        """The options with their listeners; what the listener has set alike is set, if the kernel may write it too."""
        known = _known(candidates)
        if not known:
            return options
        carried = _carried(self._kernel, kind, values)
        return [
            self._with_listener(option, carried, candidates)
            if (option.level, option.name) in known
            else option
            for option in options
        ]

    def _with_listener(
        self, option: OptionValue, carried: dict[tuple[str, str], Any], candidates: list[_Listener]
    ) -> OptionValue:
        if option.origin == "default" or isinstance(option.value, Absent):
            return option
        same = [one for one in candidates if self._has(one, option, carried)]
        if len(same) != 1:
            return option
        return dataclasses.replace(option, origin="set", inherited_from=same[0].address)

    @staticmethod
    def _has(listener: _Listener, option: OptionValue, carried: dict[tuple[str, str], Any]) -> bool:
        key = option.level, option.name
        theirs = listener.options.get(key)
        if theirs is None:
            return False
        if key in carried:
            return bool(carried[key] == listener.carried.get(key))
        return bool(theirs.value == option.value)

    def _table_of(self, kind: str) -> dict[tuple[object, ...], list[_Listener]]:
        """The listeners of a kind by their place; the tables of a family are walked once."""
        if kind not in self._tables:
            together = _STREAMS if kind in _STREAMS else (kind,)
            self._tables |= {one: {} for one in together}
            for one, address in self._listening(kind):
                try:
                    self._add_listener(one, address)
                except drgn.FaultError as error:
                    self._complain(f"the listener at {address:#x} is unreadable: {error}")
        return self._tables[kind]

    def _listening(self, kind: str) -> Iterator[tuple[str, int]]:
        """Sockets among which are all listeners of a kind."""
        kernel = self._kernel
        if kernel.index is not None:
            kinds = _STREAMS if kind in _STREAMS else (kind,)
            yield from ((entry.kind, entry.address) for entry in kernel.index.values() if entry.kind in kinds)
        elif kind in _STREAMS:
            yield from self._streams()
        else:
            walks = itertools.chain(
                array_sockets(kernel, self._complain), unix_sockets(kernel, self._complain)
            )
            yield from ((kind, found.address) for found in walks if found.kinds == (kind,))

    def _streams(self) -> Iterator[tuple[str, int]]:
        for address in listeners(self._kernel, self._complain):
            yield "tcp", address
            try:
                msk = owner_of_subflow(self._kernel, address)
            except drgn.FaultError as error:
                self._complain(f"the listener at {address:#x} is unreadable: {error}")
                continue
            if msk:
                yield "mptcp", msk

    def _add_listener(self, kind: str, address: int) -> None:
        kernel = self._kernel
        (identity,) = kernel.reader(IDENTITY).sections(address)
        if identity["skc_state"] != uapi.LISTEN:
            return
        identity, section = kernel.reader(IDENTITY, option_group(kind)).sections(address)
        values = section.unpacked
        options = socket_options(kernel, kind, address, identity, section, facts=False)
        given = ((key, one) for one in options if (key := (one.level, one.name)) in handed_on(kind))
        place = _place(kernel, kind, identity, values)
        listener = _Listener(
            address,
            place,
            {key: one for key, one in given if one.origin == "set"},
            _carried(kernel, kind, values),
        )
        self._tables[kind].setdefault(place.key, []).append(listener)


def _known(listeners: list[_Listener]) -> set[tuple[str, str]]:
    return {key for one in listeners for key in one.options}


def _perhaps_handed_on(kind: str, options: list[OptionValue]) -> bool:
    return any((option.level, option.name) in handed_on(kind) and option.differs for option in options)


def _place(kernel: Kernel, kind: str, identity: Section, values: tuple[Any, ...]) -> _Place:
    net, family = identity["skc_net"], identity["skc_family"]
    if kind in _STREAMS:
        key = net, family, identity["skc_num"]
        if family == uapi.AF_INET:
            return _Place(key, identity["skc_rcv_saddr"], identity["skc_rcv_saddr"] == 0)
        return _Place(key, identity["skc_v6_rcv_saddr"], identity["skc_v6_rcv_saddr"] == _ANY6)
    known = deciding(kernel, kind, values)
    if kind == "unix":
        return _Place(known)  # An accepted socket shares the name of its listener, not its namespace.
    port, context = known
    return _Place((net, port), context, context == _ANY_CONTEXT)


def _carried(kernel: Kernel, kind: str, values: tuple[Any, ...]) -> dict[tuple[str, str], Any]:
    """What the members of those options hold that can't be compared by value."""
    return {
        (bound.row.level, bound.row.name): bound.inputs(values)[bound.row.carried]
        for bound in bound_options(kernel, kind)
        if bound.row.carried is not None
    }
