# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the records of an event are laid out: the text of its ``format`` file, and one record's bytes by it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

__all__ = ("EventFormat", "parse_format")

_ID = re.compile(r"^ID: (\d+)$", re.MULTILINE)
_FIELD = re.compile(
    r"^\tfield:(?P<type>[^;]*?)(?P<name>\w+)(?P<array>\[[^\]]*\])?;\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);"
    r"\s*signed:(?P<signed>[01]);",
    re.MULTILINE,
)
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MOST = 1 << 16
_FAULT = b"(fault)\0"


@dataclass(frozen=True, slots=True)
class EventFormat:
    """An event: its number, and a struct that unpacks ``names``. Arrays are bytes; words say where ``strings`` lie."""

    number: int
    names: tuple[str, ...]
    layout: struct.Struct
    strings: frozenset[str]

    def decode(self, content: bytes) -> dict[str, Any]:
        """The fields of one record. A string is its bytes, or None if the kernel could not read it.

        Older kernels leave no room for such a string, and give it no length; an empty one has room for its NUL. Newer
        ones write "(fault)".
        """
        room = len(content) > self.layout.size
        if len(content) < self.layout.size:
            content = content.ljust(self.layout.size, b"\0")
        values = dict(zip(self.names, self.layout.unpack_from(content), strict=True))
        for name in self.strings:
            word = values[name]
            text = content[word & 0xFFFF :][: word >> 16]
            values[name] = None if text == _FAULT or not (text or room) else text
        return values


def parse_format(text: str, byte_order: str) -> EventFormat:
    """The format of an event; ValueError if the text is none."""
    number = _ID.search(text)
    if number is None:
        raise ValueError("a format without ID")
    code, names, strings, end = byte_order, [], [], 0
    for match in sorted(_FIELD.finditer(text), key=lambda one: int(one["offset"])):
        offset, size = int(match["offset"]), int(match["size"])
        if offset < end or offset + size > _MOST or not size:
            continue
        name, is_string = match["name"], "__data_loc" in match["type"]
        plain = size in _CODES and not match["array"]
        letter = _CODES[size] if plain else f"{size}s"
        code += f"{offset - end}x" + (letter.lower() if plain and match["signed"] == "1" else letter)
        names.append(name)
        if is_string and size == 4:
            strings.append(name)
        end = offset + size
    return EventFormat(int(number[1]), tuple(names), struct.Struct(code), frozenset(strings))
