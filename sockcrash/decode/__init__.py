# SPDX-License-Identifier: LGPL-2.1-or-later
"""A handle → a record: what the kernel holds of one socket, read once, checked on a live kernel, free of drgn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import drgn

from sockcrash.decode.congestion import congestion_section
from sockcrash.decode.endpoint import endpoints
from sockcrash.decode.family import family_fields
from sockcrash.decode.parts import Parts
from sockcrash.decode.sock import sock_section
from sockcrash.decode.surroundings import cgroup_path, device_name
from sockcrash.decode.tcp import tcp_section
from sockcrash.decode.timers import minisock_timers, tcp_timers
from sockcrash.kernel import uapi
from sockcrash.kernel.mptcp import owner_of_subflow
from sockcrash.kernel.options import option_group
from sockcrash.model import EMPTY, Absent, Reason, Section, SocketRecord

if TYPE_CHECKING:
    from sockcrash.decode.inheritance import OptionReader
    from sockcrash.decode.owner import Owners
    from sockcrash.kernel.view import Kernel, Reader
    from sockcrash.locate.address import Handle

__all__ = ("decode",)

TRIES = 3
_MINI = Absent(Reason.NOT_APPLICABLE, "a mini socket has none")
_NOT_V6 = Absent(Reason.NOT_APPLICABLE, "no IPv6 socket")
_NO_INODE = Absent(Reason.NOT_APPLICABLE, "no struct socket: orphaned, or not accepted yet")
_WATCHED = ("snd_nxt", "rcv_nxt", "segs_in", "segs_out")


def decode(
    kernel: Kernel, handle: Handle, owners: Owners | None = None, options: OptionReader | None = None
) -> SocketRecord:
    """Read one socket. Raises drgn.FaultError when nothing of it can be read."""
    wanted = (option_group(handle.kind.name),) if options and handle.kind.full else ()
    sections, torn = _read(kernel, kernel.reader(*handle.kind.groups, *wanted), handle.address, handle.content)
    if kernel.index is not None:
        torn = torn or kernel.index[handle.address].torn
    if not handle.kind.full:
        return _mini(kernel, handle, sections, torn)
    if options is None:
        return _full(kernel, handle, sections, torn, owners)
    record = _full(kernel, handle, sections[:-1], torn, owners)
    found = options.read(handle.kind.name, handle.address, sections[0], sections[-1])
    return dataclasses.replace(record, options=found)


def _read(
    kernel: Kernel, reader: Reader, address: int, content: bytes | None
) -> tuple[tuple[Section, ...], bool]:
    """The sections of an object; on a live kernel read until two reads agree, at most TRIES times.

    ``content`` is what was read of it just now, if it was.
    """
    kernel.tick()
    try:
        if content is None or len(content) < reader.size or kernel.exact:
            content = reader.fetch(address)
    except drgn.FaultError:
        return reader.salvaged(address), False
    sections = reader.sections(address, content)
    if not kernel.live:
        return sections, False
    for _ in range(TRIES):
        again = reader.sections(address, reader.fetch(address))
        if _identity(sections) == _identity(again):
            return again, False
        sections = again
        kernel.tick()
    return sections, True


def _identity(sections: tuple[Section, ...]) -> tuple[object, ...]:
    """What must not change between two reads of one socket: who it is, and how far its stream is."""
    names = ("skc_family", "sk_protocol", "sk_prot_creator", "inode", "skc_state", *_WATCHED)
    return tuple(section[name] for section in sections for name in names if name in section)


def _common(kernel: Kernel, handle: Handle, identity: Section, torn: bool) -> dict[str, object]:
    cookie = identity["skc_cookie"]
    not_asked = Absent(Reason.NOT_ASSIGNED, "nobody has asked for it yet")
    local, peer = endpoints(kernel, identity)
    return {
        "address": handle.address,
        "kind": handle.kind.name,
        "how": handle.how,
        "proved": handle.proved,
        "note": handle.note,
        "torn": torn,
        "family": _name(uapi.FAMILIES, identity["skc_family"]),
        "state": _state(identity),
        "local": local,
        "peer": peer,
        "cookie": not_asked if cookie == 0 else cookie,
        "netns": identity["netns"],
        "v6only": _v6only(identity),
        "ifindex": identity["skc_bound_dev_if"],
        "device": device_name(kernel, identity["skc_net"], identity["skc_bound_dev_if"]),
    }


def _name(names: dict[int, str], number: int | Absent) -> str | Absent:
    return number if isinstance(number, Absent) else uapi.name_of(names, number)


def _v6only(identity: Section) -> bool | Absent:
    bit = identity["skc_ipv6only"]
    if identity["skc_family"] != uapi.AF_INET6:
        return _NOT_V6
    return bit if isinstance(bit, Absent) else bool(bit)


def _state(identity: Section) -> str | Absent:
    """The state's name. UNIX, NETLINK and the like keep TCP_* or SS_* numbers of their own in skc_state."""
    return _name(uapi.TCP_STATES, identity["skc_state"])


