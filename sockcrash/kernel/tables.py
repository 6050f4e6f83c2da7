# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets are in the kernel's tables: bounded, cycle-safe walks, each socket once.

A walk never raises on bad memory: what it could not follow is reported to ``complain`` and the walk goes on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.layout import Field, Group, Place

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("Found", "namespaces", "tcp_sockets")

Complain = Callable[[str], None]
# A chain longer than this is a cycle or garbage: the largest sane table has some thousand entries in one chain.
MAX_CHAIN = 1 << 20
MAX_BUCKETS = 1 << 24


@dataclass(frozen=True, slots=True)
class Found:
    """A socket object in a table; ``how`` names the table."""

    address: int
    how: str


_H = "struct inet_hashinfo"
_HASHINFO = Group(
    "inet_hashinfo",
    (
        Field("ehash", _H, (Place("ehash"),)),
        Field("ehash_mask", _H, (Place("ehash_mask"),)),
        Field("lhash2", _H, (Place("lhash2"),)),
        Field("lhash2_mask", _H, (Place("lhash2_mask"),)),
        Field("bhash", _H, (Place("bhash"),)),
        Field("bhash_size", _H, (Place("bhash_size"),)),
        Field("bhash2", _H, (Place("bhash2"),)),
    ),
)
# Which member links a socket into which list, and where the list heads are; bound as "offset of".
_NODES = Group(
    "table_nodes",
    (
        Field("ehash.node", "struct sock_common", (Place("skc_nulls_node"),)),
        # cae3873c5b3a ("net: inet: Retire port only listening_hash", v5.19) moved listeners from
        # icsk_listen_portaddr_node to skc_nulls_node.
        Field(
            "lhash2.node",
            "struct inet_connection_sock",
            (Place("icsk_listen_portaddr_node"), Place("icsk_inet.sk.__sk_common.skc_nulls_node")),
        ),
        Field("lhash2.head", "struct inet_listen_hashbucket", (Place("nulls_head"), Place("head"))),
        Field("ehash.head", "struct inet_ehash_bucket", (Place("chain"),)),
        Field("bhash.head", "struct inet_bind_hashbucket", (Place("chain"),)),
        Field("bhash.node", "struct inet_bind_bucket", (Place("node"),)),
        Field("bhash.owners", "struct inet_bind_bucket", (Place("owners"),)),
        Field("bhash.bhash2", "struct inet_bind_bucket", (Place("bhash2"),)),
        Field("bhash2.bhash_node", "struct inet_bind2_bucket", (Place("bhash_node"),)),
        Field("bhash2.owners", "struct inet_bind2_bucket", (Place("owners"),)),
        Field("owner.node", "struct sock_common", (Place("skc_bind_node"),)),
    ),
)
_DEATH_ROW = Group(
    "death_row", (Field("hashinfo", "struct net", (Place("ipv4.tcp_death_row.hashinfo"),), shared=True),)
)


def namespaces(kernel: Kernel) -> Iterator[int]:
    """Addresses of every ``struct net``, the initial one first (``net_namespace_list``)."""
    from drgn.helpers.linux.net import for_each_net

    seen: set[int] = set()
    for net in for_each_net(kernel.prog):
        address = net.value_()
        if address in seen or len(seen) >= MAX_CHAIN:
            return
        seen.add(address)
        yield address


def tcp_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """Every TCP object in ehash, the listeners' table and the bind tables, of every namespace, once each.

    net/ipv4/inet_hashtables.c: namespaces share one ``struct inet_hashinfo`` unless they have an ehash of their own.
    """
    seen: set[int] = set()
    for how, walk, table, count in _tcp_tables(kernel, complain):
        for address in walk(kernel, table, count, complain):
            if address not in seen:
                seen.add(address)
                yield Found(address, how)


Walk = Callable[["Kernel", int, int, Complain], Iterator[int]]


def _tcp_tables(kernel: Kernel, complain: Complain) -> list[tuple[str, Walk, int, int]]:
    """The distinct tables of all namespaces: what, how to walk it, its address, its number of buckets."""
    tables: dict[tuple[str, int], tuple[str, Walk, int, int]] = {}
    for net in namespaces(kernel):
        try:
            (row,) = kernel.reader(_DEATH_ROW).sections(net)
            (info,) = kernel.reader(_HASHINFO).sections(row["hashinfo"])
        except drgn.FaultError as error:
            complain(f"TCP tables of namespace {net:#x} are unreadable: {error}")
            continue
        for name, walk, size in (
            ("ehash", _walk_ehash, int(info["ehash_mask"]) + 1),
            ("lhash2", _walk_lhash2, int(info["lhash2_mask"]) + 1),
            ("bhash", _walk_bhash, int(info["bhash_size"])),
        ):
            tables.setdefault((name, info[name]), (name, walk, info[name], size))
    return list(tables.values())


