# SPDX-License-Identifier: LGPL-2.1-or-later
"""A handle → a record: what the kernel holds of one socket, read once, checked on a live kernel, free of drgn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.common import NO_INODE, NOT_WANTED, cookie_of, name_in, protocols_of, v6only_of
from sockcrash.decode.congestion import congestion_section
from sockcrash.decode.endpoint import end, host_order
from sockcrash.decode.family import family_fields
from sockcrash.decode.look import looker
from sockcrash.decode.owner import mini_owner, part_of
from sockcrash.decode.parts import Parts
from sockcrash.decode.plan import Plan, plan_for
from sockcrash.decode.queues import queues_of
from sockcrash.decode.sock import sock_section
from sockcrash.decode.surroundings import cgroup_path, device_name
from sockcrash.decode.tcp import tcp_section
from sockcrash.decode.timers import minisock_timers, tcp_timers
from sockcrash.decode.ttl import Facts, connection_gives_up, unwatched
from sockcrash.decode.ttl_mini import mini_gives_up
from sockcrash.decode.want import EVERYTHING, Want
from sockcrash.kernel import uapi
from sockcrash.kernel.options.settings import read_settings
from sockcrash.model import EMPTY, Absent, Reason, Section, SocketRecord, quick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sockcrash.decode.inheritance import OptionReader
    from sockcrash.decode.owner import Owners
    from sockcrash.kernel.sockets import Kind
    from sockcrash.kernel.view import Kernel, Reader
    from sockcrash.locate.address import Handle
    from sockcrash.model import OptionValue, Owner

__all__ = ("decode", "decoder")

TRIES = 3
_MINI = Absent(Reason.NOT_APPLICABLE, "a mini socket has none")
_WATCHED = ("snd_nxt", "rcv_nxt", "segs_in", "segs_out")


def decode(
    kernel: Kernel,
    handle: Handle,
    owners: Owners | None = None,
    options: OptionReader | None = None,
    want: Want = EVERYTHING,
) -> SocketRecord:
    """Read one socket, or the wanted part of it. Raises drgn.FaultError when nothing of it can be read."""
    return decoder(kernel, owners, options, want)(handle)


def decoder(
    kernel: Kernel, owners: Owners | None, options: OptionReader | None, want: Want
) -> Callable[[Handle], SocketRecord]:
    """``decode`` for many sockets."""
    ways: dict[str, Callable[[Handle], SocketRecord]] = {}

    def decode_one(handle: Handle) -> SocketRecord:
        kind = handle.kind
        way = ways.get(kind.name)
        if way is None:
            way = ways[kind.name] = _way(kernel, kind, owners, options, want)
        return way(handle)

    return decode_one


def _way(
    kernel: Kernel, kind: Kind, owners: Owners | None, options: OptionReader | None, want: Want
) -> Callable[[Handle], SocketRecord]:
    """How sockets of one kind are decoded: by a look, where that does and a dump's walk has read their bytes."""
    plan = plan_for(kernel, kind, want, options=options is not None)

    def whole(handle: Handle) -> SocketRecord:
        return _whole(kernel, handle, owners, options, want, plan)

    if plan.glance is None or kernel.live:
        return whole
    return looker(kernel, owners, want, plan, plan.glance, whole)


def _whole(
    kernel: Kernel,
    handle: Handle,
    owners: Owners | None,
    options: OptionReader | None,
    want: Want,
    plan: Plan,
) -> SocketRecord:
    sections, whole, torn = _read(kernel, plan.reader, handle.address, handle.content)
    if kernel.index is not None:
        torn = torn or kernel.index[handle.address].torn
    if not handle.kind.full:
        return _mini(kernel, handle, sections, torn, owners, plan, want)
    found = None
    if options is not None:
        found = options.read(handle.kind.name, handle.address, sections[0], sections[-1])
        sections = sections[:-1]
    return _full(kernel, handle, sections, whole, torn, owners, found, want, plan)


def _read(
    kernel: Kernel, reader: Reader, address: int, content: bytes | None
) -> tuple[tuple[Section, ...], bytes, bool]:
    """The sections of an object, their bytes if these are complete, and whether they are torn.

    On a live kernel it is read until two reads agree, at most TRIES times. ``content`` is what was read of it just
    now, if it was.
    """
    kernel.tick()
    try:
        if content is None or len(content) < reader.size or kernel.exact:
            content = reader.fetch(address)
    except drgn.FaultError:
        return reader.salvaged(address), b"", False
    sections = reader.sections(address, content)
    if not kernel.live:
        return sections, b"" if kernel.exact else content, False
    for _ in range(TRIES):
        content = reader.fetch(address)
        again = reader.sections(address, content)
        if _identity(sections) == _identity(again):
            return again, content, False
        sections = again
        kernel.tick()
    return sections, content, True


def _identity(sections: tuple[Section, ...]) -> tuple[object, ...]:
    """What must not change between two reads of one socket: who it is, and how far its stream is."""
    names = ("skc_family", "sk_protocol", "sk_prot_creator", "inode", "skc_state", *_WATCHED)
    return tuple(section[name] for section in sections for name in names if name in section)


