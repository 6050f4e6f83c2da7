# SPDX-License-Identifier: LGPL-2.1-or-later
"""The private area of a socket's congestion control: its members, and what TCP_CC_INFO computes from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.decode.computed import Computed, amend, computed_values
from sockcrash.kernel.congestion import PRIVATE_AREA, private_reader
from sockcrash.model import Absent, Reason, Section

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("INPUTS", "congestion_section")

_BW_SCALE = 24
_NOT_YET = Absent(Reason.NOT_ASSIGNED, "not initialised: no connection yet")


# of the tcp section
INPUTS = ("congestion", "icsk_ca_initialized", "mss_cache", "delivered", "delivered_ce")


def congestion_section(kernel: Kernel, address: int, tcp: Section, content: bytes) -> Section | Absent:
    """Every member of the struct that the socket's algorithm keeps in ``icsk_ca_priv``.

    ``content``: what was read of the socket; if that ends before, the area is read by itself.
    """
    algorithm = tcp["congestion"]
    if isinstance(algorithm, Absent):
        return algorithm
    initialized = tcp["icsk_ca_initialized"]
    if not initialized:
        return initialized if isinstance(initialized, Absent) else _NOT_YET
    reader = private_reader(kernel, algorithm)
    offset = kernel.offsets(PRIVATE_AREA).get("icsk_ca_priv")
    if isinstance(reader, Absent) or offset is None:
        return (
            reader
            if isinstance(reader, Absent)
            else kernel.bounds(PRIVATE_AREA)[0].absent or tcp["congestion"]
        )
    try:
        inside = content[offset : offset + reader.size]
        (section,) = reader.sections(address + offset, inside if len(inside) == reader.size else None)
    except drgn.FaultError as error:
        return kernel.unreadable(error)
    computed = _COMPUTED.get(algorithm)
    if computed is None:
        return section
    known = {**section, **{name: tcp[name] for name in ("mss_cache", "delivered", "delivered_ce")}}
    return amend(section, computed_values(known, computed, kernel.clock()))


# bbr_get_info(): bandwidth is kept in segments per µs << 24
_BBR: Computed = (
    (
        "bw_bytes_per_s",
        ("bw.s[0].v", "lt_bw", "lt_use_bw", "mss_cache"),
        lambda _, bw, lt_bw, lt, mss: (lt_bw if lt else bw) * mss * 1_000_000 >> _BW_SCALE,
    ),
)
# dctcp_get_info(): marked and all acknowledged bytes of the current observation window
_DCTCP: Computed = (
    (
        "ab_ecn_bytes",
        ("mss_cache", "delivered_ce", "old_delivered_ce"),
        lambda _, mss, now, old: mss * (now - old),
    ),
    ("ab_tot_bytes", ("mss_cache", "delivered", "old_delivered"), lambda _, mss, now, old: mss * (now - old)),
)
_COMPUTED = {"bbr": _BBR, "dctcp": _DCTCP}
