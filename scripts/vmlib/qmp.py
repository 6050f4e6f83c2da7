# SPDX-License-Identifier: LGPL-2.1-or-later
"""Talking to QEMU's monitor."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from .errors import GuestError

if TYPE_CHECKING:
    from pathlib import Path


def execute(path: Path, command: str, timeout: float = 120, **arguments: Any) -> Any:
    """One command over the monitor socket at `path`; returns what QEMU answers."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(timeout)
        try:
            monitor.connect(str(path))
            lines = monitor.makefile("r")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                monitor.sendall(json.dumps(request).encode() + b"\n")
                answer = json.loads(lines.readline() or "{}")
                while "event" in answer:
                    answer = json.loads(lines.readline() or "{}")
                if "return" not in answer:
                    raise GuestError(f"QEMU refuses {request['execute']}: {answer.get('error', 'no answer')}")
        except (OSError, ValueError) as error:
            raise GuestError(f"QEMU's monitor does not answer {command}: {error}") from error
    return answer["return"]
