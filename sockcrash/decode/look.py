# SPDX-License-Identifier: LGPL-2.1-or-later
"""A look at one of very many TCP sockets of a dump: of a record only what is asked for is made, and when it is.

It is for filters and lists, which ask for little and keep nothing. What it says is what the record would say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode.common import NO_INODE, NOT_WANTED, cookie_of, name_in, protocols_of, v6only_of
from sockcrash.decode.congestion import congestion_section
from sockcrash.decode.endpoint import end, host_order
from sockcrash.decode.owner import part_of
from sockcrash.decode.sock import sock_section
from sockcrash.decode.surroundings import cgroup_path, device_name
from sockcrash.decode.tcp import tcp_section
from sockcrash.decode.timers import tcp_timers
from sockcrash.kernel import uapi
from sockcrash.model import EMPTY, Section, SocketRecord, quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.decode.owner import Owners
    from sockcrash.decode.plan import Plan
    from sockcrash.decode.want import Want
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle

__all__ = ("look",)

_FULL, _SOCK, _TCP, _TIMERS = 1, 2, 3, 4


def look(
    kernel: Kernel, handle: Handle, content: bytes, owners: Owners | None, want: Want, plan: Plan
) -> SocketRecord:
    """A record of a full TCP socket of which these are the bytes."""
    values = plan.reader.decode(content, kernel.clock(), handle.address)
    return quick(
        _Look,
        {
            "address": handle.address,
            "how": handle.how,
            "kind": "tcp",
            "_kernel": kernel,
            "_plan": plan,
            "_values": values,
            "_identity": plan.identity(values[0]),
            "_rest": (handle, content, owners, want),
        },
    )


class _Look(SocketRecord):
    """``_identity`` is what the plan picks of the first section; the rest is taken of ``_values`` when asked for."""

    _kernel: Kernel
    _plan: Plan
    _values: tuple[tuple[Any, ...], ...]
    _identity: tuple[Any, ...]
    _rest: tuple[Handle, bytes, Owners | None, Want]


class _Part:
    """An attribute that is made once, the first time that it is asked for."""

    def __init__(self, name: str, make: Callable[[_Look], Any]) -> None:
        self._name = name
        self._make = make

    def __get__(self, record: _Look, owner: type[_Look]) -> Any:
        value = record.__dict__[self._name] = self._make(record)
        return value


def _section(record: _Look, number: int) -> Section:
    return Section(record._plan.reader.indexes[number], record._values[number])


def _full(record: _Look, name: str) -> Any:
    place = record._plan.reader.indexes[_FULL].get(name)
    return NOT_WANTED if place is None else record._values[_FULL][place]


def _local(record: _Look) -> Any:
    v4, v6, port = record._plan.local(record._values[0])
    return end(record._kernel, record._identity[0], v4, v6, port)


def _peer(record: _Look) -> Any:
    v4, v6, port = record._plan.peer(record._values[0])
    return end(record._kernel, record._identity[0], v4, v6, host_order(record._kernel, port))


def _tcp(record: _Look) -> Section:
    if not record._values[_TCP]:
        return EMPTY
    return tcp_section(record._kernel, record._identity[1], _section(record, _TCP), record._plan.computed)


def _queue(listening: str, streaming: str) -> Callable[[_Look], Any]:
    def make(record: _Look) -> Any:
        reader = record._plan.reader
        if record._identity[1] == uapi.LISTEN:
            return record._values[_SOCK][reader.indexes[_SOCK][listening]]
        return record._plan.queues[streaming](record._kernel.clock(), record._values[_TCP])

    return make


def _sock(record: _Look) -> Section:
    return sock_section(record._kernel, _section(record, _SOCK)) if record._values[_SOCK] else EMPTY


def _cc(record: _Look) -> Any:
    handle, content, _, want = record._rest
    if "cc" not in want.parts:
        return EMPTY
    return congestion_section(record._kernel, handle.address, _section(record, _TCP), content)


def _timers(record: _Look) -> Any:
    if "timers" not in record._rest[3].parts:
        return None
    closed = record._identity[1] == uapi.FIN_WAIT2 and _full(record, "dead") == 1
    return tcp_timers(
        record._kernel.clock(), _section(record, _TCP), _section(record, _TIMERS), closed=closed
    )


def _owners(record: _Look) -> Any:
    handle, _, owners, want = record._rest
    if owners is None or "owners" not in want.parts:
        return ()
    part = part_of(record._kernel, handle, _section(record, _TCP))
    return owners.of(handle, _section(record, _FULL), part)


def _other_end(record: _Look) -> Any:
    handle, _, owners, want = record._rest
    if owners is None or "other_end" not in want.parts:
        return None
    return owners.other_end(handle, _section(record, 0), EMPTY)


def _namespace(number: int) -> Callable[[_Look], Any]:
    def make(record: _Look) -> Any:
        handle, _, owners, want = record._rest
        if owners is None or "namespace" not in want.parts:
            return None
        return owners.namespace(handle, record._identity[4])[number]

    return make


_PARTS: dict[str, Callable[[_Look], Any]] = {
    "family": lambda record: name_in(uapi.FAMILIES, record._identity[0]),
    "state": lambda record: name_in(uapi.TCP_STATES, record._identity[1]),
    "cookie": lambda record: cookie_of(record._identity[2]),
    "netns": lambda record: record._identity[4],
    "ifindex": lambda record: record._identity[5],
    "device": lambda record: device_name(record._kernel, record._identity[3], record._identity[5]),
    "v6only": lambda record: v6only_of(record._identity[0], record._identity[6]),
    "type": lambda record: name_in(uapi.TYPES, _full(record, "sk_type")),
    "protocol": lambda record: name_in(protocols_of(record._identity[0]), _full(record, "sk_protocol")),
    "inode": lambda record: _full(record, "inode") if _full(record, "sk_socket") else NO_INODE,
    "uid": lambda record: _full(record, "sk_uid"),
    "mark": lambda record: _full(record, "sk_mark"),
    "cgroup": lambda record: cgroup_path(record._kernel, _full(record, "cgroup")),
    "proved": lambda record: record._rest[0].proved,
    "note": lambda record: record._rest[0].note,
    "local": _local,
    "peer": _peer,
    "tcp": _tcp,
    "sock": _sock,
    "recv_q": _queue("sk_ack_backlog", "receive_queue_bytes"),
    "send_q": _queue("sk_max_ack_backlog", "send_queue_bytes"),
    "cc": _cc,
    "timers": _timers,
    "owners": _owners,
    "other_end": _other_end,
    "netns_names": _namespace(0),
    "netns_processes": _namespace(1),
}
for _name, _make in _PARTS.items():
    setattr(_Look, _name, _Part(_name, _make))