def _full(
    kernel: Kernel, handle: Handle, sections: tuple[Section, ...], torn: bool, owners: Owners | None
) -> SocketRecord:
    identity, full, sock, *rest = sections
    fields = _common(kernel, handle, identity, torn)
    family, protocol = identity["skc_family"], full["sk_protocol"]
    is_tcp = handle.kind.name == "tcp"
    is_inet = family in (uapi.AF_INET, uapi.AF_INET6)
    protocols = uapi.NETLINK_PROTOCOLS if family == uapi.AF_NETLINK else uapi.PROTOCOLS if is_inet else {}
    has_socket = bool(full["sk_socket"])
    own = rest[0] if rest else EMPTY
    fields |= family_fields(kernel, handle.kind.name, Parts(handle.address, identity, full, sock, own))
    return SocketRecord(
        **fields,  # type: ignore[arg-type]
        type=_name(uapi.TYPES, full["sk_type"]),
        protocol=_name(protocols, protocol),
        inode=full["inode"] if has_socket else _NO_INODE,
        uid=full["sk_uid"],
        mark=full["sk_mark"],
        cgroup=cgroup_path(kernel, full["cgroup"]),
        owners=owners.of(handle, full, _part_of(kernel, handle, own)) if owners else (),
        sock=sock_section(kernel, sock),
        tcp=tcp_section(kernel, identity, rest[0]) if is_tcp else EMPTY,
        cc=congestion_section(kernel, handle.address, rest[0]) if is_tcp else EMPTY,
        timers=tcp_timers(kernel.clock(), rest[0], rest[1]) if is_tcp else None,
    )


def _part_of(kernel: Kernel, handle: Handle, own: Section) -> int:
    """The MPTCP socket that a TCP socket carries data for, 0 if none."""
    if handle.kind.name != "tcp" or own["ulp"] != "mptcp":
        return 0
    try:
        return owner_of_subflow(kernel, handle.address)
    except drgn.FaultError:
        return 0


def _mini(kernel: Kernel, handle: Handle, sections: tuple[Section, ...], torn: bool) -> SocketRecord:
    identity, mini = sections
    fields = _common(kernel, handle, identity, torn)
    if handle.kind.name == "tcp-timewait":
        substate = mini["tw_substate"]
        fields["state"] = _name(uapi.TCP_STATES, substate)
        mark = mini["tw_mark"]
    else:
        mark = mini["ir_mark"]
    from sockcrash.decode.owner import mini_owner

    return SocketRecord(
        **fields,  # type: ignore[arg-type]
        type="SOCK_STREAM",
        protocol="IPPROTO_TCP",
        inode=_MINI,
        uid=_MINI,
        mark=mark,
        cgroup=_MINI,
        owners=mini_owner(handle, mini),
        minisock=mini,
        timers=minisock_timers(kernel.clock(), mini),
    )
