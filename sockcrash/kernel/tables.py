# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets are in the kernel's tables, of all families and namespaces: each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.chains import Complain, Found
from sockcrash.kernel.tables_other import (
    array_sockets,
    mptcp_sockets,
    namespace_sockets,
    netlink_sockets,
    udp_sockets,
    unix_sockets,
)
from sockcrash.kernel.tables_tcp import tcp_sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("Found", "table_sockets")

_WALKS = (
    tcp_sockets,
    mptcp_sockets,
    udp_sockets,
    array_sockets,
    unix_sockets,
    namespace_sockets,
    netlink_sockets,
)


def table_sockets(kernel: Kernel, complain: Complain, seen: dict[int, bool]) -> Iterator[Found]:
    """Every socket object in a table, once. What is in none is left to the files of tasks.

    ``seen`` gathers their addresses, True for MPTCP sockets.
    """
    for walk in _WALKS:
        multipath = walk is mptcp_sockets
        try:
            for found in walk(kernel, complain):
                address = found[0]
                if address not in seen:
                    seen[address] = multipath
                    yield found
        except drgn.FaultError as error:
            complain(f"the tables of {walk.__name__.replace('_', ' ')} can't be read any further: {error}")
