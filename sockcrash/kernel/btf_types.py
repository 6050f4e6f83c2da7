# SPDX-License-Identifier: LGPL-2.1-or-later
"""How does a BTF record become a drgn type?

Built when asked for and kept: a struct costs its own members, and a member's type nothing until somebody
looks at it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import drgn
from drgn import Qualifiers, TypeKind

from sockcrash.kernel.btf import Btf, Kind, Record
from sockcrash.kernel.btf_check import MAX_NESTING, Checker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ("BtfTypes",)

_INT_SIGNED, _INT_BOOL = 1, 4  # BTF_INT_ENCODING
_QUALIFIERS: dict[int, Qualifiers] = {
    Kind.CONST: Qualifiers.CONST,
    Kind.VOLATILE: Qualifiers.VOLATILE,
    Kind.RESTRICT: Qualifiers.RESTRICT,
}
_FINDABLE: dict[TypeKind, tuple[Kind, ...]] = {
    TypeKind.STRUCT: (Kind.STRUCT,),
    TypeKind.UNION: (Kind.UNION,),
    TypeKind.ENUM: (Kind.ENUM, Kind.ENUM64),
    TypeKind.TYPEDEF: (Kind.TYPEDEF,),
    TypeKind.INT: (Kind.INT,),
    TypeKind.BOOL: (Kind.INT,),
    TypeKind.FLOAT: (Kind.FLOAT,),
}
_MAX_ERRNO = 4095
_INT_NAMES = {1: "char", 2: "short", 4: "int", 8: "long"}


class BtfTypes:
    """The types of one blob for one program. ``base`` is that of vmlinux when the blob is a module's."""

    def __init__(self, prog: drgn.Program, btf: Btf, base: BtfTypes | None = None) -> None:
        self.btf = btf
        self._prog = prog
        self._base = base
        self._checker = Checker(btf)
        self._built: dict[int, drgn.Type] = {}
        self._building: set[int] = set()
        self._guess_signs: bool | None = None
        self._build: dict[int, Callable[[Record], drgn.Type]] = {
            Kind.INT: self._int,
            Kind.FLOAT: self._float,
            Kind.PTR: lambda record: prog.pointer_type(self.type(record.size)),
            Kind.ARRAY: self._array,
            Kind.STRUCT: partial(self._compound, prog.struct_type),
            Kind.UNION: partial(self._compound, prog.union_type),
            Kind.ENUM: self._enum,
            Kind.ENUM64: self._enum,
            Kind.FWD: self._forward,
            Kind.TYPEDEF: lambda record: prog.typedef_type(record.name, self.type(record.size)),
            Kind.FUNC_PROTO: self._function,
            Kind.TYPE_TAG: lambda record: self.type(record.size),
        }

    def find(self, kinds: Iterable[TypeKind], name: str) -> drgn.Type | None:
        """The type of one of these kinds and this name, if the blob defines it."""
        for kind in kinds:
            for btf_kind in _FINDABLE.get(kind, ()):
                type_id = self.btf.find(btf_kind, name)
                if type_id is not None and (found := self.type(type_id)).kind == kind:
                    return found
        return None

    def find_enumerator(self, name: str) -> drgn.Object | None:
        """The enumerator of this name, also of an anonymous enum, as an object of its enum's type."""
        type_id = self.btf.find_enumerator(name)
        if type_id is None:
            return None
        enum = self.type(type_id)
        value = next(item.value for item in enum.enumerators or () if item.name == name)
        return drgn.Object(self._prog, enum, value=value)

    def find_declared(self, kind: Kind, name: str) -> drgn.Type | None:
        """The type of the VAR or FUNC of this name."""
        type_id = self.btf.find(kind, name)
        return None if type_id is None else self.type(self.btf.record(type_id).size)

    def type(self, type_id: int) -> drgn.Type:
        """A type by its number. Raises TargetError if it contains itself or is no type."""
        built = self._built.get(type_id)
        if built is None:
            built = self._built[type_id] = self._make(type_id)
        return built

    def _make(self, type_id: int) -> drgn.Type:
        if not type_id:
            return self._prog.void_type()
        if self._base and type_id < self.btf.first_id:
            return self._base.type(type_id)
        if type_id in self._building or len(self._building) > MAX_NESTING:
            raise self.btf.bad(f"type {type_id} contains itself")
        self._building.add(type_id)
        try:
            record = self.btf.record(type_id)
            qualifier = _QUALIFIERS.get(record.kind)
            if qualifier is not None:
                inner = self.type(record.size)
                return inner.qualified(inner.qualifiers | qualifier)
            build = self._build.get(record.kind)
            if build is None:
                raise self.btf.bad(f"{record.name!r} ({type_id}) is of kind {record.kind}, which is no type")
            self._checker.check(type_id)
            return build(record)
        except (ValueError, OverflowError, TypeError) as error:
            raise self.btf.bad(f"type {type_id}: {error}") from error
        finally:
            self._building.discard(type_id)

    def _int(self, record: Record) -> drgn.Type:
        encoding = record.body[0]
        if (encoding & 0xFF) != record.size * 8 and not encoding >> 24 & _INT_BOOL:
            raise self.btf.bad(f"{record.name} has {encoding & 0xFF} bits in {record.size} bytes")
        if encoding >> 24 & _INT_BOOL:
            return self._prog.bool_type(record.name, record.size)
        return self._prog.int_type(record.name, record.size, bool(encoding >> 24 & _INT_SIGNED))

    def _float(self, record: Record) -> drgn.Type:
        return self._prog.float_type(record.name, record.size)

    def _array(self, record: Record) -> drgn.Type:
        element, _index, length = record.body
        return self._prog.array_type(self.type(element), length)

    def _compound(self, make: Callable[..., drgn.Type], record: Record) -> drgn.Type:
        string, member = self.btf.string, self._member
        words = record.body.tolist()
        members = []
        last = len(words) - 3
        may_flex = record.kind == Kind.STRUCT and last > 0
        for at in range(0, len(words), 3):
            name, type_id, position = words[at : at + 3]
            bits = 0
            if record.flag:
                bits, position = position >> 24, position & 0xFFFFFF
            thunk = partial(member, type_id, bits, may_flex and at == last)
            members.append(drgn.TypeMember(thunk, string(name) or None, position))
        return make(record.name or None, record.size, members)

    def _member(self, type_id: int, bits: int, flexible: bool) -> drgn.Type | drgn.Object:
        if bits:
            return drgn.Object(
                self._prog,
                self.type(type_id),
                absence_reason=drgn.AbsenceReason.OTHER,
                bit_field_size=bits,
            )
        if flexible and self._is_flexible(type_id):
            element = self.btf.record(type_id).body[0]
            return self._prog.array_type(self.type(element))
        return self.type(type_id)

    def _is_flexible(self, type_id: int) -> bool:
        """Whether this is the ``[]`` that ends a struct: BTF writes it as ``[0]``."""
        return self.btf.kind(type_id) == Kind.ARRAY and not self.btf.record(type_id).body[2]

    def _enum(self, record: Record) -> drgn.Type:
        tag = record.name or None
        if not record.length:
            return self._prog.enum_type(tag)
        words = record.body
        if record.kind == Kind.ENUM64:
            values = [low | high << 32 for low, high in zip(words[1::3], words[2::3], strict=True)]
            names, bits = words[::3], 64
        else:
            values = list(words[1::2])
            names, bits = words[::2], 32
        signed = record.flag or self._looks_signed(values, bits)
        if signed:
            values = [value - (1 << bits) if value >> bits - 1 else value for value in values]
        string = self.btf.string
        return self._prog.enum_type(
            tag,
            self._compatible_int(record.size, signed),
            [drgn.TypeEnumerator(string(name), value) for name, value in zip(names, values, strict=True)],
        )

    def _looks_signed(self, values: list[int], bits: int) -> bool:
        """Old writers do not mark signed enums: one with a value just below zero is then taken for one."""
        if self._guess_signs is None:
            self._guess_signs = not self.btf.has_signed_enums()
        return self._guess_signs and any(value >= (1 << bits) - _MAX_ERRNO for value in values)

    def _compatible_int(self, size: int, signed: bool) -> drgn.Type:
        name = _INT_NAMES.get(size)
        if name is None:
            raise self.btf.bad(f"an enum has {size} bytes")
        if not signed:
            name = f"unsigned {name}"
        elif size == 1:
            name = "signed char"
        return self._prog.int_type(name, size, signed)

    def _forward(self, record: Record) -> drgn.Type:
        """The definition, if the blob has exactly one of that name, else an incomplete type."""
        kind = Kind.UNION if record.flag else Kind.STRUCT
        definitions = self.btf.find_all(kind, record.name)
        if len(definitions) == 1:
            return self.type(definitions[0])
        return (self._prog.union_type if record.flag else self._prog.struct_type)(record.name or None)

    def _function(self, record: Record) -> drgn.Type:
        names, types = record.body[::2], record.body[1::2]
        variadic = bool(len(types)) and not types[-1]
        count = len(types) - variadic
        parameters = [
            drgn.TypeParameter(partial(self.type, types[i]), self.btf.string(names[i]) or None)
            for i in range(count)
        ]
        return self._prog.function_type(self.type(record.size), parameters, variadic)
