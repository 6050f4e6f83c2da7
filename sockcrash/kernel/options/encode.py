# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values into the bytes of a C struct, as this kernel's types lay it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.layout import Spot, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.kernel.view import Kernel

__all__ = ("encode", "members_of")


def members_of(kernel: Kernel, ctype: str) -> dict[str, Spot]:
    """The named members of a struct and where they lie; bound once."""
    memo: dict[str, dict[str, Spot]] = kernel.cache.setdefault("encoded_structs", {})
    if ctype not in memo:
        members = kernel.prog.type(ctype).members or ()
        memo[ctype] = {
            member.name: resolve(kernel.prog, ctype, member.name)[1] for member in members if member.name
        }
    return memo[ctype]


def encode(kernel: Kernel, ctype: str, values: Mapping[str, int]) -> bytes:
    """The struct with ``values`` in its members, zeroes elsewhere."""
    spots = members_of(kernel, ctype)
    size = drgn.sizeof(kernel.prog.type(ctype))
    content = bytearray(size + 8)  # the unit of a bit-field may reach beyond the end
    order = "little" if kernel.byte_order == "<" else "big"
    for name, value in values.items():
        spot = spots[name]
        where = slice(spot.offset, spot.offset + spot.size)
        if spot.bits:
            unit = int.from_bytes(content[where], order)  # type: ignore[arg-type]
            value = unit | (value & (1 << spot.bits) - 1) << spot.shift  # noqa: PLW2901
        content[where] = (value & (1 << spot.size * 8) - 1).to_bytes(spot.size, order)  # type: ignore[arg-type]
    return bytes(content[:size])
