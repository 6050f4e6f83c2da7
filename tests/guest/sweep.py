# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which numbers does getsockopt answer at all? Every level, every number, on a throwaway socket of each kind."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from .chances import KINDS
from .names import LEVELS
from .truth import ABSENT, getsockopt

PEERPIDFD = (1, 77)
RESET = struct.pack("ii", 1, 0)


def _answers(sock: socket.socket) -> dict[str, dict[str, Any]]:
    """{level: {number: hex, or errno}} without those that say that there is no such option."""
    found: dict[str, dict[str, Any]] = {}
    for level in LEVELS.values():
        answers: dict[str, Any] = {}
        for number in range(256):
            answer = getsockopt(sock.fileno(), level, number)
            if isinstance(answer, bytes):
                answers[str(number)] = answer.hex()
                if (level, number) == PEERPIDFD:
                    os.close(int.from_bytes(answer, "little"))
            elif answer not in ABSENT:
                answers[str(number)] = answer
        if answers:
            found[str(level)] = answers
    return found


def _pair(family: int, protocol: int) -> tuple[socket.socket, ...]:
    """Listener, client and child over loopback."""
    server = socket.socket(family, socket.SOCK_STREAM, protocol)
    server.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    server.listen(1)
    client = socket.socket(family, socket.SOCK_STREAM, protocol)
    client.connect(server.getsockname()[:2])
    return server, client, server.accept()[0]


def run() -> dict[str, Any]:
    """{kind: answers}; connected ones under KIND-listen and KIND-established."""
    found: dict[str, Any] = {}
    for kind, (family, variant, protocol) in KINDS.items():
        try:
            with socket.socket(family, variant, protocol) as sock:
                found[kind] = _answers(sock)
        except OSError:
            continue
        if variant == socket.SOCK_STREAM and family in (socket.AF_INET, socket.AF_INET6):
            server, client, child = _pair(family, protocol)
            found[f"{kind}-listen"] = _answers(server)
            found[f"{kind}-established"] = _answers(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            for sock in (client, child, server):
                sock.close()
        elif family == socket.AF_UNIX:
            one, two = socket.socketpair(family, variant)
            with one, two:
                found[f"{kind}-connected"] = _answers(one)
    return found
