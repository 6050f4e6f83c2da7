# SPDX-License-Identifier: LGPL-2.1-or-later
"""A look at one of very many TCP sockets of a dump: of a record only what is asked for is made, and when it is.

It is for filters and lists, which ask for little and keep nothing. What it says is what the record would say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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
    from sockcrash.model import Names

__all__ = ("looker",)

_IDENTITY, _FULL, _SOCK, _TCP, _TIMERS = range(5)


class _About(NamedTuple):
    """What looks at many sockets have in common."""

    kernel: Kernel
    owners: Owners | None
    want: Want
    plan: Plan
    glance: Glance


def looker(
    kernel: Kernel,
    owners: Owners | None,
    want: Want,
    plan: Plan,
    glance: Glance,
    whole: Callable[[Handle], SocketRecord],
) -> Callable[[Handle], SocketRecord]:
    """What makes records of full TCP sockets of a dump; ``whole`` does of those whose bytes no walk has read."""
    about = _About(kernel, owners, want, plan, glance)
    at_once, clock, size = glance.at_once, kernel.clock(), plan.reader.size

    def look(handle: Handle) -> SocketRecord:
        content, address = handle.content, handle.address
        if content is None or len(content) < size:
            return whole(handle)
        fields = at_once(content, clock, address)
        fields["address"] = address
        fields["_handle"] = handle
        fields["_content"] = content
        fields["_about"] = about
        return quick(_Look, fields)

    return look


class _Look(SocketRecord):
    """What was not made at once is made when it is asked for, of ``_values``."""

    kind = "tcp"
    _handle: Handle
    _content: bytes
    _about: _About
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
    kernel = record._about.kernel
    return record._about.plan.reader.decode(record._content, kernel.clock(), record.address)


def _index(record: _Look, number: int) -> Names:
    return record._about.plan.reader.indexes[number]


def _section(record: _Look, number: int) -> Section:
    return Section(_index(record, number), record._values[number])


def _full(record: _Look, name: str) -> Any:
    place = _index(record, _FULL).get(name)
    return NOT_WANTED if place is None else record._values[_FULL][place]


def _identity(record: _Look, name: str) -> Any:
    return record._values[_IDENTITY][_index(record, _IDENTITY)[name]]


def _picked(name: str) -> Callable[[_Look], Any]:
    def make(record: _Look) -> Any:
        about = record._about
        return about.glance.later(name)(record._content, about.kernel.clock(), record.address)[name]

    return make


def _tcp(record: _Look) -> Section:
    if not record._values[_TCP]:
        return EMPTY
    about = record._about
    state = _identity(record, "skc_state")
    return tcp_section(about.kernel, state, _section(record, _TCP), about.plan.computed)


def _sock(record: _Look) -> Section:
    return sock_section(record._about.kernel, _section(record, _SOCK)) if record._values[_SOCK] else EMPTY


def _cc(record: _Look) -> Any:
    if "cc" not in record._about.want.parts:
        return EMPTY
    kernel = record._about.kernel
    return congestion_section(kernel, record.address, _section(record, _TCP), record._content)


def _timers(record: _Look) -> Any:
    if "timers" not in record._about.want.parts:
        return None
    closed = _identity(record, "skc_state") == uapi.FIN_WAIT2 and _full(record, "dead") == 1
    clock = record._about.kernel.clock()
    return tcp_timers(clock, _section(record, _TCP), _section(record, _TIMERS), closed=closed)


def _owners(record: _Look) -> Any:
    kernel, owners, want, *_ = record._about
    if owners is None or "owners" not in want.parts:
        return ()
    subflow_of = part_of(kernel, record._handle, _section(record, _TCP))
    return owners.of(record._handle, _section(record, _FULL), subflow_of)


def _other_end(record: _Look) -> Any:
    owners = record._about.owners
    if owners is None or "other_end" not in record._about.want.parts:
        return None
    return owners.other_end(record._handle, _section(record, _IDENTITY), EMPTY)


def _namespace(number: int) -> Callable[[_Look], Any]:
    def make(record: _Look) -> Any:
        owners = record._about.owners
        if owners is None or "namespace" not in record._about.want.parts:
            return None
        return owners.namespace(record._handle, record.netns)[number]

    return make


_PARTS: dict[str, Callable[[_Look], Any]] = {
    **{name: _picked(name) for name in PICKS},
    "_values": _values,
    "device": lambda record: device_name(record._about.kernel, _identity(record, "skc_net"), record.ifindex),
    "protocol": lambda record: name_in(
        protocols_of(_identity(record, "skc_family")), _full(record, "sk_protocol")
    ),
    "cgroup": lambda record: cgroup_path(record._about.kernel, _full(record, "cgroup")),
    "how": lambda record: record._handle.how,
    "proved": lambda record: record._handle.proved,
    "note": lambda record: record._handle.note,
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
