# SPDX-License-Identifier: LGPL-2.1-or-later
"""Segments sent in another host's name, so that answers to them are lost."""

from __future__ import annotations

import socket
import struct


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source: tuple[str, int], target: tuple[str, int]) -> None:
    """Send a SYN with MSS, SACK, timestamps and window scaling."""
    v6 = ":" in target[0]
    family = socket.AF_INET6 if v6 else socket.AF_INET
    here, there = (socket.inet_pton(family, address) for address in (source[0], target[0]))
    options = bytes((2, 4, 5, 180, 4, 2, 8, 10)) + struct.pack("!II", 1000, 0) + bytes((1, 3, 3, 7))
    head = struct.pack(
        "!HHIIBBHHH", source[1], target[1], 0x12345678, 0, (20 + len(options)) << 2, 2, 64240, 0, 0
    )
    length = len(head) + len(options)
    pseudo = (
        here + there + (struct.pack("!IHBB", length, 0, 0, 6) if v6 else struct.pack("!BBH", 0, 6, length))
    )
    check = _sum(pseudo + head + options)
    segment = head[:16] + struct.pack("!H", check) + head[18:] + options
    if v6:
        packet = struct.pack("!IHBB", 6 << 28, length, 6, 64) + here + there + segment
    else:
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 6, 0) + here + there + segment
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(packet, (target[0], 0))
