# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sockets that the scenario holds, and what is known of them from the outside."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from .names import OPTIONS
from .netns import INIT, inode_of

_libc = ctypes.CDLL(None, use_errno=True)
PIDFD_OPEN, PIDFD_GETFD = 434, 438


def borrowed(pid: int, fd: int) -> socket.socket:
    """A duplicate of another process's socket."""
    process = _libc.syscall(PIDFD_OPEN, pid, 0)
    try:
        duplicate = _libc.syscall(PIDFD_GETFD, process, fd, 0)
        if duplicate < 0:
            raise OSError(ctypes.get_errno(), f"pidfd_getfd {pid} {fd}")
        return socket.socket(fileno=duplicate)
    finally:
        os.close(process)


@dataclass
class Held:
    """One open socket of the scenario; or, with `owner`, (pid, fd) of a program that has it."""

    label: str
    socket: socket.socket
    netns: int
    inherited_from: str | None = None
    set: list[dict[str, Any]] = field(default_factory=list)
    owner: tuple[int, int] | None = None


@dataclass
class Registry:
    """All that was opened, all that this kernel refused, and the objects that no descriptor stands for."""

    held: dict[str, Held] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    without_fd: list[dict[str, Any]] = field(default_factory=list)
    holders: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[dict[str, str]] = field(default_factory=list)

    def keep(
        self, label: str, sock: socket.socket, netns: str = INIT, inherited_from: str | None = None
    ) -> socket.socket:
        """Hold a socket until the end under a label of its own."""
        if label in self.held:
            raise ValueError(f"two sockets labelled {label}")
        self.held[label] = Held(label, sock, inode_of(netns), inherited_from)
        return sock

    def borrow(self, label: str, pid: int, fd: int) -> None:
        """List a socket of another program; a duplicate of the descriptor is held only while it is looked at."""
        with borrowed(pid, fd) as sock:
            self.keep(label, sock)
        self.held[label].owner = (pid, fd)

    def set(self, label: str, name: str, value: int | bytes | str) -> None:
        """Set an option by name and remember it."""
        level, number = OPTIONS[name]
        self.apply(label, name, level, number, value)

    def apply(self, label: str, name: str, level: int, number: int, value: int | bytes | str) -> None:
        """Likewise by number; with the errno if the kernel refuses."""
        if isinstance(value, int):
            raw = struct.pack("I", value)
        else:
            raw = value if isinstance(value, bytes) else value.encode()
        fd = self.held[label].socket.fileno()
        failed = _libc.setsockopt(fd, level, number, raw, len(raw))  # Python's own refuses bytes for AF_VSOCK
        error = ctypes.get_errno() if failed else 0
        self.held[label].set.append(
            {"name": name, "level": level, "number": number, "raw": raw.hex(), "errno": error}
        )

    def options(self, label: str, **values: int | bytes | str) -> None:
        """Set several."""
        for name, value in values.items():
            self.set(label, name, value)

    def hold(self, label: str, how: str, **facts: Any) -> None:
        """Note who or what holds a socket, beyond the descriptor that is listed with it."""
        self.holders.append({"label": label, "how": how, **facts})

    def secret(self, where: str, size: int = 32) -> bytes:
        """Random bytes to be hidden somewhere, remembered so that a test can look for them."""
        value = os.urandom(size)
        self.secrets.append({"where": where, "hex": value.hex()})
        return value

    def gone(self, label: str, kind: str, netns: str, local: Any, peer: Any, **facts: Any) -> None:
        """Note an object without a descriptor: TIME_WAIT, a request, an orphan, one of the kernel's."""
        self.without_fd.append(
            {
                "label": label,
                "kind": kind,
                "netns": inode_of(netns),
                "local": list(local[:2]),
                "peer": list(peer[:2]),
                **facts,
            }
        )

    def refuse(self, label: str, error: OSError) -> None:
        """Note that this kernel has no such socket."""
        self.refused.append({"label": label, "errno": error.errno, "text": error.strerror})
