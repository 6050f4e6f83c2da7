# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where this kernel keeps each field, and how its bytes become values.

A row (:class:`Field`) names a fact once and lists the places where kernels have kept it. Binding takes the first
place that this kernel's types have; all bound rows of a struct are compiled into one function that unpacks a buffer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.lost_types import no_types
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from drgn import Program, Type

__all__ = (
    "STEP",
    "Bound",
    "Convert",
    "Field",
    "Group",
    "MemberError",
    "Place",
    "Spot",
    "bind",
    "resolve",
    "resolve_in",
)


@dataclass(frozen=True, slots=True)
class Place:
    """One way in which kernels have stored a field.

    ``path`` is a C designator below the row's struct, with ``->`` for pointer hops, ``[n]`` for elements and
    ``<struct outer.member>`` for container_of.
    ``bit`` is the name of an enumerator (or a number): the field is that bit of the member. ``since`` and ``commit``
    are documentation and never a condition.
    """

    path: str
    bit: str | int | None = None
    since: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Convert:
    """A second value with a name of its own, computed from the raw member by an expression of kernel.units."""

    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Field:
    """A row: a name, its struct, the places newest first, and the converted values that go with it.

    ``shared`` marks what many sockets point to alike (a namespace, a congestion control): it is read once.
    """

    name: str
    ctype: str
    places: tuple[Place, ...]
    converts: tuple[Convert, ...] = ()
    shared: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Rows that start at the same address and become one section of a record. A group equals itself only."""

    name: str
    fields: tuple[Field, ...]

    def narrowed(self, names: Collection[str]) -> Group:
        """The rows that have one of these names, themselves or converted."""
        fields = (
            f for f in self.fields if f.name in names or any(convert.name in names for convert in f.converts)
        )
        return Group(self.name, tuple(fields))


@dataclass(frozen=True, slots=True)
class Spot:
    """A scalar (or an array of them) at a fixed place of a struct, as the kernel's types say.

    ``offset`` and ``size`` are bytes, ``bits`` > 0 marks a bit-field that starts ``shift`` bits above bit 0 of the
    unit of ``size`` bytes at ``offset``.
    """

    offset: int
    size: int
    code: str
    count: int = 1
    shift: int = 0
    bits: int = 0
    signed: bool = False
    ctype: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """How one row was bound: to the spot and place that won, through pointer hops if any; or absent, and why."""

    field: Field
    place: Place | None
    spot: Spot | None
    absent: Absent | None
    hops: tuple[Spot, ...] = ()


class MemberError(Exception):
    """A path does not resolve in this kernel's types."""


class _NoMemberError(MemberError):
    """This kernel's types have no such member."""


class _NoTypeError(MemberError):
    """This kernel's types don't define the struct."""


STEP = re.compile(r"(->)|\[(\d+)\]|<(struct \w+)\.(\w+)>|\.?([A-Za-z_]\w*)")
"""One step of the path of a Place: an arrow, an index, a container_of (its struct and member), or a member."""
_CODES = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q"}


def _strip(type_: Type) -> Type:
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    return type_


def resolve(prog: Program, ctype: str, path: str) -> tuple[tuple[Spot, ...], Spot, Type]:
    """Find ``path`` below ``ctype``: the pointers to follow on the way, the spot at its end, and its C type."""
    return resolve_in(prog, _lookup(prog, ctype), path)


def resolve_in(prog: Program, type_: Type, path: str) -> tuple[tuple[Spot, ...], Spot, Type]:
    """As ``resolve``, below a type that is there already."""
    hops: list[Spot] = []
    bit = 0
    bits = 0
    for arrow, index, container, embedded, name in STEP.findall(path):
        if arrow:
            if type_.kind != drgn.TypeKind.POINTER:
                raise _NoMemberError(f"{path}: not a pointer")
            hops.append(_spot(prog, type_, bit, 0))
            type_, bit, bits = _strip(type_.type), 0, 0
        elif index:
            if type_.kind != drgn.TypeKind.ARRAY:
                raise _NoMemberError(f"{path}: not an array")
            type_ = _strip(type_.type)
            bit += int(index) * drgn.sizeof(type_) * 8
        elif container:
            type_ = _lookup(prog, container)
            bit -= _member(type_, embedded)[1]
        else:
            type_, offset, bits = _member(type_, name)
            bit += offset
    return tuple(hops), _spot(prog, type_, bit, bits), type_


