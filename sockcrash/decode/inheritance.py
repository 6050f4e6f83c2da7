# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which listener an accepted socket has an option from: the one that has the same value, if there is just one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.options import plan_of, socket_options
from sockcrash.kernel import uapi
from sockcrash.kernel.fields import IDENTITY
from sockcrash.kernel.mptcp import owner_of_subflow
from sockcrash.kernel.options import ROWS, bound_options, option_group
from sockcrash.kernel.options.origins import kernel as kernel_writes
from sockcrash.kernel.tables_tcp import listeners
from sockcrash.model import Absent, OptionValue, Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("OptionReader",)

_INHERITED = {(row.level, row.name) for row in ROWS if row.inherited and row.origin is not kernel_writes}
_ANY6 = bytes(16)


@dataclass(frozen=True, slots=True)
class _Listener:
    """A listening socket: where it listens, what was set that its children have too, and what members hold."""

    address: int
    identity: Section
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
        accepted = kind in ("tcp", "mptcp") and plan_of(self._kernel, kind, identity, values).context.accepted
        plain = not self._facts and not self._levels
        if plain and not accepted:
            return socket_options(self._kernel, kind, address, identity, section, facts=False, differing=True)
        found = socket_options(self._kernel, kind, address, identity, section, facts=self._facts)
        if accepted:
            found = self._explained(kind, identity, values, found)
        return [option for option in found if self._wants(option)]

    def listeners_on(self, kind: str, identity: Section) -> list[int]:
        """Every listener that ``inherited_from`` of a socket with that identity is chosen from."""
        return [one.address for one in self._of_port.get((kind, *_port(identity)), ())]

    def _wants(self, option: OptionValue) -> bool:
        if self._levels and option.level not in self._levels:
            return False
        return option.name in self._names if self._names else self._every or option.differs

    def _explained(
        self, kind: str, identity: Section, values: tuple[Any, ...], options: list[OptionValue]
    ) -> list[OptionValue]:
        """The options with their listeners; what the listener has set alike is set, if the kernel may write it too."""
        candidates = [
            one for one in self._of_port.get((kind, *_port(identity)), ()) if _could_accept(one, identity)
        ]
        known = {key for one in candidates for key in one.options}
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

    @cached_property
    def _of_port(self) -> dict[tuple[str, int, int, int], list[_Listener]]:
        """Listeners by kind, namespace, family and port."""
        found: dict[tuple[str, int, int, int], list[_Listener]] = {}
        for kind, address in self._listening():
            try:
                listener = self._listener(kind, address)
            except drgn.FaultError as error:
                self._complain(f"the listener at {address:#x} is unreadable: {error}")
                continue
            if listener.identity["skc_state"] == uapi.LISTEN:
                found.setdefault((kind, *_port(listener.identity)), []).append(listener)
        return found

    def _listening(self) -> Iterator[tuple[str, int]]:
        if self._kernel.index is not None:
            yield from (
                (entry.kind, entry.address)
                for entry in self._kernel.index.values()
                if entry.kind in ("tcp", "mptcp")
            )
            return
        for address in listeners(self._kernel, self._complain):
            yield "tcp", address
            try:
                msk = owner_of_subflow(self._kernel, address)
            except drgn.FaultError as error:
                self._complain(f"the listener at {address:#x} is unreadable: {error}")
                continue
            if msk:
                yield "mptcp", msk

    def _listener(self, kind: str, address: int) -> _Listener:
        kernel = self._kernel
        identity, section = kernel.reader(IDENTITY, option_group(kind)).sections(address)
        options = socket_options(kernel, kind, address, identity, section, facts=False)
        carried = _carried(kernel, kind, section.unpacked)
        taken_over = ((key, one) for one in options if (key := (one.level, one.name)) in _INHERITED)
        return _Listener(
            address, identity, {key: one for key, one in taken_over if one.origin == "set"}, carried
        )


def _port(identity: Section) -> tuple[int, int, int]:
    return identity["skc_net"], identity["skc_family"], identity["skc_num"]


def _could_accept(listener: _Listener, child: Section) -> bool:
    """Whether a listener's address is that of the child, or any."""
    name, anywhere = (
        ("skc_rcv_saddr", 0) if child["skc_family"] == uapi.AF_INET else ("skc_v6_rcv_saddr", _ANY6)
    )
    return listener.identity[name] in (anywhere, child[name])


def _carried(kernel: Kernel, kind: str, values: tuple[Any, ...]) -> dict[tuple[str, str], Any]:
    """What the members of those options hold that can't be compared by value."""
    return {
        (bound.row.level, bound.row.name): bound.inputs(values)[bound.row.carried]
        for bound in bound_options(kernel, kind)
        if bound.row.carried is not None
    }
