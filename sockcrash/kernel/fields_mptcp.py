# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of MPTCP sockets (net/mptcp/protocol.h). Its keys, local_key and remote_key, are secret: no row."""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place

__all__ = ("MPTCP",)

_M = "struct mptcp_sock"

MPTCP = Group(
    "mptcp",
    (
        row("token", _M),
        row("flags", _M),
        row("first", _M),
        row("write_seq", _M),
        row("snd_nxt", _M),
        row("snd_una", _M, "snd_una", "snd_una.counter"),
        row("ack_seq", _M),
        row("rcv_wnd_sent", _M, "rcv_wnd_sent.counter"),
        row("wnd_end", _M),
        row("can_ack", _M),
        row("fully_established", _M),
        row("csum_enabled", _M),
        row("allow_infinite_fallback", _M),
        row("recovery", _M),
        row("rcv_data_fin", _M),
        row("snd_data_fin_enable", _M),
        row("rcv_fastclose", _M),
        row("use_64bit_ack", _M),
        # c5273f6ca166 ("mptcp: pm: rename 'subflows' to 'extra_subflows'"): the first one is not counted.
        row("pm.extra_subflows", _M, Place("pm.extra_subflows", commit="c5273f6ca166"), "pm.subflows"),
        row("pm.add_addr_signaled", _M),
        row("pm.add_addr_accepted", _M),
        row("pm.local_addr_used", _M),
        row("pm.pm_type", _M),
        row("bytes_sent", _M),
        row("bytes_received", _M),
        row("bytes_acked", _M),
        row("bytes_retrans", _M),
        row("icsk_retransmits", "struct inet_connection_sock"),
        row("last_data_sent", _M, to="lastsnd_ms", by="age32_ms"),
        row("last_data_recv", _M, to="lastrcv_ms", by="age32_ms"),
        row("last_ack_recv", _M, to="lastack_ms", by="age32_ms"),
        row("cork", _M),
        row("nodelay", _M),
        row("in_accept_queue", _M),
        row("ca_name", _M, to="congestion", by="text"),
    ),
)
