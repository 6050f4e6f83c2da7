# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every socket option as a row of data, and how the rows of one kind of socket are bound on a kernel.

A module for each level; what they share: row.py (what a row is), codecs.py (bytes and words), origins.py (who wrote
it), settings.py (sysctls), context.py (what functions of rows may look at).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sockcrash.kernel import uapi
from sockcrash.kernel.layout import Bound, Field, Group, bind
from sockcrash.kernel.once import once
from sockcrash.kernel.options import (
    datagram,
    ip,
    ipv6,
    mptcp,
    netlink,
    packet,
    programs,
    raw,
    routers,
    sol_socket,
    sol_socket_facts,
    tcp,
    timestamps,
    tls,
    vsock,
    xdp,
)
from sockcrash.kernel.options.origins import kernel as kernel_writes
from sockcrash.kernel.options.row import EVERY_KIND, LEVELS, Option, field
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sockcrash.kernel.view import Kernel

__all__ = (
    "LEVELS", "LEVEL_ORDER", "OBSOLETE_PACKET", "ROWS", "SMC", "STREAM", "BoundOption", "answers", "bound_options",
    "deciding", "first_subflow_options", "handed_on", "index_of", "option_group",
)  # fmt: skip

_MODULES = (
    *(sol_socket, timestamps, programs, sol_socket_facts, tcp, ip, ipv6, datagram, raw, routers),
    *(mptcp, tls, packet, netlink, vsock, xdp),
)
ROWS: tuple[Option, ...] = tuple(
    sorted(
        (row for module in _MODULES for row in module.ROWS),
        key=lambda row: (list(LEVELS).index(row.level), row.number),
    )
)
"""Ordered by level and number; an option has several rows where kinds of socket differ."""

LEVEL_ORDER = {level: number for number, level in enumerate(LEVELS)}
_V6_ONLY = ("IPPROTO_IPV6", "IPPROTO_ICMPV6")
_NAMED = 3
# Members that hardly two sockets have alike.
_LIVELY = {
    "__sk_common.skc_cookie.counter", "rcv_nxt", "rmem_alloc", "sk_rcvbuf", "sk_sndbuf", "sk.__sk_common.skc_dport",
    "mss_cache", "window_clamp", "write_seq", "rcv_wup", "sk_dst_cache", "tsoffset", "__sk_common.skc_num",
}  # fmt: skip
_NOT_GIVEN = Absent(Reason.NOT_IN_KERNEL, "getsockopt of this kernel does not return it")


@dataclass(frozen=True, slots=True)
class BoundOption:
    """A row on one kernel: ``inputs(values of the kind's group)`` are its fields and marks, at ``places``.

    ``lively`` rows have members that change with every packet.
    ``member`` names the first members of its value as they were bound. ``lost`` is why the kernel has none of it.
    ``raw`` is why getsockopt's bytes are not shown.
    """

    row: Option
    places: tuple[int, ...]
    inputs: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    lively: bool
    member: str | None
    lost: Absent | None
    raw: Absent | None


def answers(row: Option, kind: str, family: int, variant: str) -> bool:
    """Whether sockets of that kind, family and variant (see Context) answer a row.

    ipv6_getsockopt() hands level IPPROTO_IP on, but not for RAW sockets; mptcp_getsockopt() never looks at the family.
    smc_getsockopt() asks a TCP socket of its own.
    """
    if row.level == "SOL_TLS":
        return variant == "tls"
    if row.level == "SOL_PACKET":
        return variant != OBSOLETE_PACKET
    if kind == "inet" and (
        (variant == SMC and row.level != "SOL_SOCKET") or (variant != STREAM and row.name in _OF_STREAMS)
    ):
        return False
    if row.level in _V6_ONLY:
        return family == uapi.AF_INET6 or kind == "mptcp"
    if row.level == "IPPROTO_IP" and kind == "raw":
        return family == uapi.AF_INET
    return not row.families or family in row.families


# What decides which rows a socket has, and what they may say.
_DECIDING: dict[str, tuple[Field, ...]] = {
    "tcp": (
        # Facts of the SYN, in accepted sockets only: no stream socket can set them (tcp_v4_syn_recv_sock and its kin).
        field("inet_sock", "mc_index"),
        field("inet_sock", "pinet6->mcast_oif"),
        tcp.ULP_NAME,
    ),
    "mptcp": mptcp.FIRST,
    "packet": (field("sock", "sk_type"),),
    "inet": (field("sock", "sk_type"), field("sock", "sk_protocol")),
    "unix": (field("unix_sock", "addr"),),
    "vsock": (field("vsock_sock", "local_addr.svm_port"), field("vsock_sock", "local_addr.svm_cid")),
}
OBSOLETE_PACKET, STREAM, SMC = "SOCK_PACKET", "SOCK_STREAM", "IPPROTO_SMC"
_OF_STREAMS = ("IP_PKTOPTIONS", "IPV6_2292PKTOPTIONS")


