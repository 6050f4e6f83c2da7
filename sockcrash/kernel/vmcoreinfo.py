# SPDX-License-Identifier: LGPL-2.1-or-later
"""What does the kernel's VMCOREINFO note say of symbols, sizes and offsets?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import drgn

__all__ = ("VmcoreInfo", "of", "parse")

_LINE = re.compile(r"^(SYMBOL|SIZE|OFFSET)\(([^)\n]+)\)=([0-9a-fA-F]+)$", re.MULTILINE)
_PLAIN = re.compile(r"^([A-Z0-9_-]+)=(.*)$", re.MULTILINE)
_MAX_TEXT = 1 << 16


@dataclass(frozen=True, slots=True)
class VmcoreInfo:
    """The note's lines: addresses of ``symbols``, ``sizes`` of types and ``offsets`` of members in bytes."""

    symbols: Mapping[str, int]
    sizes: Mapping[str, int]
    offsets: Mapping[str, int]
    plain: Mapping[str, str]

    @property
    def kaslr_offset(self) -> int:
        """By how many bytes the kernel was moved from where it was linked to run."""
        try:
            return int(self.plain.get("KERNELOFFSET", "0"), 16)
        except ValueError:
            return 0


def parse(text: str) -> VmcoreInfo:
    """The note's text, line by line; lines of other forms are left out."""
    text = text[:_MAX_TEXT]
    found: dict[str, dict[str, int]] = {"SYMBOL": {}, "SIZE": {}, "OFFSET": {}}
    for what, name, number in _LINE.findall(text):
        if what == "SYMBOL":
            found[what][name] = int(number, 16)
        elif number.isdecimal():
            found[what][name] = int(number)
    return VmcoreInfo(found["SYMBOL"], found["SIZE"], found["OFFSET"], dict(_PLAIN.findall(text)))


def of(prog: drgn.Program) -> VmcoreInfo:
    """The VMCOREINFO of an opened kernel."""
    return parse(prog["VMCOREINFO"].string_().decode("ascii", "replace"))
