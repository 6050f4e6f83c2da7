# SPDX-License-Identifier: LGPL-2.1-or-later
"""How an MPTCP socket and the TCP sockets that carry it belong together (net/mptcp/protocol.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.chains import Complain, ring
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Section

__all__ = ("ULP", "fell_back", "owner_by_ulp", "owner_of_subflow", "subflows")

_I = "struct inet_connection_sock"
# What tells of a TCP socket whether it carries data for MPTCP.
ULP = Group(
    "ulp",
    (row("name", _I, "icsk_ulp_ops->name", to="ulp_name", by="text", shared=True), row("icsk_ulp_data", _I)),
)
_SUBFLOW = Group(
    "mptcp_subflow",
    (row("conn", "struct mptcp_subflow_context"), row("tcp_sock", "struct mptcp_subflow_context")),
)
_LISTS = Group(
    "mptcp_lists",
    (row("conn_list", "struct mptcp_sock"), row("subflow.node", "struct mptcp_subflow_context", "node")),
)
# 037db6ea57da ("mptcp: cleanup writer wake-up") renumbered MPTCP_FALLBACK_DONE, a macro, from 4 to 2 in the series
# that also brought notsent_lowat (29b5e5ef8739, both v6.9).
_RENUMBERED = Group(
    "mptcp_flags", (row("notsent_lowat", "struct mptcp_sock", Place("notsent_lowat", since="v6.9")),)
)


def owner_of_subflow(kernel: Kernel, sk: int) -> int:
    """The ``struct mptcp_sock *`` that a full TCP socket carries data for, 0 if none. Raises drgn.FaultError."""
    (section,) = kernel.reader(ULP).sections(sk)
    return owner_by_ulp(kernel, section)


def owner_by_ulp(kernel: Kernel, section: Section) -> int:
    """The same of a section that has the rows of ``ULP``. Raises drgn.FaultError."""
    name = section["ulp_name"]
    if isinstance(name, Absent) and name.lost:
        raise drgn.FaultError(f"which upper layer it has is lost: {name}", section["icsk_ulp_data"])
    if name != "mptcp" or not section["icsk_ulp_data"]:
        return 0
    (context,) = kernel.reader(_SUBFLOW).sections(section["icsk_ulp_data"])
    return context["conn"] if isinstance(context["conn"], int) else 0


def subflows(kernel: Kernel, msk: int, complain: Complain) -> list[int]:
    """The TCP sockets that carry an MPTCP socket. Raises drgn.FaultError."""
    offsets = kernel.offsets(_LISTS)
    reader = kernel.reader(_SUBFLOW)
    contexts = ring(kernel, msk + offsets["conn_list"], offsets["subflow.node"], complain)
    return [section["tcp_sock"] for context in contexts for section in reader.sections(context)]


def fell_back(kernel: Kernel, flags: int | Absent) -> int | Absent:
    """Whether ``mptcp_sock.flags`` say that the connection goes on as plain TCP (``__mptcp_check_fallback``)."""
    if isinstance(flags, Absent):
        return flags
    (bound,) = kernel.bounds(_RENUMBERED)
    if bound.absent is not None and bound.absent.reason is not Reason.NOT_IN_KERNEL:
        return bound.absent
    return flags >> (2 if bound.spot else 4) & 1
