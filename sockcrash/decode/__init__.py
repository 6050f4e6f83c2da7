# SPDX-License-Identifier: LGPL-2.1-or-later
"""A handle → a record: what the kernel holds of one socket, read once, checked on a live kernel, free of drgn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.congestion import congestion_section
from sockcrash.decode.endpoint import endpoints
from sockcrash.decode.family import family_fields
from sockcrash.decode.parts import Parts
from sockcrash.decode.plan import Plan, plan_for
from sockcrash.decode.sock import sock_section
from sockcrash.decode.surroundings import cgroup_path, device_name
from sockcrash.decode.tcp import tcp_section
from sockcrash.decode.timers import minisock_timers, tcp_timers
from sockcrash.decode.want import EVERYTHING, Want
from sockcrash.kernel import uapi
from sockcrash.kernel.mptcp import owner_of_subflow
from sockcrash.model import EMPTY, Absent, Reason, Section, SocketRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockcrash.decode.inheritance import OptionReader
    from sockcrash.decode.owner import Owners
    from sockcrash.kernel.view import Kernel, Reader
    from sockcrash.locate.address import Handle
    from sockcrash.model import OptionValue

__all__ = ("decode",)

TRIES = 3
_MINI = Absent(Reason.NOT_APPLICABLE, "a mini socket has none")
_NO_COOKIE = Absent(Reason.NOT_ASSIGNED, "nobody has asked for it yet")
_NOT_WANTED = Absent(Reason.NOT_APPLICABLE, "not read")
_NOT_V6 = Absent(Reason.NOT_APPLICABLE, "no IPv6 socket")
_NO_INODE = Absent(Reason.NOT_APPLICABLE, "no struct socket: orphaned, or not accepted yet")
_INET = (uapi.AF_INET, uapi.AF_INET6)
_WATCHED = ("snd_nxt", "rcv_nxt", "segs_in", "segs_out")


def decode(
    kernel: Kernel,
    handle: Handle,
    owners: Owners | None = None,
    options: OptionReader | None = None,
    want: Want = EVERYTHING,
) -> SocketRecord:
    """Read one socket, or the wanted part of it. Raises drgn.FaultError when nothing of it can be read."""
    plan = plan_for(kernel, handle.kind, want, options=options is not None)
    sections, content, torn = _read(kernel, plan.reader, handle.address, handle.content)
    if kernel.index is not None:
        torn = torn or kernel.index[handle.address].torn
    if not handle.kind.full:
        return _mini(kernel, handle, sections, torn)
    found = None
    if options is not None:
        found = options.read(handle.kind.name, handle.address, sections[0], sections[-1])
        sections = sections[:-1]
    return _full(kernel, handle, sections, content, torn, owners, found, want, plan)


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


def _common(kernel: Kernel, handle: Handle, identity: Section, torn: bool) -> dict[str, Any]:
    cookie, net, ifindex = identity["skc_cookie"], identity["skc_net"], identity["skc_bound_dev_if"]
    local, peer = endpoints(kernel, identity)
    return {
        "address": handle.address,
        "kind": handle.kind.name,
        "how": handle.how,
        "proved": handle.proved,
        "note": handle.note,
        "torn": torn,
        "family": _name(uapi.FAMILIES, identity["skc_family"]),
        # UNIX, NETLINK and the like keep TCP_* or SS_* numbers of their own in skc_state.
        "state": _name(uapi.TCP_STATES, identity["skc_state"]),
        "local": local,
        "peer": peer,
        "cookie": _NO_COOKIE if cookie == 0 else cookie,
        "netns": identity["netns"],
        "v6only": _v6only(identity),
        "ifindex": ifindex,
        "device": device_name(kernel, net, ifindex),
    }


def _name(names: dict[int, str], number: int | Absent) -> str | Absent:
    return number if isinstance(number, Absent) else uapi.name_of(names, number)


def _v6only(identity: Section) -> bool | Absent:
    bit = identity["skc_ipv6only"]
    if identity["skc_family"] != uapi.AF_INET6:
        return _NOT_V6
    return bit if isinstance(bit, Absent) else bool(bit)


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
    fields = _common(kernel, handle, identity, torn)
    family, protocol = identity["skc_family"], full["sk_protocol"]
    protocols = (
        uapi.NETLINK_PROTOCOLS if family == uapi.AF_NETLINK else uapi.PROTOCOLS if family in _INET else {}
    )
    own = rest[0] if rest else EMPTY
    if handle.kind.name == "tcp":
        fields["tcp"] = tcp_section(kernel, identity, own, plan.computed)
        if "cc" in want.parts:
            fields["cc"] = congestion_section(kernel, handle.address, own, content)
        if "timers" in want.parts:
            fields["timers"] = tcp_timers(kernel.clock(), own, rest[1])
    else:
        fields |= family_fields(kernel, handle.kind.name, Parts(handle.address, identity, full, sock, own))
    if owners is not None and "owners" in want.parts:
        fields["owners"] = owners.of(handle, full, _part_of(kernel, handle, own))
    return SocketRecord(
        **fields,
        type=_name(uapi.TYPES, full["sk_type"]),
        protocol=_name(protocols, protocol),
        inode=(full.get("inode", _NOT_WANTED) if full["sk_socket"] else _NO_INODE),
        uid=full["sk_uid"],
        mark=full["sk_mark"],
        cgroup=cgroup_path(kernel, full.get("cgroup", _NOT_WANTED)),
        sock=sock_section(kernel, sock),
        options=options,
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
        **fields,
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
