# SPDX-License-Identifier: LGPL-2.1-or-later
"""A look at one of very many TCP sockets of a dump: of a record only what is asked for is made, and when it is.

It is for filters and lists, which ask for little and keep nothing. What it says is what the record would say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode.common import NOT_WANTED, name_in, protocols_of
from sockcrash.decode.congestion import congestion_section
from sockcrash.decode.owner import part_of
from sockcrash.decode.picks import PICKS
from sockcrash.decode.sock import sock_section
from sockcrash.decode.surroundings import cgroup_path, device_name
from sockcrash.decode.tcp import tcp_section
from sockcrash.decode.timers import tcp_timers
from sockcrash.kernel import uapi
from sockcrash.model import EMPTY, Section, SocketRecord, quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.decode.owner import Owners
    from sockcrash.decode.plan import Glance, Plan
    from sockcrash.decode.want import Want
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle

__all__ = ("look",)

_IDENTITY, _FULL, _SOCK, _TCP, _TIMERS = range(5)


def look(
    kernel: Kernel,
    handle: Handle,
    content: bytes,
    owners: Owners | None,
    want: Want,
    plan: Plan,
    glance: Glance,
) -> SocketRecord:
    """A record of a full TCP socket of which these are the bytes."""
    address = handle.address
    fields = glance.at_once(glance.reader.decode(content, kernel.clock(), address))
    fields["address"] = address
    fields["_rest"] = (kernel, handle, content, owners, want, plan, glance)
    return quick(_Look, fields)


class _Look(SocketRecord):
    """What was not made at once is made when it is asked for, of ``_values``."""

    kind = "tcp"
    _rest: tuple[Kernel, Handle, bytes, Owners | None, Want, Plan, Glance]
    _values: tuple[tuple[Any, ...], ...]


class _Part:
    """An attribute that is made once, the first time that it is asked for."""

    def __init__(self, name: str, make: Callable[[_Look], Any]) -> None:
        self._name = name
        self._make = make

    def __get__(self, record: _Look, owner: type[_Look]) -> Any:
        value = record.__dict__[self._name] = self._make(record)
        return value


def _values(record: _Look) -> tuple[tuple[Any, ...], ...]:
    kernel, handle, content, _, _, plan, _ = record._rest
    return plan.reader.decode(content, kernel.clock(), handle.address)


def _section(record: _Look, number: int) -> Section:
    return Section(record._rest[5].reader.indexes[number], record._values[number])


def _full(record: _Look, name: str) -> Any:
    place = record._rest[5].reader.indexes[_FULL].get(name)
    return NOT_WANTED if place is None else record._values[_FULL][place]


def _identity(record: _Look, name: str) -> Any:
    return record._values[_IDENTITY][record._rest[5].reader.indexes[_IDENTITY][name]]


def _picked(name: str) -> Callable[[_Look], Any]:
    return lambda record: record._rest[6].later(name)(record._values)[name]


def _tcp(record: _Look) -> Section:
    kernel, _, _, _, _, plan, _ = record._rest
    if not record._values[_TCP]:
        return EMPTY
    return tcp_section(kernel, _identity(record, "skc_state"), _section(record, _TCP), plan.computed)


def _sock(record: _Look) -> Section:
    return sock_section(record._rest[0], _section(record, _SOCK)) if record._values[_SOCK] else EMPTY


def _cc(record: _Look) -> Any:
    kernel, handle, content, _, want, *_ = record._rest
    if "cc" not in want.parts:
        return EMPTY
    return congestion_section(kernel, handle.address, _section(record, _TCP), content)


def _timers(record: _Look) -> Any:
    kernel, _, _, _, want, *_ = record._rest
    if "timers" not in want.parts:
        return None
    closed = _identity(record, "skc_state") == uapi.FIN_WAIT2 and _full(record, "dead") == 1
    return tcp_timers(kernel.clock(), _section(record, _TCP), _section(record, _TIMERS), closed=closed)


def _owners(record: _Look) -> Any:
    kernel, handle, _, owners, want, *_ = record._rest
    if owners is None or "owners" not in want.parts:
        return ()
    return owners.of(handle, _section(record, _FULL), part_of(kernel, handle, _section(record, _TCP)))


def _other_end(record: _Look) -> Any:
    _, handle, _, owners, want, *_ = record._rest
    if owners is None or "other_end" not in want.parts:
        return None
    return owners.other_end(handle, _section(record, _IDENTITY), EMPTY)


def _namespace(number: int) -> Callable[[_Look], Any]:
    def make(record: _Look) -> Any:
        _, handle, _, owners, want, *_ = record._rest
        if owners is None or "namespace" not in want.parts:
            return None
        return owners.namespace(handle, record.netns)[number]

    return make


_PARTS: dict[str, Callable[[_Look], Any]] = {
    **{name: _picked(name) for name in PICKS},
    "_values": _values,
    "device": lambda record: device_name(record._rest[0], _identity(record, "skc_net"), record.ifindex),
    "protocol": lambda record: name_in(
        protocols_of(_identity(record, "skc_family")), _full(record, "sk_protocol")
    ),
    "cgroup": lambda record: cgroup_path(record._rest[0], _full(record, "cgroup")),
    "how": lambda record: record._rest[1].how,
    "proved": lambda record: record._rest[1].proved,
    "note": lambda record: record._rest[1].note,
    "tcp": _tcp,
    "sock": _sock,
    "cc": _cc,
    "timers": _timers,
    "owners": _owners,
    "other_end": _other_end,
    "netns_names": _namespace(0),
    "netns_processes": _namespace(1),
}
for _name, _make in _PARTS.items():
    setattr(_Look, _name, _Part(_name, _make))
