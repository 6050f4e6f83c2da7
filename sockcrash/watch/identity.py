# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether what lies at a watched address is still the same socket: its memory is used again soon after its end."""

from __future__ import annotations

from typing import Any

from sockcrash.model import Absent, SocketRecord

__all__ = ("why_another",)

_BORN_WITH = ("kind", "family", "type", "protocol", "netns")
# Of a TCP socket these never go back while it has the same ends.
_GROWING = ("bytes_received", "bytes_acked", "segs_in", "segs_out")


def why_another(before: SocketRecord, now: SocketRecord) -> str | None:
    """Why ``now`` is not the socket that ``before`` was; None if nothing says so.

    A cookie is never given twice, an inode number hardly. Either may come later (when somebody asks, by accept(2)); an
    inode goes when the socket is closed while the connection lives on. Without one the ends and counters must do. A
    socket without state, inode and port is dead, and its memory is about to be freed (inet_csk_destroy_sock).
    """
    for name in _BORN_WITH:
        if getattr(before, name) != getattr(now, name):
            return f"another socket lies there now: its {name} is {getattr(now, name)}"
    if _known(before.cookie):
        return None if now.cookie == before.cookie else "another socket lies there now: its cookie differs"
    if _known(before.inode) and _known(now.inode):
        return None if before.inode == now.inode else "another socket lies there now: its inode differs"
    if (before.local, before.peer) != (now.local, now.peer):
        if now.state == "CLOSE" and not _known(now.inode):
            return "it was closed"
        return "another socket lies there now: its ends differ"
    for name in _GROWING:
        then, later = before.tcp.get(name), now.tcp.get(name)
        if isinstance(then, int) and isinstance(later, int) and later < then:
            return f"another socket lies there now: its {name} is less than it was"
    return None


def _known(value: Any) -> bool:
    return not isinstance(value, Absent)
