# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernels made up for a test: types, constants, variables and memory of a drgn Program without any target."""

from __future__ import annotations

import drgn
from drgn import Architecture, Object, Platform, PlatformFlags, Program, Type, TypeKind, TypeMember

from sockcrash.kernel.view import Kernel

LITTLE = PlatformFlags.IS_64_BIT | PlatformFlags.IS_LITTLE_ENDIAN
BIG = PlatformFlags.IS_64_BIT


class Said(list[str]):
    """What a walk complained of."""

    def __call__(self, message: str) -> None:
        self.append(message)


class Synthetic:
    """A kernel with HZ, ``jiffies`` and a monotonic clock, and whatever a test adds to it."""

    def __init__(
        self, *, big_endian: bool = False, hz: int = 250, jiffies: int = 0, mono_ns: int = 0
    ) -> None:
        architecture = Architecture.PPC64 if big_endian else Architecture.X86_64
        self.order = "big" if big_endian else "little"
        self.prog = Program(Platform(architecture, BIG if big_endian else LITTLE))
        self.types: dict[tuple[TypeKind, str], Type] = {}
        self.objects: dict[str, Object] = {}
        self.prog.register_type_finder("synthetic", self._find_type, enable_index=0)
        self.prog.register_object_finder("synthetic", self._find_object, enable_index=0)
        self._add_clock(hz, jiffies, mono_ns)

    def _find_type(
        self, _prog: Program, kinds: drgn.TypeKindSet, name: str, _file: str | None
    ) -> Type | None:
        return next(
            (type_ for (kind, tag), type_ in self.types.items() if kind in kinds and tag == name), None
        )

    def _find_object(self, _prog: Program, name: str, *_: object) -> Object | None:
        return self.objects.get(name)

    def _add_clock(self, hz: int, jiffies: int, mono_ns: int) -> None:
        shift = 8
        u32, u64 = self.int(4), self.int(8)
        source = self.struct("clocksource", 8, (u32, "mult", 0), (u32, "shift", 32))
        base = self.struct("tk_read_base", 24, (u64, "base", 0), (u64, "xtime_nsec", 64), (u32, "shift", 128))
        keeper = self.struct("timekeeper", 24, (base, "tkr_mono", 0))
        core = self.struct(None, 24, (keeper, "timekeeper", 0))
        self.objects["clocksource_jiffies"] = Object(
            self.prog, source, {"mult": 1_000_000_000 // hz << shift, "shift": shift}
        )
        self.objects["jiffies_64"] = Object(self.prog, u64, jiffies)
        now = {"base": mono_ns - 7, "xtime_nsec": 7 << shift, "shift": shift}
        self.objects["tk_core"] = Object(self.prog, core, {"timekeeper": {"tkr_mono": now}})

    def int(self, size: int, *, signed: bool = False) -> Type:
        """An integer of the kernel: ``u32`` is ``int(4)``."""
        return self.prog.int_type(f"{'s' if signed else 'u'}{size * 8}", size, signed)

    def char(self, length: int) -> Type:
        """``char[length]``."""
        return self.prog.array_type(self.prog.int_type("char", 1, True), length)

    def array(self, element: Type, length: int) -> Type:
        """An array."""
        return self.prog.array_type(element, length)

    def pointer(self, to: Type) -> Type:
        """A pointer."""
        return self.prog.pointer_type(to)

    def struct(self, tag: str | None, size: int, *members: tuple) -> Type:
        """``struct tag``; members are (type, name or None, bit offset[, bits of a bit-field])."""
        return self._keep(TypeKind.STRUCT, tag, self.prog.struct_type(tag, size, self._members(members)))

    def union(self, tag: str | None, size: int, *members: tuple) -> Type:
        """``union tag``, likewise."""
        return self._keep(TypeKind.UNION, tag, self.prog.union_type(tag, size, self._members(members)))

    def incomplete(self, tag: str) -> Type:
        """``struct tag;`` of which only the name is known."""
        return self._keep(TypeKind.STRUCT, tag, self.prog.struct_type(tag))

    def typedef(self, name: str, type_: Type) -> Type:
        """A typedef."""
        return self.prog.typedef_type(name, type_)

    def constant(self, name: str, value: int) -> None:
        """An enumerator that ``prog.constant`` finds."""
        self.objects[name] = Object(self.prog, self.int(4), value)

    def memory(self, address: int, content: bytes) -> None:
        """Bytes at an address."""

        def read(_address: int, count: int, offset: int, _physical: bool) -> bytes:
            return content[offset : offset + count]

        self.prog.add_memory_segment(address, len(content), read)

    def kernel(self) -> Kernel:
        """The Kernel of all this."""
        return Kernel(self.prog)

    def pack(self, value: int, size: int = 8) -> bytes:
        """An integer as this kernel stores it."""
        return value.to_bytes(size, self.order)  # type: ignore[arg-type]

    def _members(self, members: tuple[tuple, ...]) -> list[TypeMember]:
        return [self._member(*member) for member in members]

    def _member(self, type_: Type, name: str | None, offset: int, bits: int = 0) -> TypeMember:
        what = Object(self.prog, type_, bit_field_size=bits) if bits else type_
        return TypeMember(what, name, offset)

    def _keep(self, kind: TypeKind, tag: str | None, type_: Type) -> Type:
        if tag:
            self.types[kind, tag] = type_
        return type_