def _common(kernel: Kernel, handle: Handle, identity: Section, torn: bool, plan: Plan) -> dict[str, Any]:
    family, state, cookie, net, netns, ifindex, v6only = plan.identity(identity.unpacked)
    v4, v6, port = plan.local(identity.unpacked)
    peer_v4, peer_v6, peer_port = plan.peer(identity.unpacked)
    return {
        "address": handle.address,
        "kind": handle.kind.name,
        "how": handle.how,
        "proved": handle.proved,
        "note": handle.note,
        "torn": torn,
        "family": name_in(uapi.FAMILIES, family),
        # UNIX, NETLINK and the like keep TCP_* or SS_* numbers of their own in skc_state.
        "state": name_in(uapi.TCP_STATES, state),
        "local": end(kernel, family, v4, v6, port),
        "peer": end(kernel, family, peer_v4, peer_v6, host_order(kernel, peer_port)),
        "cookie": cookie_of(cookie),
        "netns": netns,
        "v6only": v6only_of(family, v6only),
        "ifindex": ifindex,
        "device": device_name(kernel, net, ifindex),
    }


def _full(
    kernel: Kernel,
    handle: Handle,
    sections: Sequence[Section],
    content: bytes,
    torn: bool,
    owners: Owners | None,
    options: tuple[OptionValue, ...] | Absent | None,
    want: Want,
    plan: Plan,
) -> SocketRecord:
    identity, full, sock, *rest = sections
    fields = _common(kernel, handle, identity, torn, plan)
    family, state = identity["skc_family"], identity["skc_state"]
    type_, protocol, socket, uid, mark, dead, keepopen = plan.full(full.unpacked)
    own = rest[0] if rest else EMPTY
    parts = Parts(handle.address, identity, full, sock, own)
    if handle.kind.name == "tcp":
        if own:
            fields["tcp"] = tcp_section(kernel, state, own, plan.computed)
        if "cc" in want.parts:
            fields["cc"] = congestion_section(kernel, handle.address, own, content)
        if "timers" in want.parts:
            closed = state == uapi.FIN_WAIT2 and dead == 1
            fields["timers"] = tcp_timers(kernel.clock(), own, rest[1], closed=closed)
        if "gives_up" in want.parts:
            watch = unwatched(fields["state"], keepopen == 1, fields["timers"])
            fields["gives_up"] = (
                connection_gives_up(_facts(kernel, fields, parts, rest[1])) if watch is None else watch
            )
    else:
        fields |= family_fields(kernel, handle.kind.name, parts)
    if "queues" in want.parts:
        fields["queues"] = queues_of(kernel, handle.kind.name, parts, want, content)
    if owners is not None and "owners" in want.parts:
        fields["owners"] = owners.of(handle, full, part_of(kernel, handle, own))
    if owners is not None:
        fields |= _around(owners, handle, identity, own, want, fields.get("owners"))
    fields |= {
        "type": name_in(uapi.TYPES, type_),
        "protocol": name_in(protocols_of(family), protocol),
        "inode": _inode(socket, full),
        "uid": uid,
        "mark": mark,
        "cgroup": cgroup_path(kernel, full["cgroup"]) if "cgroup" in full else NOT_WANTED,
        "options": options,
    }
    if sock:
        fields["sock"] = sock_section(kernel, sock)
    return quick(SocketRecord, fields)


def _inode(socket: int | Absent, full: Section) -> int | Absent:
    if isinstance(socket, Absent):
        return socket
    return full.get("inode", NOT_WANTED) if socket else NO_INODE


def _facts(kernel: Kernel, fields: dict[str, Any], parts: Parts, armed: Section) -> Facts:
    return Facts(
        fields["state"],
        parts.full["dead"] == 1,
        parts.full["keepopen"] == 1,
        parts.sock["sk_err_soft"],
        fields["tcp"],
        armed,
        {timer.name: timer for timer in fields["timers"]},
        read_settings(kernel, parts.identity["skc_net"]),
        kernel.clock(),
    )


def _around(
    owners: Owners,
    handle: Handle,
    identity: Section,
    own: Section,
    want: Want,
    held: tuple[Owner, ...] | Absent | None,
) -> dict[str, Any]:
    """Who is at the other end, and in the namespace."""
    found: dict[str, Any] = {}
    if "other_end" in want.parts:
        found["other_end"] = owners.other_end(handle, identity, own, held)
    if "namespace" in want.parts:
        found["netns_names"], found["netns_processes"] = owners.namespace(handle, identity["netns"])
    return found


def _mini(
    kernel: Kernel,
    handle: Handle,
    sections: tuple[Section, ...],
    torn: bool,
    owners: Owners | None,
    plan: Plan,
    want: Want,
) -> SocketRecord:
    identity, mini = sections
    timers = minisock_timers(kernel.clock(), mini)
    fields = _common(kernel, handle, identity, torn, plan)
    if handle.kind.name == "tcp-timewait":
        substate = mini["tw_substate"]
        fields["state"] = name_in(uapi.TCP_STATES, substate)
        mark = mini["tw_mark"]
    else:
        mark = mini["ir_mark"]
    fields |= {
        "type": "SOCK_STREAM",
        "protocol": "IPPROTO_TCP",
        "inode": _MINI,
        "uid": _MINI,
        "mark": mark,
        "cgroup": _MINI,
        "owners": mini_owner(handle, mini),
        "minisock": mini,
        "timers": timers,
    }
    if owners is not None:
        fields |= _around(owners, handle, identity, mini, want, fields["owners"])
    if "gives_up" in want.parts:
        fields["gives_up"] = mini_gives_up(kernel, mini, fields["state"], identity["skc_net"], timers[0])
    return quick(SocketRecord, fields)
