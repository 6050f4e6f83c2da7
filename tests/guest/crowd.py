# SPDX-License-Identifier: LGPL-2.1-or-later
"""Very many established TCP sockets, for measuring speed."""

from __future__ import annotations

import resource
import socket

PER_LISTENER = 10000
HELD: list[socket.socket] = []


def open_all(count: int) -> None:
    """`count` sockets over loopback, half of them accepted."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 1024, count + 1024))
    pairs = count // 2
    for start in range(0, pairs, PER_LISTENER):
        address = ("127.0.0.1", 20000 + start // PER_LISTENER)
        with socket.socket() as server:
            server.bind(address)
            server.listen(16)
            for _ in range(min(PER_LISTENER, pairs - start)):
                client = socket.socket()
                client.connect(address)
                HELD.append(client)
                HELD.append(server.accept()[0])
