# SPDX-License-Identifier: LGPL-2.1-or-later
"""Can a type of a BTF blob be built, or does it contain itself, burst its own size or expand without end?

drgn follows members that lie within a struct without asking how deep they go. What this lets through is
finite and small enough to be walked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sockcrash.kernel.btf import Kind

if TYPE_CHECKING:
    from sockcrash.kernel.btf import Btf, Record

__all__ = ("Checker",)

MAX_NESTING = 100  # typedefs, pointers, arrays, qualifiers and structs within each other; C code has a dozen
MAX_TYPE_SIZE = 1 << 32  # bytes
MAX_EXPANDED = 1 << 16  # members of a struct, those of the structs within it included
MAX_SCALAR_SIZE = 16  # bytes
MAX_EMPTY_ELEMENTS = 1 << 16  # of an array whose elements have no bytes
POINTER_SIZE = 8

_COMPOUND = frozenset((Kind.STRUCT, Kind.UNION))
_EXPANDED = frozenset((*_COMPOUND, Kind.FUNC_PROTO))
_ENUM = frozenset((Kind.ENUM, Kind.ENUM64))
_SCALAR = frozenset((Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.ENUM64))
_THROUGH = frozenset((Kind.TYPEDEF, Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG))
_UNNAMED = frozenset((Kind.PTR, Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG, Kind.ARRAY))


class Extent(NamedTuple):
    """How many bytes a type takes, the struct or union that lies in them (0: none), and whether it is a number."""

    size: int
    compound: int = 0
    integral: bool = False


_UNSIZED = Extent(0)


class Checker:
    """Checks types of one blob, each once. Raises TargetError for a type that can't be."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._extents: dict[int, Extent] = {0: _UNSIZED}
        self._weights: dict[int, int] = {}
        self._open: set[int] = set()

    def check(self, type_id: int) -> None:
        """That a type ends, and that the members of a struct and the elements of an array fit into it."""
        kind = self._btf.kind(type_id)
        if kind in _EXPANDED:
            self._weight(type_id)
        elif self.extent(type_id) is _UNSIZED and kind == Kind.ARRAY:
            raise self._btf.bad(f"array {type_id} is of something that has no size")

    def extent(self, type_id: int) -> Extent:
        """The size of any type that has one; of others 0 bytes."""
        known = self._extents.get(type_id)
        if known is None:
            known = self._extents[type_id] = self._measure(type_id)
        return known

    def _measure(self, type_id: int) -> Extent:
        count, arrays = 1, 0
        for _ in range(MAX_NESTING):
            kind = self._btf.kind(type_id)
            if kind == Kind.PTR:
                return self._sized(Extent(POINTER_SIZE * count))
            if kind not in _COMPOUND and kind not in _SCALAR and kind not in _THROUGH and kind != Kind.ARRAY:
                return _UNSIZED
            record = self._btf.record(type_id)
            if kind in _COMPOUND:
                self._check_empty(record, count)
                return self._sized(Extent(record.size * count, type_id))
            if kind in _ENUM and not record.length:
                return _UNSIZED
            if kind in _SCALAR:
                if record.size > MAX_SCALAR_SIZE:
                    raise self._btf.bad(f"{record.name!r} has {record.size} bytes")
                return self._sized(Extent(record.size * count, integral=kind != Kind.FLOAT and not arrays))
            if kind == Kind.ARRAY:
                type_id = record.body[0]
                count *= record.body[2]
                arrays += 1
            else:
                type_id = record.size
        raise self._btf.bad(f"type {type_id} contains itself")

    def _check_empty(self, record: Record, count: int) -> None:
        if not record.size and count > MAX_EMPTY_ELEMENTS:
            raise self._btf.bad(f"an array has {count} elements without bytes")

    def _sized(self, extent: Extent) -> Extent:
        if extent.size >= MAX_TYPE_SIZE:
            raise self._btf.bad(f"a type has {extent.size} bytes")
        return extent

    def _weight(self, type_id: int) -> int:
        weight = self._weights.get(type_id)
        if weight is None:
            if type_id in self._open or len(self._open) > MAX_NESTING:
                raise self._btf.bad(f"type {type_id} contains itself")
            self._open.add(type_id)
            try:
                record = self._btf.record(type_id)
                weigh = self._weigh_function if record.kind == Kind.FUNC_PROTO else self._weigh_members
                weight = weigh(record)
            finally:
                self._open.discard(type_id)
            if weight > MAX_EXPANDED:
                raise self._btf.bad(f"type {type_id} has {weight} members when expanded")
            self._weights[type_id] = weight
        return weight

    def _weigh_members(self, record: Record) -> int:
        if record.size >= MAX_TYPE_SIZE:
            raise self._btf.bad(f"{record.name!r} has {record.size} bytes")
        space = 8 * record.size
        weight = record.length
        words, extents = record.body.tolist(), self._extents
        for type_id, place in zip(words[1::3], words[2::3], strict=True):
            extent = extents.get(type_id) or self.extent(type_id)
            width, position = (place >> 24, place & 0xFFFFFF) if record.flag else (0, place)
            bits = width or 8 * extent.size
            if (width and not (extent.integral and width <= 8 * extent.size)) or (not width and position % 8):
                raise self._btf.bad(f"a member of {record.name!r} can't be a bit-field")
            if extent is _UNSIZED or position + bits > space:
                raise self._btf.bad(f"a member does not fit into {record.name!r}")
            if extent.compound:
                weight += self._weights.get(extent.compound) or self._weight(extent.compound)
        return weight

    def _weigh_function(self, record: Record) -> int:
        return 1 + sum(self._weigh_named(type_id) for type_id in (record.size, *record.body[1::2]))

    def _weigh_named(self, type_id: int) -> int:
        """How much it takes to write a type's name: only functions without a name of their own are written
        out.
        """
        outer = None
        for _ in range(MAX_NESTING):
            kind = self._btf.kind(type_id)
            if kind == Kind.FUNC_PROTO and outer == Kind.PTR:
                return self._weight(type_id)
            if kind == Kind.FUNC_PROTO:
                raise self._btf.bad(f"a function takes or returns function {type_id} itself")
            if kind not in _UNNAMED:
                return 1
            record = self._btf.record(type_id)
            type_id, outer = (record.body[0] if kind == Kind.ARRAY else record.size), kind
        raise self._btf.bad(f"type {type_id} contains itself")
