# SPDX-License-Identifier: LGPL-2.1-or-later
"""Control messages as put_cmsg() writes them for a 64-bit caller: of options that return several at once."""

from __future__ import annotations

import struct
from typing import Any

from sockcrash.kernel.options.codecs import Codec

__all__ = ("CMSGS", "message")


def message(level: str, number: int, name: str, data: bytes) -> dict[str, Any]:
    """One message of a level by name and number."""
    return {"level": level, "type": number, "name": name, "data": data.hex()}


def _pack(value: list[dict[str, Any]], order: str) -> bytes:
    from sockcrash.kernel.options.row import LEVELS

    out = b""
    for one in value:
        data = bytes.fromhex(one["data"])
        head = struct.pack(order + "Qii", 16 + len(data), LEVELS[one["level"]], one["type"])
        out += head + data.ljust(-(-len(data) // 8) * 8, b"\0")
    return out


def _text(value: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['name']} {one['data']}" for one in value) or "none"


CMSGS = Codec("list", _pack, _text)
