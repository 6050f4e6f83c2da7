# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values into the bytes of a C struct, as this kernel's types lay it out."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.layout import Spot, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.kernel.view import Kernel

__all__ = ("encode", "members_of")

_CODES = "bBhHiIqQ"


def members_of(kernel: Kernel, ctype: str) -> dict[str, Spot]:
    """The named members of a struct and where they lie; bound once."""
    memo: dict[str, dict[str, Spot]] = kernel.cache.setdefault("encoded_structs", {})
    if ctype not in memo:
        members = kernel.prog.type(ctype).members or ()
        memo[ctype] = {
            member.name: resolve(kernel.prog, ctype, member.name)[1] for member in members if member.name
        }
    return memo[ctype]


@dataclass(frozen=True, slots=True)
class _Form:
    """A struct: ``pack`` makes its bytes of the members ``whole``, each with its mask; ``parts`` go in one by one."""

    pack: Callable[..., bytes]
    whole: tuple[tuple[str, int], ...]
    parts: dict[str, Spot]
    size: int


def _form_of(kernel: Kernel, ctype: str, prefix: str) -> _Form:
    memo: dict[tuple[str, str], _Form] = kernel.cache.setdefault("forms of structs", {})
    key = (ctype, prefix)
    if key not in memo:
        memo[key] = _form(kernel, ctype, prefix)
    return memo[key]


def _form(kernel: Kernel, ctype: str, prefix: str) -> _Form:
    layout, end = kernel.byte_order, 0
    whole: list[tuple[str, int]] = []
    parts: dict[str, Spot] = {}
    for member, spot in sorted(members_of(kernel, ctype).items(), key=lambda pair: pair[1].offset):
        name = member.removeprefix(prefix)
        if spot.bits or spot.count != 1 or spot.code not in _CODES or spot.offset < end:
            parts[name] = spot
            continue
        layout += f"{spot.offset - end}x{spot.code.upper()}"
        end = spot.offset + spot.size
        whole.append((name, (1 << spot.size * 8) - 1))
    size = drgn.sizeof(kernel.prog.type(ctype))
    # The unit of a bit-field may reach beyond the end.
    return _Form(struct.Struct(f"{layout}{size - end + 8}x").pack, tuple(whole), parts, size)


def encode(kernel: Kernel, ctype: str, values: Mapping[str, int], prefix: str = "") -> bytes:
    """The struct with ``values`` in its members, zeroes elsewhere; their names have lost the ``prefix`` of all."""
    form, given = _form_of(kernel, ctype, prefix), values.get
    content = bytearray(form.pack(*[given(name, 0) & mask for name, mask in form.whole]))
    order = "little" if kernel.byte_order == "<" else "big"
    for name in form.parts.keys() & values.keys():
        spot, value = form.parts[name], values[name]
        where = slice(spot.offset, spot.offset + spot.size)
        if spot.bits:
            unit = int.from_bytes(content[where], order)  # type: ignore[arg-type]
            value = unit | (value & (1 << spot.bits) - 1) << spot.shift
        content[where] = (value & (1 << spot.size * 8) - 1).to_bytes(spot.size, order)  # type: ignore[arg-type]
    return bytes(content[: form.size])
