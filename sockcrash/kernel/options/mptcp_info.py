# SPDX-License-Identifier: LGPL-2.1-or-later
"""MPTCP_INFO: struct mptcp_info as mptcp_diag_fill_info() of net/mptcp/sockopt.c fills it on this kernel."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, Place
from sockcrash.kernel.mptcp import fell_back
from sockcrash.kernel.options.codecs import shown
from sockcrash.kernel.options.encode import encode, members_of
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import Option, field
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context
    from sockcrash.kernel.view import Kernel

__all__ = ("MPTCP_INFO",)

_U32 = 0xFFFFFFFF
_COUNTS = ("pm.extra_subflows", "pm.add_addr_signaled", "pm.add_addr_accepted", "pm.local_addr_used")
_MEMBERS = (
    *_COUNTS, "pm.pm_type", "flags", "can_ack", "csum_enabled", "token", "write_seq", "snd_una", "ack_seq",
    "bytes_sent",
    "bytes_received", "bytes_retrans", "bytes_acked", "last_data_sent", "last_data_recv", "last_ack_recv",
    "notsent_lowat",
)  # fmt: skip
_PLACES = {
    "pm.extra_subflows": (Place("pm.extra_subflows"), Place("pm.subflows")),
    "snd_una": (Place("snd_una"), Place("snd_una.counter")),
}
_NAMES = ("state", *_MEMBERS, "icsk_retransmits", "first_state")
_N = "struct pm_nl_pernet"
# The path manager's limits, by their names in struct mptcp_info; 7.2 renamed and added some.
_LIMITS = Group(
    "mptcp_limits",
    (
        row("subflows_max", _N, "limit_extra_subflows", "subflows_max"),
        row("add_addr_signal_max", _N, "endp_signal_max", "add_addr_signal_max"),
        row("add_addr_accepted_max", _N, "limit_add_addr_accepted", "add_addr_accept_max"),
        row("local_addr_max", _N, "endp_subflow_max", "local_addr_max"),
        row("endp_laminar_max", _N),
        row("endp_fullmesh_max", _N),
    ),
)
_GENERIC = Group("net_generic", (row("gen", "struct net"),))
_KERNEL_MANAGER = 0  # MPTCP_PM_TYPE_KERNEL
_WITH_SUBFLOW = (1, 2, 3, uapi.LISTEN)  # ESTABLISHED, SYN_SENT, SYN_RECV, LISTEN


def _limits(kernel_: Kernel, net: int) -> dict[str, int]:
    """pm_nl_get_pernet(): ``net_generic(net, pm_nl_pernet_id)``. Raises drgn.FaultError and LookupError."""
    (number,) = struct.unpack(
        kernel_.byte_order + "I", kernel_.read(kernel_.prog.symbol("pm_nl_pernet_id").address, 4)
    )
    (section,) = kernel_.reader(_GENERIC).sections(net)
    (pernet,) = struct.unpack(kernel_.byte_order + "Q", kernel_.read(section["gen"] + 8 * number, 8))
    (limits,) = kernel_.reader(_LIMITS).sections(pernet)
    return {name: value for name, value in limits.items() if isinstance(value, int)}


def _value(context: Context, *members: Any) -> Any:
    have = dict(zip(_NAMES, members, strict=True))
    try:
        info = _info(context, have)
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)
    except LookupError as error:
        return Absent(Reason.NO_TYPE_INFO, f"the path manager's limits: {error}")
    known = members_of(context.kernel, "struct mptcp_info")
    lost = next(
        (value for name, value in info.items() if isinstance(value, Absent) and f"mptcpi_{name}" in known),
        None,
    )
    if lost is not None:
        return lost
    return {name: value for name, value in info.items() if f"mptcpi_{name}" in known}


def _info(context: Context, have: dict[str, Any]) -> dict[str, Any]:
    clock = context.clock
    names = ("subflows", "add_addr_signal", "add_addr_accepted", "local_addr_used")
    info = {name: have[member] for name, member in zip(names, _COUNTS, strict=True)}
    newer = isinstance(have["notsent_lowat"], int)  # since v6.9 or so
    if newer and have["state"] == uapi.LISTEN:
        return info
    if not newer or have["pm.pm_type"] == _KERNEL_MANAGER:
        info.update(_limits(context.kernel, context.net))
    fallen = fell_back(context.kernel, have["flags"])
    info.update(
        flags=fallen if isinstance(fallen, Absent) else fallen | have["can_ack"] << 1,
        token=have["token"],
        write_seq=have["write_seq"],
        snd_una=have["snd_una"],
        rcv_nxt=have["ack_seq"],
        csum_enabled=have["csum_enabled"],
        retransmits=have["icsk_retransmits"],
        subflows_total=info["subflows"] + (have["first_state"] in _WITH_SUBFLOW),
    )
    info.update(
        (name, have[name]) for name in ("bytes_sent", "bytes_received", "bytes_retrans", "bytes_acked")
    )
    for name in ("last_data_sent", "last_data_recv", "last_ack_recv"):
        stamp = have[name]
        info[name] = (clock.jiffies - stamp & _U32) * 1000 // clock.hz if isinstance(stamp, int) else stamp
    return info


def _text(value: dict[str, int]) -> str:
    return f"{value['subflows']} more subflows, token {value.get('token', 0):#x}"


def _field(name: str) -> Field:
    return field("mptcp_sock", *_PLACES.get(name, (Place(name),)), name=name)


MPTCP_INFO = Option(
    "SOL_MPTCP", "MPTCP_INFO", 1, shown("object", _text),
    (
        field("sock", "__sk_common.skc_state"),
        *(_field(name) for name in _MEMBERS),
        field("inet_connection_sock", "icsk_retransmits"),
        field("mptcp_sock", "first->__sk_common.skc_state"),
    ),
    _value, origin=kernel, kinds=("mptcp",), lenient=True, fresh=True,
    bytes_of=lambda context, value, *_: encode(context.kernel, "struct mptcp_info", value, "mptcpi_"),
)  # fmt: skip
