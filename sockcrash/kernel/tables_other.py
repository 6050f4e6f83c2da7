# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets are in the tables of the families other than TCP.

A kernel that has no such table (an old one, a module that is not loaded) has nothing in it; one whose types are not
known says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.chains import Complain, Found, chain, chains, follow, heads, ring
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place
from sockcrash.kernel.mptcp import owner_of_subflow
from sockcrash.kernel.namespaces import namespaces
from sockcrash.kernel.rhashtable import entries
from sockcrash.kernel.tables_tcp import listeners
from sockcrash.model import Reason

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = (
    "array_sockets",
    "mptcp_sockets",
    "namespace_sockets",
    "netlink_sockets",
    "udp_sockets",
    "unix_sockets",
)

logger = logging.getLogger("sockcrash")

_UDP_TABLE = Group("udp_table", (row("hash", "struct udp_table"), row("mask", "struct udp_table")))
_UDP_OF_NET = Group(
    "udp_table_of_net",
    # 9804985bf27f ("udp: Introduce optional per-netns hash table.", v6.2)
    (row("udp_table", "struct net", Place("ipv4.udp_table", since="v6.2")),),
)
_UNIX_OF_NET = Group(
    "unix_table_of_net",
    # b6e811383062 ("af_unix: Define a per-netns hash table.", v6.0)
    (row("buckets", "struct net", Place("unx.table.buckets", since="v6.0")),),
)
# Links and list heads; bound as "offset of". hlist and hlist_nulls nodes share one place in sock_common.
_NODES = Group(
    "table_nodes",
    (
        row("sock.node", "struct sock_common", "skc_node"),
        row("sock.bind_node", "struct sock_common", "skc_bind_node"),
        row("udp.head", "struct udp_hslot", "head"),
        row("raw.lists", "struct raw_hashinfo", "ht"),
        row("ping.lists", "struct ping_table", "hash"),
        row("packet.list", "struct net", "packet.sklist"),
        row("xdp.list", "struct net", "xdp.list"),
        row("netlink.hash", "struct netlink_table", "hash"),
        row("netlink.subscribers", "struct netlink_table", "mc_list"),
        row("netlink.node", "struct netlink_sock", "node"),
        row("vsock.bound", "struct vsock_sock", "bound_table"),
        row("vsock.connected", "struct vsock_sock", "connected_table"),
        row("mptcp.head", "struct token_bucket", "msk_chain"),
    ),
)
_MAX_NETLINK_PROTOCOLS = 32  # MAX_LINKS, include/uapi/linux/netlink.h


@dataclass(frozen=True, slots=True)
class _Array:
    """A variable that is an array of lists, or a struct that holds one (``lists``, a row of ``_NODES``)."""

    how: str
    kind: str
    variable: str
    node: str
    lists: str = ""
    circular: bool = False


_ARRAYS = (
    _Array("raw", "raw", "raw_v4_hashinfo", "sock.node", "raw.lists"),
    _Array("raw", "raw", "raw_v6_hashinfo", "sock.node", "raw.lists"),
    _Array("ping", "ping", "ping_table", "sock.node", "ping.lists"),
    _Array("unix", "unix", "unix_socket_table", "sock.node"),
    _Array("vsock-bound", "vsock", "vsock_bind_table", "vsock.bound", circular=True),
    _Array("vsock-connected", "vsock", "vsock_connected_table", "vsock.connected", circular=True),
)
# Lists that every namespace has one of.
_OF_NET = (("packet", "packet.list"), ("xdp", "xdp.list"))


def _variable(kernel: Kernel, name: str) -> drgn.Object | None:
    try:
        return kernel.prog[name]
    except LookupError:
        return None


def _place(kernel: Kernel, name: str, complain: Complain) -> tuple[int, int] | None:
    """Offset and size of a row of ``_NODES``; None if this kernel has no such member or its type is not known."""
    bound = next(bound for bound in kernel.bounds(_NODES) if bound.field.name == name)
    if bound.spot is not None:
        return bound.spot.offset, bound.spot.size
    if bound.absent is not None and bound.absent.lost:
        say = complain if bound.absent.reason is Reason.UNREADABLE else partial(_say_once, kernel)
        say(f"sockets of one table are found by their descriptors only: {bound.absent.detail}")
    return None


def _say_once(kernel: Kernel, message: str) -> None:
    """Types that are not there are no fault of the memory: said, but nothing was unreadable."""
    said: set[str] = kernel.cache.setdefault("said", set())
    if message not in said:
        said.add(message)
        logger.warning("%s", message)


def array_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """RAW, PING and VSOCK sockets of every namespace, and UNIX ones before Linux 6.0."""
    for array in _ARRAYS:
        variable = _variable(kernel, array.variable)
        if variable is None:
            continue
        offset, size = 0, drgn.sizeof(variable.type_)
        if array.lists:
            inside = _place(kernel, array.lists, complain)
            if inside is None:
                continue
            offset, size = inside
        table = int(variable.address_ or 0) + offset
        for address in _of_array(kernel, array, table, size, complain):
            yield Found(address, array.how, (array.kind,))


