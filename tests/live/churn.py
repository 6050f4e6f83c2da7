# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in a guest: N connections over loopback that keep sending, and say so; until it is killed."""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import time

COUNT = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (COUNT * 2 + 64, COUNT * 2 + 64))
listener = socket.create_server(("127.0.0.1", 18000), backlog=128)
pairs: list[tuple[socket.socket, socket.socket]] = []
for _ in range(COUNT):
    client = socket.create_connection(("127.0.0.1", 18000))
    child, _ = listener.accept()
    child.setblocking(False)
    pairs.append((client, child))
waiting = selectors.DefaultSelector()
for _, child in pairs:
    waiting.register(child, selectors.EVENT_READ)
print("READY", flush=True)
while True:
    for client, _ in pairs:
        client.send(b"x" * 100)
    for key, _ in waiting.select(timeout=0):
        key.fileobj.recv(4096)  # type: ignore[union-attr]
    time.sleep(0.001)
