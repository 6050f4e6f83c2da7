# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which TCP objects are in the kernel's tables (net/ipv4/inet_hashtables.c), and which MPTCP listeners behind them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.chains import Complain, Found, chains, heads, lists, objects
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, Place
from sockcrash.kernel.namespaces import namespaces

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("listeners", "tcp_sockets")

_KINDS = ("tcp", "tcp-timewait", "tcp-request")
_H = "struct inet_hashinfo"
_HASHINFO = Group(
    "inet_hashinfo",
    (
        row("ehash", _H),
        row("ehash_mask", _H),
        row("lhash2", _H),
        row("lhash2_mask", _H),
        row("bhash", _H),
        row("bhash_size", _H),
    ),
)
# Which member links a socket into which list, and where the list heads are; bound as "offset of".
_NODES = Group(
    "tcp_table_nodes",
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
_DEATH_ROW = Group("death_row", (row("hashinfo", "struct net", "ipv4.tcp_death_row.hashinfo"),))

# The largest object of these tables: a TCP socket with its part for IPv6 behind it.
_LARGEST = "struct tcp6_sock"

# Addresses and what was read with them, of a table at an address with some buckets. The last argument has links in
# lists of the owners of a port that were read on the way, with the ones that follow them.
Walk = Callable[["Kernel", int, int, Complain, dict[int, int]], Iterator[tuple[int, bytes | None]]]


# Found(*values): its constructor is a function in Python, and there may be very many.
_found: Callable[[tuple[int, str, tuple[str, ...], bytes | None]], Found] = partial(tuple.__new__, Found)


def tcp_sockets(kernel: Kernel, complain: Complain) -> Iterator[Found]:
    """TCP objects in ehash, the listeners' table and the bind tables of every namespace; some are in two of them."""
    owners: dict[int, int] = {}
    owner = _offset(kernel, "owner.node") or 0
    unpack = struct.Struct(f"{kernel.byte_order}{owner}xQ").unpack_from
    for how, walk, table, count in _tables(kernel, complain):
        for address, content in walk(kernel, table, count, complain, owners):
            if content is not None:
                (owners[address + owner],) = unpack(content)
            yield _found((address, how, _KINDS, content))


def listeners(kernel: Kernel, complain: Complain) -> Iterator[int]:
    """The listening TCP sockets of every namespace."""
    for _, walk, table, count in _tables(kernel, complain):
        if walk is _lhash2:
            yield from (address for address, _ in walk(kernel, table, count, complain, {}))


def _tables(kernel: Kernel, complain: Complain) -> list[tuple[str, Walk, int, int]]:
    """The distinct tables of all namespaces: what, how to walk it, its address, its number of buckets.

    Namespaces share one ``struct inet_hashinfo``, unless they have a copy of it with an ehash of their own.
    """
    tables: dict[tuple[str, int], tuple[str, Walk, int, int]] = {}
    for net in namespaces(kernel, complain):
        try:
            (found,) = kernel.reader(_DEATH_ROW).sections(net)
            (info,) = kernel.reader(_HASHINFO).sections(found["hashinfo"])
        except drgn.FaultError as error:
            complain(f"the TCP tables of namespace {net:#x} are unreadable: {error}")
            continue
        for name, walk, size in (
            ("ehash", _ehash, int(info["ehash_mask"]) + 1),
            ("lhash2", _lhash2, int(info["lhash2_mask"]) + 1),
            ("bhash", _bhash, int(info["bhash_size"])),
        ):
            tables.setdefault((name, info[name]), (name, walk, info[name], size))
    return list(tables.values())


def _offset(kernel: Kernel, name: str) -> int | None:
    return kernel.offsets(_NODES).get(name)


def _ehash(
    kernel: Kernel, table: int, count: int, complain: Complain, _owners: dict[int, int]
) -> Iterator[tuple[int, bytes | None]]:
    firsts = _heads(kernel, table, count, "struct inet_ehash_bucket", "ehash.head", complain)
    return _whole(kernel, firsts, _offset(kernel, "ehash.node") or 0, complain)


def _lhash2(
    kernel: Kernel, table: int, count: int, complain: Complain, _owners: dict[int, int]
) -> Iterator[tuple[int, bytes | None]]:
    firsts = _heads(kernel, table, count, "struct inet_listen_hashbucket", "lhash2.head", complain)
    return _whole(kernel, firsts, _offset(kernel, "lhash2.node") or 0, complain)


def _whole(
    kernel: Kernel, firsts: list[int], node: int, complain: Complain
) -> Iterator[tuple[int, bytes | None]]:
    """Objects with as many bytes as the largest has; of one that is shorter, what follows it is read too."""
    return objects(kernel, firsts, node, drgn.sizeof(kernel.prog.type(_LARGEST)), complain)


def _bhash(
    kernel: Kernel, table: int, count: int, complain: Complain, owners: dict[int, int]
) -> Iterator[tuple[int, bytes | None]]:
    """Bound sockets by port: owners of each bucket, through the port-and-address buckets since v6.8 or so.

    Most of them are in the other tables too, so only the links are read; what was read before is left out.
    """
    return ((address, None) for address in _bound(kernel, table, count, complain, owners))


def _bound(
    kernel: Kernel, table: int, count: int, complain: Complain, owners: dict[int, int]
) -> Iterator[int]:
    firsts = _heads(kernel, table, count, "struct inet_bind_hashbucket", "bhash.head", complain)
    buckets = chains(kernel, firsts, _offset(kernel, "bhash.node") or 0, complain)
    head = _offset(kernel, "bhash.owners")
    if head is None:
        second, head = _offset(kernel, "bhash.bhash2"), _offset(kernel, "bhash2.owners")
        if second is None or head is None:
            complain("the bind buckets of this kernel have neither owners nor bhash2")
            return
        heads_of_second = (bucket + second for bucket in buckets)
        buckets = lists(kernel, heads_of_second, _offset(kernel, "bhash2.bhash_node") or 0, complain)
    node = _offset(kernel, "owner.node") or 0
    yield from lists(kernel, (bucket + head for bucket in buckets), node, complain, owners)


def _heads(kernel: Kernel, table: int, count: int, ctype: str, head: str, complain: Complain) -> list[int]:
    stride = drgn.sizeof(kernel.prog.type(ctype))
    return heads(kernel, table, count, stride, _offset(kernel, head) or 0, complain)