def _of_array(kernel: Kernel, array: _Array, table: int, size: int, complain: Complain) -> Iterator[int]:
    if array.circular:
        lists = [head for head in range(table, table + size, 16) if any(ring(kernel, head, 0, complain))]
    else:
        lists = heads(kernel, table, size // 8, 8, 0, complain)
    node = _place(kernel, array.node, complain) if lists else None
    if node is None:
        return
    for start in lists:
        if array.circular:
            yield from ring(kernel, start, node[0], complain)
        else:
            yield from follow(kernel, start, node[0], complain)


def namespace_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """PACKET and XDP sockets."""
    node = kernel.offsets(_NODES)["sock.node"]
    for net in namespaces(kernel, complain):
        for how, name in _OF_NET:
            head = _place(kernel, name, complain)
            if head is not None:
                for address in chain(kernel, net + head[0], node, complain):
                    yield Found(address, how, (how,))


def unix_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """UNIX sockets since Linux 6.0, bound or not: two halves of buckets, each as large as ``bsd_socket_buckets``."""
    pathnames = _variable(kernel, "bsd_socket_buckets")
    if pathnames is None:
        return
    count = 2 * (pathnames.type_.length or 0)
    node = kernel.offsets(_NODES)["sock.node"]
    for table in _tables_of_nets(kernel, _UNIX_OF_NET, "buckets", complain):
        for address in chains(kernel, heads(kernel, table, count, 8, 0, complain), node, complain):
            yield Found(address, "unix", ("unix",))


def udp_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """UDP and UDP-Lite sockets that have a port; ``hash2`` and ``hash4`` hold the same ones by other keys."""
    tables = [("udp", table) for table in _tables_of_nets(kernel, _UDP_OF_NET, "udp_table", complain)]
    for how in ("udp", "udplite"):
        variable = _variable(kernel, f"{how}_table")
        if variable is not None and (how, variable.address_) not in tables:
            tables.append((how, int(variable.address_ or 0)))
    node = kernel.offsets(_NODES)["sock.node"]
    for how, table in tables:
        for address in chains(kernel, _udp_heads(kernel, table, complain), node, complain):
            yield Found(address, how, ("udp", "udplite"))


def _udp_heads(kernel: Kernel, table: int, complain: Complain) -> list[int]:
    try:
        (section,) = kernel.reader(_UDP_TABLE).sections(table)
    except drgn.FaultError as error:
        complain(f"the UDP table at {table:#x} is unreadable: {error}")
        return []
    stride = drgn.sizeof(kernel.prog.type("struct udp_hslot"))
    head = kernel.offsets(_NODES)["udp.head"]
    return heads(kernel, section["hash"], section["mask"] + 1, stride, head, complain)


def _tables_of_nets(kernel: Kernel, group: Group, name: str, complain: Complain) -> list[int]:
    """The distinct tables that a member of ``struct net`` points to; none if this kernel has no such member."""
    found: dict[int, None] = {}
    if name not in kernel.offsets(group):
        return []
    for net in namespaces(kernel, complain):
        try:
            (section,) = kernel.reader(group).sections(net)
        except drgn.FaultError as error:
            complain(f"namespace {net:#x} is unreadable: {error}")
            continue
        if section[name]:
            found[section[name]] = None
    return list(found)


def netlink_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """NETLINK sockets that are bound (those of the kernel, too) or subscribed to groups."""
    tables = _variable(kernel, "nl_table")
    if tables is None:
        return
    try:
        first = int(tables)
    except drgn.FaultError as error:
        complain(f"nl_table is unreadable: {error}")
        return
    nodes = kernel.offsets(_NODES)
    stride = drgn.sizeof(kernel.prog.type("struct netlink_table"))
    for table in range(first, first + _MAX_NETLINK_PROTOCOLS * stride, stride):
        bound = entries(kernel, table + nodes["netlink.hash"], nodes["netlink.node"], complain)
        yield from (Found(address, "netlink", ("netlink",)) for address in bound)
        subscribers = chain(kernel, table + nodes["netlink.subscribers"], nodes["sock.bind_node"], complain)
        yield from (Found(address, "netlink-groups", ("netlink",)) for address in subscribers)


def mptcp_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """MPTCP connections by their token, and listeners by the TCP socket that listens for them."""
    tables, mask = _variable(kernel, "token_hash"), _variable(kernel, "token_mask")
    head = _place(kernel, "mptcp.head", complain) if tables is not None else None
    if tables is None or mask is None or head is None:
        return
    try:
        table, count = int(tables), int(mask) + 1
    except drgn.FaultError as error:
        complain(f"token_hash is unreadable: {error}")
        return
    stride = drgn.sizeof(kernel.prog.type("struct token_bucket"))
    firsts = heads(kernel, table, count, stride, head[0], complain)
    for address in chains(kernel, firsts, kernel.offsets(_NODES)["sock.node"], complain):
        yield Found(address, "mptcp-token", ("mptcp",))
    for listener in listeners(kernel, complain):
        try:
            owner = owner_of_subflow(kernel, listener)
        except drgn.FaultError as error:
            complain(f"the listener at {listener:#x} is unreadable: {error}")
            continue
        if owner:
            yield Found(owner, "mptcp-listener", ("mptcp",))
