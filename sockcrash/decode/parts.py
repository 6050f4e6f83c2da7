# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sections of one socket on their way to a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sockcrash.model import Absent, Section

__all__ = ("Parts",)


class Parts(NamedTuple):
    """What every full socket has, and ``own``, what its kind adds; ``address`` is that of its struct sock."""

    address: int
    identity: Section
    full: Section
    sock: Section
    own: Section

    def memory_queues(self) -> dict[str, int | Absent]:
        """Recv-Q and Send-Q as ss prints them of most kinds: the memory that the queues take, in bytes."""
        return {"recv_q": self.sock["sk_rmem_alloc"], "send_q": self.sock["wmem_alloc_bytes"]}
