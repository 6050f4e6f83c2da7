# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of VSOCK sockets (include/net/af_vsock.h); a module, so its types may not be known."""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group

__all__ = ("VSOCK",)

_V = "struct vsock_sock"

VSOCK = Group(
    "vsock",
    (
        row("local_addr.svm_cid", _V),
        row("local_addr.svm_port", _V),
        row("remote_addr.svm_cid", _V),
        row("remote_addr.svm_port", _V),
        row("peer_shutdown", _V),
        row("trusted", _V),
        row("cached_peer", _V),
        row("sent_request", _V),
        row("rejected", _V),
        row("close_work_scheduled", _V),
        row("buffer_size", _V),
        row("buffer_min_size", _V),
        row("buffer_max_size", _V),
        row("connect_timeout", _V, to="connect_timeout_ms", by="jiffies_ms"),
    ),
)
