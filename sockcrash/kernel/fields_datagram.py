# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of UDP, UDP-Lite and RAW sockets (include/linux/udp.h, include/net/raw.h)."""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place

__all__ = ("RAW", "RAW6", "UDP")

_U = "struct udp_sock"

# forward_deficit: bytes of memory that were read but are not given back to the socket's account yet.
UDP = Group(
    "udp",
    (
        row("pending", _U),
        row("len", _U),
        row("corked", _U, Place("udp_flags", bit="UDP_FLAGS_CORK", since="v6.7"), "corkflag"),
        row("encap_type", _U),
        row("gso_size", _U),
        row("pcslen", _U),
        row("pcrlen", _U),
        row("reader_queue.qlen", _U),
        row("forward_deficit", _U),
        row("forward_threshold", _U),
    ),
)

# Both of one section: which of the two a socket has, its family tells.
RAW = Group("raw", (row("filter", "struct raw_sock", "filter.data"), row("ipmr_table", "struct raw_sock")))
RAW6 = Group(
    "raw6",
    (
        row("filter", "struct raw6_sock", "filter.data"),
        row("ip6mr_table", "struct raw6_sock"),
        row("checksum", "struct raw6_sock"),
        row("offset", "struct raw6_sock"),
    ),
)
