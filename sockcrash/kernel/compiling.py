# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bound rows → one Python function that makes all values of an object out of its bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sockcrash.kernel.layout import Bound

__all__ = ("Behind", "Decode", "Wanted", "compile_groups")

# decode(buffer, clock, address of the object) -> one tuple per group, or what is wanted instead
Decode = Callable[[bytes, Any, int], Any]
# For each group the names of its rows with what stands for them in Python -> the expression that is wanted
Wanted = Callable[[Sequence[Mapping[str, str]]], str]


@dataclass(frozen=True, slots=True)
class Behind:
    """What lies behind a pointer: values for the groups that ``feeds`` counts, appended to their own.

    ``names`` has those of the values for each of these. ``known`` maps pointers to values that need not be read;
    ``read(pointer, address, buffer, clock)`` reads others.
    """

    pointer: Bound
    feeds: tuple[int, ...]
    names: Sequence[Iterable[str]]
    known: dict[int, tuple[tuple[Any, ...], ...]]
    read: Callable[..., tuple[tuple[Any, ...], ...]]


def compile_groups(
    groups: Sequence[Sequence[Bound]],
    byte_order: str,
    expressions: dict[str, str],
    names: Mapping[str, Any],
    behind: Sequence[Behind] = (),
    wanted: Wanted | None = None,
) -> tuple[Decode, int, tuple[dict[str, int], ...]]:
    """Compile bound rows without hops, and what lies behind their pointers, into one function.

    Returns the function, the number of bytes that the buffer must have, and per group the index of the names of its
    rows. ``expressions`` maps the ``by`` of a Convert to a Python expression over ``x`` (the raw value) and ``c`` (the
    clock); ``names`` are what the expressions may call. With ``wanted`` the function returns that, no tuples.
    """
    units: dict[tuple[int, int, str], str] = {}
    scope: dict[str, Any] = dict(names)
    endian = "little" if byte_order == "<" else "big"
    bodies: list[str] = []
    standing: list[dict[str, str]] = []
    indexes: list[dict[str, int]] = []
    for number, bounds in enumerate(groups):
        own: dict[str, str] = {}
        for bound in bounds:
            raw = _raw(bound, units, scope, endian)
            _add(own, bound.field.name, raw)
            for convert in bound.field.converts:
                missing = bound.absent is not None
                _add(own, convert.name, raw if missing else f"({_apply(expressions[convert.by], raw)})")
        children = [
            (f"b{n}[{one.feeds.index(number)}]", one.names[one.feeds.index(number)])
            for n, one in enumerate(behind)
            if number in one.feeds
        ]
        bodies.append(_tuple([*own.values(), *(f"*{values}" for values, _ in children)]))
        indexes.append({name: place for place, name in enumerate(own)})
        there = {name: f"{values}[{at}]" for values, found in children for at, name in enumerate(found)}
        standing.append(own | there)
    followed = [
        _follow(n, one, _raw(one.pointer, units, scope, endian), scope) for n, one in enumerate(behind)
    ]
    lines, size = _unpack_lines(units, byte_order, scope)
    lines += [*followed, f"return {_tuple(bodies) if wanted is None else wanted(standing)}"]
    source = "def decode(buf, c, address):\n" + "".join(f"  {line}\n" for line in lines)
    exec(compile(source, "<sockcrash layout>", "exec"), scope)
    return scope["decode"], size, tuple(indexes)


def _tuple(parts: Iterable[str]) -> str:
    return "(" + "".join(f"{part}," for part in parts) + ")"


def _follow(number: int, behind: Behind, pointer: str, scope: dict[str, Any]) -> str:
    """The line that takes what lies behind a pointer."""
    scope[f"known{number}"], scope[f"read{number}"] = behind.known.get, behind.read
    return f"b{number} = known{number}({pointer}) or read{number}({pointer}, address, buf, c)"


def _add(own: dict[str, str], name: str, expression: str) -> None:
    if name in own:
        raise ValueError(f"two rows of one group are named {name}")
    own[name] = expression


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
