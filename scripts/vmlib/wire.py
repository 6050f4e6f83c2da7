# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages between host and guest: a JSON header that says how many raw bytes follow it. For both sides."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = struct.Struct(">4sI")
MAGIC = b"vmw1"
CHUNK = 1 << 16


def pack(header: dict[str, Any]) -> bytes:
    """A header with what announces it."""
    body = json.dumps(header).encode()
    return LENGTH.pack(MAGIC, len(body)) + body


def unpack(read: Callable[[int], bytes]) -> dict[str, Any]:
    """The next header. `read(n)` returns exactly n bytes or raises."""
    magic, length = LENGTH.unpack(read(LENGTH.size))
    if magic != MAGIC or length > 1 << 24:
        raise ValueError("the channel between host and guest is out of step")
    header: dict[str, Any] = json.loads(read(length))
    return header
