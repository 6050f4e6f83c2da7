# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in a guest: some sockets that stay, and connections that come and go as fast as they can until it is killed.

The first line is the inodes of those that stay; then, every second, how many connections there have been so far.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from threading import Thread

PORT = 18001
LINGER = struct.pack("ii", 1, 0)


def serve(listener: socket.socket) -> None:
    """Every other connection is closed first by this end."""
    number = 0
    while True:
        child, _ = listener.accept()
        number += 1
        with contextlib.suppress(OSError):
            child.send(b"hello")
            if number % 2 == 0:
                child.recv(64)
        child.close()


def visit(number: int) -> None:
    """One connection: some leave TIME_WAIT behind, some are reset."""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", PORT)) as client:
        client.recv(64)
        if number % 3 == 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", PORT), backlog=256)
    quiet = socket.create_server(("127.0.0.1", PORT + 1), backlog=64)
    staying: list[socket.socket] = [listener, quiet]
    for _ in range(30):
        client = socket.create_connection(("127.0.0.1", PORT + 1))
        staying += [client, quiet.accept()[0]]
    staying += [socket.socket(socket.AF_INET, socket.SOCK_DGRAM), *socket.socketpair(), socket.socket()]
    print(*(os.fstat(one.fileno()).st_ino for one in staying), flush=True)
    Thread(target=serve, args=(listener,), daemon=True).start()
    begun, said = 0, time.monotonic()
    while True:
        visit(begun)
        begun += 1
        if time.monotonic() - said > 1:
            said = time.monotonic()
            print(begun, flush=True)


sys.exit(main())
