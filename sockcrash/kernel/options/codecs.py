# SPDX-License-Identifier: LGPL-2.1-or-later
"""How values of options are written: the bytes that getsockopt(2) copies out, and words for people."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = (
    "BLOB",
    "BYTES",
    "COUNT",
    "HEX",
    "INT",
    "MICROSECONDS",
    "MILLISECONDS",
    "RATE",
    "SECONDS",
    "SWITCH",
    "TEXT",
    "U64",
    "UINT",
    "Codec",
    "choice",
    "fixed_text",
    "flag_names",
    "flags",
    "items",
    "record",
    "shown",
    "unpacked",
    "whole_number",
    "with_text",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Codec:
    """``json`` is the type of the value; ``pack(value, byte_order)`` gives its bytes, ``text(value)`` its words.

    ``unpack(bytes, byte_order)`` is the way back, of what setsockopt(2) was given; ValueError if these are too few.
    ``words`` are all that the text may be beside a number, empty if it may be anything.
    """

    json: str
    pack: Callable[[Any, str], bytes]
    text: Callable[[Any], str]
    unpack: Callable[[bytes, str], Any] | None = None
    words: tuple[str, ...] = ()


def _int(value: int, order: str) -> bytes:
    return struct.pack(order + "I", value & 0xFFFFFFFF)


def _u64(value: int, order: str) -> bytes:
    return struct.pack(order + "Q", value & 0xFFFFFFFFFFFFFFFF)


def unpacked(layout: str, content: bytes, order: str) -> tuple[Any, ...]:
    """The beginning of ``content`` by a struct format; ValueError if it is too short."""
    try:
        return struct.unpack_from(order + layout, content)
    except struct.error as error:
        raise ValueError(str(error)) from None


def whole_number(content: bytes, order: str) -> int:
    """An int; a single byte where the caller gave less (do_ip_setsockopt takes either)."""
    return int(unpacked("i" if len(content) >= 4 else "B", content, order)[0])


def _unsigned(content: bytes, order: str) -> int:
    return whole_number(content, order) & 0xFFFFFFFF


def _long(content: bytes, order: str) -> int:
    """64 bits, or 32 where the caller gave no more (SO_MAX_PACING_RATE takes either)."""
    return int(unpacked("Q" if len(content) >= 8 else "I", content, order)[0])


def _hexadecimal(content: bytes, _order: str) -> str:
    return content.hex()


def _string(content: bytes, _order: str) -> str:
    return content.split(b"\0")[0].decode(errors="backslashreplace")


def _unit(one: str, many: str = "") -> Callable[[Any], str]:
    return lambda value: f"{value} {one if value == 1 else many or one}"


INT = Codec("integer", _int, str, whole_number)
UINT = Codec("integer", _int, str, _unsigned)
U64 = Codec("integer", _u64, str, _long)
HEX = Codec("integer", _int, hex, _unsigned)
BYTES = Codec("integer", _int, _unit("byte", "bytes"), whole_number)
COUNT = INT
SECONDS = Codec("integer", _int, _unit("s"), whole_number)
MILLISECONDS = Codec("integer", _int, _unit("ms"), whole_number)
MICROSECONDS = Codec("integer", _int, _unit("µs"), whole_number)
RATE = Codec("integer", _u64, _unit("B/s"), _long)
BLOB = Codec(
    "string", lambda value, _order: bytes.fromhex(value), lambda value: value or "none", _hexadecimal
)
TEXT = Codec("string", lambda value, _order: value.encode() + b"\0", lambda value: value or "none", _string)


def with_text(codec: Codec, text: Callable[[Any], str]) -> Codec:
    """The same bytes with other words."""
    return Codec(codec.json, codec.pack, text, codec.unpack)


def shown(json: str, text: Callable[[Any], str]) -> Codec:
    """A value whose bytes getsockopt never gives, or that the row makes itself."""
    return Codec(json, lambda _value, _order: b"", text)


def choice(names: Mapping[int, str]) -> Codec:
    """A number of which each value has a name."""
    words = tuple(names.values())
    return Codec("integer", _int, lambda value: names.get(value, str(value)), whole_number, words)


SWITCH = choice({0: "off", 1: "on"})


def flag_names(names: Mapping[int, str], value: int) -> str:
    """The names of the bits in ``value``, the rest in hexadecimal: ``A|B|0x80``; ``0`` for none."""
    known = [name for mask, name in names.items() if value & mask == mask and mask]
    rest = value & ~sum(mask for mask in names if value & mask == mask)
    return "|".join([*known, hex(rest)] if rest else known) or "0"


def flags(names: Mapping[int, str], codec: Codec = INT) -> Codec:
    """A number of which each bit has a name."""
    return with_text(codec, lambda value: flag_names(names, value))


def fixed_text(size: int) -> Codec:
    """A name in ``size`` bytes, padded with NULs; an empty one has no bytes at all."""

    def pack(value: str, _order: str) -> bytes:
        return value.encode().ljust(size, b"\0")[:size] if value else b""

    return Codec("string", pack, lambda value: value or "none", _string)


def record(layout: str, names: tuple[str, ...], text: Callable[[Any], str]) -> Codec:
    """An object with one member for each code of a struct format."""

    def pack(value: Mapping[str, int], order: str) -> bytes:
        return struct.pack(order + layout, *(value[name] for name in names))

    def unpack(content: bytes, order: str) -> dict[str, int]:
        return dict(zip(names, unpacked(layout, content, order), strict=True))

    return Codec("object", pack, text, unpack)


def items(layout: str, text: Callable[[Any], str]) -> Codec:
    """A list of numbers, or of lists of numbers, each packed by the same struct format."""

    def pack(value: list[Any], order: str) -> bytes:
        rows = (item if isinstance(item, list) else [item] for item in value)
        return b"".join(struct.pack(order + layout, *row) for row in rows)

    def unpack(content: bytes, order: str) -> list[Any]:
        size = struct.calcsize(order + layout)
        rows = struct.iter_unpack(order + layout, content[: len(content) // size * size])
        return [row[0] if len(row) == 1 else list(row) for row in rows]

    return Codec("list", pack, text, unpack)