def _offset(kernel: Kernel, name: str) -> int | None:
    return kernel.offsets(_NODES).get(name)


def _walk_ehash(kernel: Kernel, table: int, count: int, complain: Complain) -> Iterator[int]:
    heads = _heads(kernel, table, count, "struct inet_ehash_bucket", _offset(kernel, "ehash.head") or 0, complain)
    return _sockets_of(kernel, heads, _offset(kernel, "ehash.node") or 0, complain)


def _walk_lhash2(kernel: Kernel, table: int, count: int, complain: Complain) -> Iterator[int]:
    head = _offset(kernel, "lhash2.head") or 0
    heads = _heads(kernel, table, count, "struct inet_listen_hashbucket", head, complain)
    return _sockets_of(kernel, heads, _offset(kernel, "lhash2.node") or 0, complain)


def _walk_bhash(kernel: Kernel, table: int, count: int, complain: Complain) -> Iterator[int]:
    """Bound sockets by port: owners of each bucket, through the port-and-address buckets since v6.8 or so."""
    heads = _heads(kernel, table, count, "struct inet_bind_hashbucket", _offset(kernel, "bhash.head") or 0, complain)
    node = _offset(kernel, "bhash.node") or 0
    owner = _offset(kernel, "owner.node") or 0
    for bucket in _sockets_of(kernel, heads, node, complain):
        owners = _offset(kernel, "bhash.owners")
        if owners is not None:
            yield from chain(kernel, bucket + owners, owner, complain)
            continue
        second = _offset(kernel, "bhash.bhash2")
        if second is None:
            complain("the bind buckets of this kernel have neither owners nor bhash2")
            return
        for bucket2 in chain(kernel, bucket + second, _offset(kernel, "bhash2.bhash_node") or 0, complain):
            yield from chain(kernel, bucket2 + (_offset(kernel, "bhash2.owners") or 0), owner, complain)


def _heads(kernel: Kernel, table: int, count: int, ctype: str, offset: int, complain: Complain) -> list[int]:
    """The first pointer of every bucket, the whole table in one read."""
    stride = drgn.sizeof(kernel.prog.type(ctype))
    if not 0 < count <= MAX_BUCKETS:
        complain(f"a table of {count} {ctype} at {table:#x} can't be right: left out")
        return []
    try:
        raw = kernel.read(table, count * stride)
    except drgn.FaultError:
        return _heads_one_by_one(kernel, table, count, stride, offset, complain)
    unpack = struct.Struct(f"{kernel.byte_order}{offset}xQ{stride - offset - 8}x").iter_unpack
    return [pointer for (pointer,) in unpack(raw) if pointer and not pointer & 1]


def _heads_one_by_one(
    kernel: Kernel, table: int, count: int, stride: int, offset: int, complain: Complain
) -> list[int]:
    heads: list[int] = []
    lost = 0
    for start in range(0, count * stride, 4096 - 4096 % stride):
        length = min(4096 - 4096 % stride, count * stride - start)
        try:
            raw = kernel.read(table + start, length)
        except drgn.FaultError:
            lost += length // stride
            continue
        unpack = struct.Struct(f"{kernel.byte_order}{offset}xQ{stride - offset - 8}x").iter_unpack
        heads += [pointer for (pointer,) in unpack(raw) if pointer and not pointer & 1]
    complain(f"{lost} of {count} buckets of the table at {table:#x} are unreadable")
    return heads


def _sockets_of(kernel: Kernel, heads: list[int], node: int, complain: Complain) -> Iterator[int]:
    for first in heads:
        yield from _follow(kernel, first, node, complain)


def chain(kernel: Kernel, head: int, node: int, complain: Complain) -> Iterator[int]:
    """Objects on one ``hlist_head`` or ``hlist_nulls_head`` at ``head``; ``node`` is the link's offset in them."""
    try:
        (first,) = struct.unpack(kernel.byte_order + "Q", kernel.read(head, 8))
    except drgn.FaultError as error:
        complain(f"list head {head:#x} is unreadable: {error}")
        return
    yield from _follow(kernel, first, node, complain)


def _follow(kernel: Kernel, first: int, node: int, complain: Complain) -> Iterator[int]:
    unpack = struct.Struct(kernel.byte_order + "Q").unpack
    seen: set[int] = set()
    pointer = first
    while pointer and not pointer & 1:
        if pointer in seen or len(seen) >= MAX_CHAIN:
            complain(f"the list through {pointer:#x} runs in a circle: cut there")
            return
        seen.add(pointer)
        try:
            (following,) = unpack(kernel.read(pointer, 8))
        except drgn.FaultError as error:
            complain(f"the list through {pointer:#x} is unreadable: {error}")
            return
        yield pointer - node
        pointer = following
