# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets the protocols keep for answers of their own (resets, ICMP errors, neighbour discovery)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.names import address_of
from sockcrash.kernel.namespaces import namespaces
from sockcrash.kernel.once import once
from sockcrash.kernel.percpu import pointers_of

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("control_sockets",)

# Sockets that every namespace keeps for its own answers: struct net has them, or a variable for each CPU.
_OF_NET = Group(
    "net_control_sockets",
    (
        row("neighbour discovery", "struct net", "ipv6.ndisc_sk"),
        row("multicast listener discovery", "struct net", "ipv6.igmp_sk"),
        row("automatic multicast joins", "struct net", "ipv4.mc_autojoin_sk"),
        row("automatic IPv6 multicast joins", "struct net", "ipv6.mc_autojoin_sk"),
        # "ipv4/tcp: do not use per netns ctl sockets" (v5.19) has one for each CPU instead.
        row("TCP resets over IPv6", "struct net", "ipv6.tcp_sk"),
    ),
)
_BY_CPU = {"ICMP": "ipv4_icmp_sk", "ICMPv6": "ipv6_icmp_sk", "TCP resets": "ipv4_tcp_sk"}
_BY_CPU_OF_NET = Group(
    "net_control_sockets_by_cpu",
    (
        row("ICMP", "struct net", "ipv4.icmp_sk"),
        row("ICMPv6", "struct net", "ipv6.icmp_sk"),
        row("TCP resets", "struct net", "ipv4.tcp_sk"),
    ),
)


@once
def control_sockets(kernel: Kernel) -> dict[int, str]:
    """The sockets that the protocols keep for answers of their own, of all namespaces."""
    found: dict[int, str] = {}
    trouble: list[str] = []
    for net in namespaces(kernel, trouble.append):
        (one, by_cpu) = kernel.reader(_OF_NET, _BY_CPU_OF_NET).sections(net)
        found.update({sk: name for name, sk in one.items() if isinstance(sk, int) and sk})
        for name, pointer in by_cpu.items():
            if isinstance(pointer, int) and pointer:
                found.update(dict.fromkeys(pointers_of(kernel, pointer), name))
    for name, symbol in _BY_CPU.items():
        place = address_of(kernel, symbol)
        if place is not None:
            found.update(dict.fromkeys(pointers_of(kernel, place), name))
    return found