def deciding(kernel: Kernel, kind: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Of the values of the kind's group: tcp: mc_index, mcast_oif, name of the ULP. mptcp: the first subflow, flags.
    packet: sk_type. inet: that and sk_protocol. unix: addr. vsock: port and context. Others: nothing."""
    memo: dict[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = kernel.cache.setdefault("deciding", {})
    if kind not in memo:
        index, names = index_of(kernel, kind), _GROUPS[kind][1]
        memo[kind] = _picker([index[names[one]] for one in _DECIDING.get(kind, ())])
    return memo[kind](values)


# What accept(2) hands on where the child is no copy of the listener: unix_sock_inherit_flags(), or sk_scm_recv_flags
# (v6.16); __vsock_create().
_HANDED_ON = {
    "unix": ("SO_PASSCRED", "SO_PASSSEC", "SO_PASSPIDFD", "SO_PASSRIGHTS"),
    "vsock": (
        "SO_VM_SOCKETS_BUFFER_SIZE", "SO_VM_SOCKETS_BUFFER_MIN_SIZE", "SO_VM_SOCKETS_BUFFER_MAX_SIZE",
        "SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD", "SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW",
    ),
}  # fmt: skip


@cache
def handed_on(kind: str) -> frozenset[tuple[str, str]]:
    """Level and name of what an accepted socket of a kind has from its listener; of options that nobody sets, none."""
    if kind in ("tcp", "mptcp"):
        return frozenset(
            (row.level, row.name) for row in ROWS if row.inherited and row.origin is not kernel_writes
        )
    return frozenset((row.level, row.name) for row in _rows(kind) if row.name in _HANDED_ON.get(kind, ()))


def _rows(kind: str) -> Iterator[Option]:
    return (row for row in ROWS if kind in row.kinds)


def _make_group(kind: str) -> tuple[Group, dict[Field, str]]:
    """The fields of all rows of a kind, each once, under names of their own."""
    names: dict[Field, str] = {}
    fields: list[Field] = []
    wanted = [one for row in _rows(kind) for one in (*row.fields, *row.marks)]
    for number, one in enumerate(dict.fromkeys((*_DECIDING.get(kind, ()), *wanted))):
        prefix = f"{number}:"
        converts = tuple(dataclasses.replace(convert, name=prefix + convert.name) for convert in one.converts)
        fields.append(dataclasses.replace(one, name=prefix + one.name, converts=converts))
        names[one] = (converts or (fields[-1],))[0].name
    return Group(f"options of {kind}", tuple(fields)), names


_GROUPS = {kind: _make_group(kind) for kind in EVERY_KIND}


def option_group(kind: str) -> Group:
    """All fields that the options of a kind of socket are made of: one section of its struct."""
    return _GROUPS[kind][0]


def index_of(kernel: Kernel, kind: str) -> Mapping[str, int]:
    """Where a reader puts the names of ``option_group(kind)``, whatever other groups it reads."""
    return kernel.reader(option_group(kind)).indexes[0]


def bound_options(kernel: Kernel, kind: str) -> tuple[BoundOption, ...]:
    """The rows of a kind on this kernel; bound once."""
    memo: dict[str, tuple[BoundOption, ...]] = kernel.cache.setdefault("bound_options", {})
    if kind not in memo:
        group, names = _GROUPS[kind]
        index = index_of(kernel, kind)
        bounds = dict(zip((one.name for one in group.fields), kernel.bounds(group), strict=True))
        by_field = {one: bounds[_plain(name, bounds)] for one, name in names.items()}
        memo[kind] = tuple(_bind(kernel, row, index, names, by_field) for row in _rows(kind))
    return memo[kind]


@once
def first_subflow_options(kernel: Kernel) -> frozenset[str]:
    """The names of TCP options that an MPTCP socket of this kernel answers for its first subflow."""
    rows = mptcp.OF_FIRST_SUBFLOW.items()
    return frozenset(name for name, given in rows if all(bind(kernel.prog, one).spot for one in given))


def _plain(name: str, bounds: dict[str, Bound]) -> str:
    """The name of the field behind the name of its converted value."""
    if name in bounds:
        return name
    number = name.split(":", 1)[0] + ":"
    return next(other for other in bounds if other.startswith(number))


def _bind(
    kernel: Kernel, row: Option, index: Mapping[str, int], names: dict[Field, str], bounds: dict[Field, Bound]
) -> BoundOption:
    found = [bounds[one] for one in row.fields]
    lost = next((bound.absent for bound in found if bound.absent), None)
    if row.lenient and found and any(bound.spot for bound in found):
        lost = None
    given = all(bind(kernel.prog, one).spot for one in row.given)
    raw = row.raw if row.raw is not None or given else _NOT_GIVEN
    if not given and not row.fields:
        lost = _NOT_GIVEN
    places = [index[names[one]] for one in (*row.fields, *row.marks)]
    lively = any(one.name in _LIVELY for one in (*row.fields, *row.marks))
    return BoundOption(row, tuple(places), _picker(places), lively, _members(found), lost, raw)


def _picker(places: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    if not places:
        return lambda _values: ()
    if len(places) == 1:
        only = places[0]
        return lambda values: (values[only],)
    return itemgetter(*places)


def _members(bounds: list[Bound]) -> str | None:
    """``tcp_sock.nonagle``, ``sock.__sk_common.skc_flags bit SOCK_DBG``; None if this kernel has none of them."""
    names = []
    for bound in bounds:
        if bound.place is not None:
            bit = "" if bound.place.bit is None else f" bit {bound.place.bit}"
            names.append(f"{bound.field.ctype.removeprefix('struct ')}.{bound.place.path}{bit}")
    names = list(dict.fromkeys(names))
    return ", ".join([*names[:_NAMED], "..."] if len(names) > _NAMED else names) or None
