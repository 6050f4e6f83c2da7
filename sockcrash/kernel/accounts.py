# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many sockets there are and what memory they may take, as the kernel counts them (net/ipv4/proc.c, sockstat)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place
from sockcrash.kernel.names import address_of
from sockcrash.kernel.once import once
from sockcrash.kernel.percpu import percpu_counter, sums
from sockcrash.model.overview import Counts, ProtocolMemory

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("PROTOCOLS", "memory", "namespace", "orphans")

_P = "struct proto"
_PROTO = Group(
    "proto_accounts",
    (
        row("inuse_idx", _P),
        row("memory_allocated", _P, "memory_allocated->counter"),
        row("memory_pressure", _P),
        row("sysctl_mem", _P),
        row("sockets_allocated", _P),
    ),
)
# "tcp: switch orphan_count to bare per-cpu counters" (v5.16, and stable kernels): a struct percpu_counter before.
_ORPHANS = Group("proto_orphans", (row("orphan_count", _P),))
_COUNTED_ORPHANS = Group("proto_orphan_counter", (row("count", _P, "orphan_count->count"),))
_N = "struct net"
_NET = Group(
    "net_accounts",
    (
        row("prot_inuse", _N, "core.prot_inuse"),
        # "net: merge net->core.prot_inuse and net->core.sock_inuse" (v5.17)
        row("sock_inuse", _N, "core.sock_inuse"),
        row("tw_refcount", _N, Place("ipv4.tcp_death_row.tw_refcount.refs.counter", since="v6.1"),
            Place("ipv4.tcp_death_row->tw_refcount.refs.counter", since="v5.19")),
        row("tw_count", _N, "ipv4.tcp_death_row.tw_count.counter", "ipv4.tcp_death_row->tw_count.counter"),
        row("max_tw_buckets", _N, "ipv4.tcp_death_row.sysctl_max_tw_buckets",
            "ipv4.tcp_death_row->sysctl_max_tw_buckets"),
        row("frags", _N, "ipv4.fqdir->rhashtable.nelems.counter"),
        row("frags_memory", _N, "ipv4.fqdir->mem.counter"),
        row("frags6", _N, "ipv6.fqdir->rhashtable.nelems.counter"),
        row("frags6_memory", _N, "ipv6.fqdir->mem.counter"),
        # Newer kernels keep both ends in one number, the last port in its upper half.
        row("first_port", _N, "ipv4.ip_local_ports.range[0]"),
        row("last_port", _N, "ipv4.ip_local_ports.range[1]"),
        row("ports", _N, "ipv4.ip_local_ports.range"),
    ),
)  # fmt: skip
_INUSE = Group("prot_inuse", (row("all", "struct prot_inuse"), row("val", "struct prot_inuse")))

# Those whose memory is accounted.
PROTOCOLS = ("TCP", "UDP")
# As sockstat and sockstat6 name them.
_PROTOS = {
    "TCP": "tcp_prot", "UDP": "udp_prot", "UDPLITE": "udplite_prot", "RAW": "raw_prot",
    "TCP6": "tcpv6_prot", "UDP6": "udpv6_prot", "UDPLITE6": "udplitev6_prot", "RAW6": "rawv6_prot",
}  # fmt: skip


def memory(kernel: Kernel, protocol: str) -> ProtocolMemory | None:
    """The accounts of ``TCP`` or ``UDP``; None if the kernel has no such protocol. Raises drgn.FaultError."""
    proto = address_of(kernel, _PROTOS[protocol])
    if proto is None:
        return None
    (section,) = kernel.reader(_PROTO).sections(proto)
    limits = struct.unpack(f"{kernel.byte_order}3q", kernel.read(section["sysctl_mem"], 24))
    pressure, sockets = section["memory_pressure"], section["sockets_allocated"]
    return ProtocolMemory(
        protocol.lower(),
        max(0, section["memory_allocated"]),
        limits,
        any(kernel.read(pressure, 8)) if pressure else None,
        percpu_counter(kernel, sockets) if sockets else None,
    )


def orphans(kernel: Kernel) -> tuple[int, int]:
    """TCP sockets that their processes have closed and the kernel finishes, and how many there may be.

    Raises drgn.FaultError or LookupError.
    """
    limit = int(kernel.prog["sysctl_tcp_max_orphans"])
    if kernel.offsets(_COUNTED_ORPHANS):
        (section,) = kernel.reader(_ORPHANS).sections(kernel.prog.symbol("tcp_prot").address)
        return percpu_counter(kernel, section["orphan_count"]), limit
    (count,) = sums(kernel, kernel.prog.symbol("tcp_orphan_count").address, "i", 1)
    return max(0, count), limit


def namespace(kernel: Kernel, net: int) -> Counts:
    """The accounts of the ``struct net`` at ``net``. Raises drgn.FaultError."""
    (section,) = kernel.reader(_NET).sections(net)
    counted = sums(
        kernel, section["prot_inuse"], "i", drgn.sizeof(kernel.prog.type("struct prot_inuse")) // 4
    )
    places = kernel.offsets(_INUSE)
    if "all" in places:
        used = counted[places["all"] // 4]
    else:
        (used,) = sums(kernel, section["sock_inuse"], "i", 1)
    inuse = {name: max(0, counted[places["val"] // 4 + index]) for name, index in _indexes(kernel).items()}
    # tw_refcount counts from 1, for the namespace itself.
    time_wait = section["tw_refcount"] - 1 if isinstance(section["tw_refcount"], int) else section["tw_count"]
    first, last = section["first_port"], section["last_port"]
    if not isinstance(first, int):
        first, last = section["ports"] & 0xFFFF, section["ports"] >> 16
    return Counts(
        net == kernel.prog["init_net"].address_,
        max(0, used),
        inuse,
        time_wait,
        section["max_tw_buckets"],
        (section["frags"], section["frags_memory"]),
        (section["frags6"], section["frags6_memory"]),
        first,
        last,
    )


@once
def _indexes(kernel: Kernel) -> dict[str, int]:
    """Where the sockets of each protocol that this kernel has are counted."""
    found: dict[str, int] = {}
    for name, variable in _PROTOS.items():
        address = address_of(kernel, variable)
        if address is not None:
            (section,) = kernel.reader(_PROTO).sections(address)
            found[name] = section["inuse_idx"]
    return found
