# SPDX-License-Identifier: LGPL-2.1-or-later
"""The counters of a network namespace, as /proc/net/snmp, netstat and snmp6 (and nstat) show them.

Their names stand in the kernel itself, in tables of struct snmp_mib (net/ipv4/proc.c, net/ipv6/proc.c,
net/mptcp/mib.c); the counters are percpu (include/net/snmp.h).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.names import address_of
from sockcrash.kernel.percpu import sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("counters",)

_N = "struct net"
_MIBS = Group(
    "netns_mib",
    (
        row("ip_statistics", _N, "mib.ip_statistics"),
        row("icmp_statistics", _N, "mib.icmp_statistics"),
        row("icmpmsg_statistics", _N, "mib.icmpmsg_statistics"),
        row("tcp_statistics", _N, "mib.tcp_statistics"),
        row("udp_statistics", _N, "mib.udp_statistics"),
        row("udplite_statistics", _N, "mib.udplite_statistics"),
        row("net_statistics", _N, "mib.net_statistics"),
        row("mptcp_statistics", _N, "mib.mptcp_statistics"),
        row("ipv6_statistics", _N, "mib.ipv6_statistics"),
        row("icmpv6_statistics", _N, "mib.icmpv6_statistics"),
        row("udp_stats_in6", _N, "mib.udp_stats_in6"),
        row("udplite_stats_in6", _N, "mib.udplite_stats_in6"),
        # What snmp shows before the counters of Ip.
        row("forwarding", _N, "ipv4.devconf_all->data[0]"),
        row("default_ttl", _N, "ipv4.sysctl_ip_default_ttl"),
    ),
)
# As the files call them: the table of names, and which counters they are of.
_TABLES = {
    "Ip": ("snmp4_ipstats_list", "ip_statistics"),
    "Tcp": ("snmp4_tcp_list", "tcp_statistics"),
    "Udp": ("snmp4_udp_list", "udp_statistics"),
    "UdpLite": ("snmp4_udp_list", "udplite_statistics"),
    "TcpExt": ("snmp4_net_list", "net_statistics"),
    "IpExt": ("snmp4_ipextstats_list", "ip_statistics"),
    "MPTcpExt": ("mptcp_snmp_list", "mptcp_statistics"),
    "Ip6": ("snmp6_ipstats_list", "ipv6_statistics"),
    "Icmp6": ("snmp6_icmp6_list", "icmpv6_statistics"),
    "Udp6": ("snmp6_udp6_list", "udp_stats_in6"),
    "UdpLite6": ("snmp6_udplite6_list", "udplite_stats_in6"),
}
_MIB = "struct snmp_mib"
_NAME = Group("snmp_mib", (row("name", _MIB), row("entry", _MIB)))
_ICMP = {
    "In": (("Msgs", "INMSGS"), ("Errors", "INERRORS"), ("CsumErrors", "CSUMERRORS")),
    "Out": (
        ("Msgs", "OUTMSGS"),
        ("Errors", "OUTERRORS"),
        ("RateLimitGlobal", "RATELIMITGLOBAL"),
        ("RateLimitHost", "RATELIMITHOST"),
    ),
}
_OUT_TYPES = 0x100  # icmpmsg_mib counts what goes out above what comes in
_MAX_NAMES = 1024
_MAX_NAME = 64

Counters = dict[str, dict[str, int]]


def counters(kernel: Kernel, net: int) -> Counters:
    """The counters of the ``struct net`` at ``net``: by the groups that the files have, then by name.

    A group that this kernel does not count is left out. Raises drgn.FaultError.
    """
    (mibs,) = kernel.reader(_MIBS).sections(net)
    found: Counters = {}
    for group, (table, member) in _TABLES.items():
        pointer = mibs[member]
        names = _names(kernel, table)
        if (
            names and pointer == 0
        ):  # allocated with the first MPTCP socket; mptcp_seq_show() says 0 until then
            found[group] = dict.fromkeys((name for name, _ in names), 0)
        elif names and isinstance(pointer, int):
            values = sums(kernel, pointer, "q", max(entry for _, entry in names) + 1)
            found[group] = {name: values[entry] for name, entry in names}
    if "Ip" in found:
        forwarding = 1 if mibs["forwarding"] == 1 else 2  # snmp_seq_show_ipstats
        found["Ip"] = {"Forwarding": forwarding, "DefaultTTL": mibs["default_ttl"], **found["Ip"]}
    size = 2 * _OUT_TYPES
    messages = struct.unpack(f"{kernel.byte_order}{size}q", kernel.read(mibs["icmpmsg_statistics"], size * 8))
    found["Icmp"] = _icmp(kernel, mibs["icmp_statistics"], messages)
    found["IcmpMsg"] = {
        f"{'Out' if number >= _OUT_TYPES else 'In'}Type{number % _OUT_TYPES}": count
        for number, count in enumerate(messages)
        if count
    }
    return found


def _names(kernel: Kernel, table: str) -> list[tuple[str, int]]:
    """The names in a table and the places of their counters; none if there is no such table."""
    known: dict[str, list[tuple[str, int]]] = kernel.cache.setdefault("mib_names", {})
    if table not in known:
        known[table] = list(_entries(kernel, table))
    return known[table]


def _entries(kernel: Kernel, table: str) -> Iterator[tuple[str, int]]:
    """Up to an entry without a name; without that before v6.18 ends where the next symbol begins."""
    address = address_of(kernel, table)
    if address is None:
        return
    end = address + min(kernel.prog.symbol(address).size, _MAX_NAMES * _stride(kernel))
    reader = kernel.reader(_NAME)
    while address + reader.size <= end:
        (section,) = reader.sections(address)
        if not section["name"]:
            return
        text = kernel.prog.read_c_string(section["name"], max_size=_MAX_NAME)
        yield text.decode("ascii", "backslashreplace"), section["entry"]
        address += _stride(kernel)


def _stride(kernel: Kernel) -> int:
    return int(drgn.sizeof(kernel.prog.type(_MIB)))


def _icmp(kernel: Kernel, percpu: int, messages: tuple[int, ...]) -> dict[str, int]:
    """What comes in and goes out, in all and by type of message (net/ipv4/proc.c, icmp_put)."""
    numbers = {name: _constant(kernel, f"ICMP_MIB_{name}") for way in _ICMP.values() for _, name in way}
    known = [number for number in numbers.values() if number is not None]
    values = sums(kernel, percpu, "q", max(known) + 1)
    found: dict[str, int] = {}
    for way, shift in (("In", 0), ("Out", _OUT_TYPES)):
        for name, constant in _ICMP[way]:
            number = numbers[constant]
            if number is not None:
                found[way + name] = values[number]
        for name, type_ in _names(kernel, "icmpmibmap"):
            found[way + name] = messages[type_ | shift]
    return found


def _constant(kernel: Kernel, name: str) -> int | None:
    try:
        return int(kernel.prog.constant(name))
    except LookupError:
        return None
