# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level SOL_SOCKET that are no settings but facts, operations, or other people's property."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.layout import Field, resolve
from sockcrash.kernel.options.codecs import INT, SWITCH, U64, Codec, choice, items, record, with_text
from sockcrash.kernel.options.origins import DEFAULT, kernel
from sockcrash.kernel.options.peername import PEERNAME_ROWS
from sockcrash.kernel.options.row import INET_KINDS, Option, absent, field, no_trace
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

MAX_GROUPS = 65536  # NGROUPS_MAX
_CALL = absent("a call that does something, not a value")


def _sock(*paths: str, name: str = "") -> Field:
    return field("sock", *paths, name=name)


def _fact(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("SOL_SOCKET", name, number, codec, fields, origin=kernel, **more)


def _gone(name: str, number: int, why: str, **more: Any) -> Option:
    return _fact(name, number, INT, **no_trace(why), **more)


# SO_MEMINFO: sk_get_meminfo()
_MEMINFO = (
    "rmem_alloc", "rcvbuf", "wmem_alloc", "sndbuf", "fwd_alloc", "wmem_queued", "optmem", "backlog", "drops",
)  # fmt: skip
_MEMORY = (
    _sock("sk_backlog.rmem_alloc.counter", name="rmem_alloc"),
    _sock("sk_rcvbuf"),
    _sock("sk_wmem_alloc.refs.counter", name="wmem_alloc"),
    _sock("sk_sndbuf"),
    _sock("sk_forward_alloc"),
    _sock("sk_wmem_queued"),
    _sock("sk_omem_alloc.counter", name="omem_alloc"),
    _sock("sk_backlog.len"),
    _sock("sk_drops.counter", name="sk_drops"),
    # sk_drops_read(): some sockets of v6.18 count in a pair of counters.
    _sock("sk_drop_counters->drops0.counter", name="drops0"),
    _sock("sk_drop_counters->drops1.counter", name="drops1"),
)
# mptcp_forward_alloc_get(), until v6.14 or so
_RMEM_FWD_ALLOC = field("mptcp_sock", "rmem_fwd_alloc")


def _meminfo(_context: Context, *members: Any) -> Any:
    *first, drops, drops0, drops1 = members[:11]
    lost = next((value for value in (*first, drops) if isinstance(value, Absent)), None)
    if lost is not None:
        return lost
    if isinstance(drops0, int) and isinstance(drops1, int):
        drops = drops0 + drops1
    values = [*first, drops]
    values[2] -= 1
    if len(members) > 11 and isinstance(members[11], int):
        values[4] += members[11]
    return {name: value & 0xFFFFFFFF for name, value in zip(_MEMINFO, values, strict=True)}


def _meminfo_text(value: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items())


# SO_PEERCRED, SO_PEERGROUPS: as seen from the initial PID and user namespaces.
_PEER = (
    _sock("sk_peer_pid->numbers[0].nr", name="peer_pid"),
    _sock("sk_peer_cred->euid.val", name="peer_euid"),
    _sock("sk_peer_cred->egid.val", name="peer_egid"),
)
_GROUP_INFO = _sock("sk_peer_cred->group_info", name="peer_group_info")


def _peercred(_context: Context, pid: Any, uid: Any, gid: Any) -> dict[str, int]:
    nobody = 0xFFFFFFFF
    return {
        "pid": pid if isinstance(pid, int) else 0,
        "uid": uid if isinstance(uid, int) else nobody,
        "gid": gid if isinstance(gid, int) else nobody,
    }


def _peercred_text(value: dict[str, int]) -> str:
    return f"pid {value['pid']}, uid {value['uid']}, gid {value['gid']}" if value["pid"] else "none"


def _peergroups(context: Context, pointer: Any) -> Any:
    if not isinstance(pointer, int):
        return absent("ENODATA: no peer")
    try:
        kernel_ = context.kernel
        (_, count_at, _), (_, gids_at, _) = (
            resolve(kernel_.prog, "struct group_info", member) for member in ("ngroups", "gid")
        )
        (count,) = struct.unpack(kernel_.byte_order + "i", kernel_.read(pointer + count_at.offset, 4))
        if not 0 <= count <= MAX_GROUPS:
            return Absent(Reason.UNREADABLE, f"{count} groups can't be right")
        raw = kernel_.read(pointer + gids_at.offset, 4 * count)
        return list(struct.unpack(f"{kernel_.byte_order}{count}I", raw))
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)