def _lookup(prog: Program, ctype: str) -> Type:
    try:
        return _strip(prog.type(ctype))
    except LookupError:
        raise _NoTypeError(f"no {ctype} in the types of this kernel") from None


def _member(type_: Type, name: str) -> tuple[Type, int, int]:
    if type_.kind not in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
        raise _NoMemberError(f"{type_.type_name()} has no members")
    if not type_.is_complete():
        raise _NoTypeError(f"{type_.type_name()} is declared only")
    try:
        member = type_.member(name)
    except LookupError:
        raise _NoMemberError(f"{type_.type_name()} has no member {name}") from None
    return _strip(member.type), member.bit_offset, member.bit_field_size or 0


def _spot(prog: Program, type_: Type, bit: int, bits: int) -> Spot:
    label = type_.type_name()
    if bits:
        return _bit_field(prog, type_, bit, bits, label)
    count = 1
    scalar = type_
    if type_.kind == drgn.TypeKind.ARRAY:
        scalar = _strip(type_.type)
        count = type_.length or 0
    size = drgn.sizeof(scalar) if scalar.kind != drgn.TypeKind.VOID else 0
    if type_.kind == drgn.TypeKind.ARRAY and size == 1:
        return Spot(bit // 8, count, f"{count}s", ctype=label)
    if scalar.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION, drgn.TypeKind.ARRAY) or size not in (
        1,
        2,
        4,
        8,
    ):
        total = drgn.sizeof(type_) if type_.is_complete() else 0
        return Spot(bit // 8, total, f"{total}s", ctype=label)
    signed = _is_signed(scalar)
    code = _CODES[(size, False)]
    return Spot(bit // 8, size, code.lower() if signed else code, count=count, signed=signed, ctype=label)


def _bit_field(prog: Program, type_: Type, bit: int, bits: int, label: str) -> Spot:
    """A bit-field lies in the bytes that it touches and no others: a wider read could pass the end of its struct."""
    start = bit // 8
    size = (bit % 8 + bits + 7) // 8
    shift = bit % 8
    if not _little(prog):
        shift = size * 8 - shift - bits
    code = _CODES.get((size, False), f"{size}s")
    return Spot(start, size, code, shift=shift, bits=bits, signed=_is_signed(type_), ctype=label)


def _is_signed(type_: Type) -> bool:
    if type_.kind == drgn.TypeKind.ENUM:
        return bool(type_.type is not None and type_.type.is_signed)
    return bool(type_.kind == drgn.TypeKind.INT and type_.is_signed)


def _little(prog: Program) -> bool:
    platform = prog.platform
    return platform is None or bool(platform.flags & drgn.PlatformFlags.IS_LITTLE_ENDIAN)


def bind(prog: Program, field: Field) -> Bound:
    """Bind one row: the first of its places that this kernel has."""
    why = Absent(Reason.NOT_IN_KERNEL)
    for place in field.places:
        try:
            hops, spot, _ = resolve(prog, field.ctype, place.path)
            if place.bit is not None:
                number = place.bit if isinstance(place.bit, int) else int(prog.constant(place.bit))
                spot = _one_bit(spot, number)
        except _NoTypeError as error:
            why = no_types(prog, str(error))
        except (_NoMemberError, LookupError):
            pass
        else:
            return Bound(field, place, spot, None, hops)
    return Bound(field, None, None, why)


def _one_bit(spot: Spot, number: int) -> Spot:
    return Spot(
        spot.offset, spot.size, _CODES[(spot.size, False)], shift=spot.shift + number, bits=1, ctype="bit"
    )
