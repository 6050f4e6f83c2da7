# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of NETLINK sockets (net/netlink/af_netlink.h)."""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place

__all__ = ("NETLINK",)

_N = "struct netlink_sock"

# flags is a bitmap in all kernels; its bits are macros before v6.6 and enumerators since. NETLINK_F_KERNEL_SOCKET is
# bit 0, NETLINK_S_CONGESTED bit 0 of state.
NETLINK = Group(
    "netlink",
    (
        row("portid", _N),
        row("dst_portid", _N),
        row("dst_group", _N),
        row("flags", _N),
        row("kernel_socket", _N, Place("flags", bit=0)),
        row("congested", _N, Place("state", bit=0)),
        row("ngroups", _N),
        row("groups", _N),
        row("subscriptions", _N),
        row("bound", _N),
        row("cb_running", _N),
        row("max_recvmsg_len", _N),
    ),
)