def _napi_id(context: Context, value: int) -> int:
    """napi_id_valid(): identifiers start above NR_CPUS, of which struct cpumask has that many bits."""
    _, mask, _ = resolve(context.kernel.prog, "struct cpumask", "bits")
    return value if value > mask.size * mask.count * 8 else 0


def _error_text(value: int) -> str:
    return uapi.error_name(value) if value else "none"


def _cookie(_context: Context, value: int) -> Any:
    return value or Absent(Reason.NOT_ASSIGNED, "nobody has asked for it yet; the call would make one")


ROWS = (
    _fact("SO_TYPE", 3, choice(uapi.TYPES), _sock("sk_type")),
    # The call clears it: sock_error() and xchg(&sk->sk_err_soft, 0).
    _fact("SO_ERROR", 4, with_text(INT, _error_text), _sock("sk_err"), _sock("sk_err_soft"), value=lambda _c, hard,
        soft: hard or soft),
    _fact(
        "SO_PEERCRED", 17, record("III", ("pid", "uid", "gid"), _peercred_text), *_PEER, value=_peercred, lenient=True
    ),
    _gone("SO_DETACH_FILTER", 27, _CALL.detail),
    *PEERNAME_ROWS,
    _fact("SO_ACCEPTCONN", 30, SWITCH, _sock("__sk_common.skc_state"), value=lambda _c,
        state: int(state == uapi.LISTEN)),
    _gone("SO_PEERSEC", 31, "kept by the security module in a form of its own"),
    _fact("SO_PROTOCOL", 38, INT, _sock("sk_protocol"), text=lambda context, value, *_: _protocol(context, value)),
    _fact("SO_DOMAIN", 39, choice(uapi.FAMILIES), _sock("__sk_common.skc_family")),
    # SKF_AD_MAX of include/uapi/linux/filter.h
    Option("SOL_SOCKET", "SO_BPF_EXTENSIONS", 48, INT, (), lambda _context: 64, default=64,
        origin=lambda *_: DEFAULT),
    _gone("SO_CNX_ADVICE", 53, _CALL.detail),
    *(
        _fact(
            "SO_MEMINFO", 55, record("9I", _MEMINFO, _meminfo_text), *_MEMORY, *more, value=_meminfo, lenient=True,
            kinds=kinds
        )
        for kinds, more in (
            (("mptcp",), (_RMEM_FWD_ALLOC,)),
            ((*INET_KINDS, "unix", "packet", "netlink", "vsock", "xdp", "other"), ()),
        )
    ),
    _fact("SO_INCOMING_NAPI_ID", 56, INT, _sock("sk_napi_id"), value=_napi_id),
    _fact("SO_COOKIE", 57, with_text(U64, hex), _sock("__sk_common.skc_cookie.counter"), value=_cookie),
    _fact(
        "SO_PEERGROUPS", 59, items("I", lambda value: ", ".join(map(str, value)) or "none"), _GROUP_INFO,
        value=_peergroups,
        lenient=True, fresh=True,
    ),
    _gone("SO_DETACH_REUSEPORT_BPF", 68, _CALL.detail),
    # e8b9eab99232 (v5.14); before v5.12 the member is an atomic64_t that is filled when someone asks. It never changes
    # in a namespace since.
    _fact(
        "SO_NETNS_COOKIE", 71, U64,
        field("sock", "__sk_common.skc_net.net->net_cookie", name="net_cookie", shared=True),
        given=(_sock("sk_bind_phc"),),
        value=lambda _context, value: value if isinstance(value, int) else absent("not in this kernel",
            Reason.NOT_IN_KERNEL),
    ),
    _gone("SO_PEERPIDFD", 77, "the call makes a descriptor; SO_PEERCRED has the pid"),
    _gone("SO_DEVMEM_DONTNEED", 80, _CALL.detail),
)  # fmt: skip


def _protocol(context: Context, value: int) -> str:
    if context.family == uapi.AF_NETLINK:
        return uapi.name_of(uapi.NETLINK_PROTOCOLS, value)
    inet = context.family in (uapi.AF_INET, uapi.AF_INET6)
    return uapi.name_of(uapi.PROTOCOLS, value) if inet else str(value)
