# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bound rows → one Python function that makes all values of an object out of its bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sockcrash.kernel.layout import Bound

__all__ = ("Behind", "compile_groups")

# decode(buffer, clock, address of the object) -> one tuple per group
Decode = Callable[[bytes, Any, int], tuple[tuple[Any, ...], ...]]


@dataclass(frozen=True, slots=True)
class Behind:
    """What lies behind a pointer: values for the groups that ``feeds`` counts, appended to their own.

    ``known`` maps pointers to values that need not be read; ``read(pointer, address, buffer, clock)`` reads others.
    """

    pointer: Bound
    feeds: tuple[int, ...]
    known: dict[int, tuple[tuple[Any, ...], ...]]
    read: Callable[..., tuple[tuple[Any, ...], ...]]


def compile_groups(
    groups: Sequence[Sequence[Bound]],
    byte_order: str,
    expressions: dict[str, str],
    names: dict[str, Any],
    behind: Sequence[Behind] = (),
) -> tuple[Decode, int, tuple[dict[str, int], ...]]:
    """Compile bound rows without hops, and what lies behind their pointers, into one function.

    Returns the function, the number of bytes that the buffer must have, and per group the index of the names of its
    rows. ``expressions`` maps the ``by`` of a Convert to a Python expression over ``x`` (the raw value) and ``c`` (the
    clock); ``names`` are what the expressions may call.
    """
    units: dict[tuple[int, int, str], str] = {}
    scope: dict[str, Any] = dict(names)
    endian = "little" if byte_order == "<" else "big"
    bodies: list[str] = []
    indexes: list[dict[str, int]] = []
    for number, bounds in enumerate(groups):
        parts: list[str] = []
        index: dict[str, int] = {}
        for bound in bounds:
            raw = _raw(bound, units, scope, endian)
            _add(index, bound.field.name, len(parts))
            parts.append(raw)
            for convert in bound.field.converts:
                _add(index, convert.name, len(parts))
                missing = bound.absent is not None
                parts.append(raw if missing else f"({_apply(expressions[convert.by], raw)})")
        parts += [f"*b{n}[{one.feeds.index(number)}]" for n, one in enumerate(behind) if number in one.feeds]
        bodies.append("(" + "".join(part + "," for part in parts) + ")")
        indexes.append(index)
    followed = [
        _follow(n, one, _raw(one.pointer, units, scope, endian), scope) for n, one in enumerate(behind)
    ]
    lines, size = _unpack_lines(units, byte_order, scope)
    source = "def decode(buf, c, address):\n" + "".join(f"  {line}\n" for line in (*lines, *followed))
    source += "  return (" + "".join(body + "," for body in bodies) + ")\n"
    exec(compile(source, "<sockcrash layout>", "exec"), scope)
    return scope["decode"], size, tuple(indexes)


def _follow(number: int, behind: Behind, pointer: str, scope: dict[str, Any]) -> str:
    """The line that takes what lies behind a pointer."""
    scope[f"known{number}"], scope[f"read{number}"] = behind.known.get, behind.read
    return f"b{number} = known{number}({pointer}) or read{number}({pointer}, address, buf, c)"


def _add(index: dict[str, int], name: str, number: int) -> None:
    if name in index:
        raise ValueError(f"two rows of one group are named {name}")
    index[name] = number


def _apply(expression: str, raw: str) -> str:
    return re.sub(r"\bx\b", raw, expression)


def _raw(bound: Bound, units: dict[tuple[int, int, str], str], scope: dict[str, Any], byte_order: str) -> str:
    spot = bound.spot
    if spot is None:
        name = f"absent{len(scope)}"
        scope[name] = bound.absent
        return name
    if spot.count != 1:
        elements = [
            units.setdefault((spot.offset + i * spot.size, spot.size, spot.code), f"u{len(units)}")
            for i in range(spot.count)
        ]
        return "(" + "".join(element + "," for element in elements) + ")"
    unit = units.setdefault((spot.offset, spot.size, spot.code), f"u{len(units)}")
    if not spot.bits:
        return unit
    if spot.code.endswith("s"):
        unit = f"int.from_bytes({unit}, {byte_order!r})"
    value = f"({unit} >> {spot.shift} & {(1 << spot.bits) - 1})"
    if spot.signed:
        half = 1 << (spot.bits - 1)
        value = f"(({value} ^ {half}) - {half})"
    return value


def _unpack_lines(
    units: dict[tuple[int, int, str], str], byte_order: str, scope: dict[str, Any]
) -> tuple[list[str], int]:
    """Lay the units out in as few non-overlapping struct formats as needed; one unpack line for each."""
    layers: list[tuple[int, list[str], list[str]]] = []
    for (offset, size, code), name in sorted(units.items()):
        for number, (end, formats, targets) in enumerate(layers):
            if offset >= end:
                layers[number] = (offset + size, [*formats, f"{offset - end}x{code}"], [*targets, name])
                break
        else:
            layers.append((offset + size, [f"{offset}x{code}"], [name]))
    lines: list[str] = []
    total = 0
    for number, (end, formats, targets) in enumerate(layers):
        scope[f"unpack{number}"] = struct.Struct(byte_order + "".join(formats)).unpack_from
        lines.append(f"({', '.join(targets)},) = unpack{number}(buf)")
        total = max(total, end)
    return lines, total
