# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sockets that the scenario holds, and what is known of them from the outside."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from .names import OPTIONS
from .netns import INIT


@dataclass
class Held:
    """One open socket of the scenario."""

    label: str
    socket: socket.socket
    netns: str
    inherited_from: str | None = None
    set: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Registry:
    """All that was opened, all that this kernel refused, and the objects that no descriptor stands for."""

    held: dict[str, Held] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    without_fd: list[dict[str, Any]] = field(default_factory=list)

    def keep(
        self, label: str, sock: socket.socket, netns: str = INIT, inherited_from: str | None = None
    ) -> socket.socket:
        """Hold a socket until the end under a label of its own."""
        if label in self.held:
            raise ValueError(f"two sockets labelled {label}")
        self.held[label] = Held(label, sock, netns, inherited_from)
        return sock

    def set(self, label: str, name: str, value: int | bytes | str) -> None:
        """Set an option by name and remember it, with the errno if the kernel refuses."""
        level, number = OPTIONS[name]
        raw = struct.pack("I", value) if isinstance(value, int) else value if isinstance(value, bytes) else value.encode()
        error = 0
        try:
            self.held[label].socket.setsockopt(level, number, raw)
        except OSError as failed:
            error = failed.errno or 0
        self.held[label].set.append(
            {"name": name, "level": level, "number": number, "raw": raw.hex(), "errno": error}
        )

    def options(self, label: str, **values: int | bytes | str) -> None:
        """Set several."""
        for name, value in values.items():
            self.set(label, name, value)

    def gone(self, label: str, kind: str, netns: str, local: Any, peer: Any) -> None:
        """Note an object that lives in the kernel's tables only (TIME_WAIT, a request)."""
        self.without_fd.append(
            {"label": label, "kind": kind, "netns": netns, "local": list(local[:2]), "peer": list(peer[:2])}
        )

    def refuse(self, label: str, error: OSError) -> None:
        """Note that this kernel has no such socket."""
        self.refused.append({"label": label, "errno": error.errno, "text": os.strerror(error.errno or 0)})
