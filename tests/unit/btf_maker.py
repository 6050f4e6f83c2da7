# SPDX-License-Identifier: LGPL-2.1-or-later
"""BTF blobs made up for a test, by ``include/uapi/linux/btf.h``."""

from __future__ import annotations

import struct

MAGIC = 0xEB9F
(
    INT,
    PTR,
    ARRAY,
    STRUCT,
    UNION,
    ENUM,
    FWD,
    TYPEDEF,
    VOLATILE,
    CONST,
    RESTRICT,
    FUNC,
    FUNC_PROTO,
    VAR,
    DATASEC,
    FLOAT,
    DECL_TAG,
    TYPE_TAG,
    ENUM64,
) = range(1, 20)
SIGNED, CHAR, BOOL = 1, 2, 4


class BtfMaker:
    """Collects types; each method returns the new type's number. ``base`` makes a module's blob."""

    def __init__(self, *, order: str = "<", base: BtfMaker | None = None) -> None:
        self.order = order
        self.strings = b"" if base else b"\0"
        self.types = b""
        self.next_id = base.next_id if base else 1
        self._base = base
        self._known: dict[str, int] = {}

    def string(self, text: str) -> int:
        """The offset of a string, which is added if neither the base nor the blob has it."""
        if self._base and (text in self._base._known or not text):
            return self._base.string(text)
        if text and text not in self._known:
            self._known[text] = (len(self._base.strings) if self._base else 0) + len(self.strings)
            self.strings += text.encode() + b"\0"
        return self._known.get(text, 0)

    def add(
        self,
        kind: int,
        name: str = "",
        size: int = 0,
        words: tuple[int, ...] = (),
        vlen: int = 0,
        flag: bool = False,
    ) -> int:
        """Any record. ``size`` is also the type that it refers to."""
        info = kind << 24 | vlen | flag << 31
        head = self.string(name), info, size
        self.types += struct.pack(
            f"{self.order}{3 + len(words)}I", *head, *(word & 0xFFFFFFFF for word in words)
        )
        self.next_id += 1
        return self.next_id - 1

    def int(self, name: str, size: int, encoding: int = 0, bits: int | None = None) -> int:
        """An INT of so many bytes."""
        return self.add(INT, name, size, (encoding << 24 | (8 * size if bits is None else bits),))

    def array(self, element: int, length: int) -> int:
        """An ARRAY."""
        return self.add(ARRAY, words=(element, element, length))

    def struct(
        self,
        name: str,
        size: int,
        *members: tuple[str, int, int] | tuple[str, int, int, int],
        kind: int = STRUCT,
    ) -> int:
        """A STRUCT of members: name, type, place in bits, and width in bits for a bit-field."""
        flag = any(len(member) == 4 for member in members)
        words: list[int] = []
        for member in members:
            width = member[3] if len(member) == 4 else 0
            words += self.string(member[0]), member[1], member[2] | width << 24
        return self.add(kind, name, size, tuple(words), len(members), flag)

    def enum(self, name: str, size: int = 4, flag: bool = False, **values: int) -> int:
        """An ENUM."""
        words = [word for key, value in values.items() for word in (self.string(key), value)]
        return self.add(ENUM, name, size, tuple(words), len(values), flag)

    def enum64(self, name: str, flag: bool = False, **values: int) -> int:
        """An ENUM64."""
        words = [word for key, value in values.items() for word in (self.string(key), value, value >> 32)]
        return self.add(ENUM64, name, 8, tuple(words), len(values), flag)

    def function(self, result: int, *parameters: tuple[str, int]) -> int:
        """A FUNC_PROTO; the parameter ("", 0) at the end is the dots."""
        words = [word for name, type_id in parameters for word in (self.string(name), type_id)]
        return self.add(FUNC_PROTO, "", result, tuple(words), len(parameters))

    def blob(self, layouts: bytes = b"") -> bytes:
        """The whole: header, types, strings and, since Linux 7.1, the table of record layouts."""
        length = 32 if layouts else 24
        fields = [0, len(self.types), len(self.types), len(self.strings)]
        if layouts:
            fields += len(self.types) + len(self.strings), len(layouts)
        header = struct.pack(f"{self.order}HBBI{len(fields)}I", MAGIC, 1, 0, length, *fields)
        return header + self.types + self.strings + layouts


def small_kernel() -> BtfMaker:
    """Some of everything: what most tests and the fuzzer begin with."""
    make = BtfMaker()
    u8 = make.int("unsigned char", 1)
    s32 = make.int("int", 4, SIGNED)
    u32 = make.int("unsigned int", 4)
    u64 = make.int("long unsigned int", 8)
    flag = make.int("_Bool", 1, BOOL)
    make.add(FLOAT, "double", 8)
    make.add(TYPEDEF, "u8", u8)
    typedef = make.add(TYPEDEF, "u32", u32)
    list_head = make.next_id
    to_list = list_head + 1
    make.struct("list_head", 16, ("next", to_list, 0), ("prev", to_list, 64))
    make.add(PTR, "", list_head)
    make.add(FWD, "elsewhere")
    to_forward = make.add(PTR, "", make.next_id - 1)
    make.add(FWD, "list_head")
    to_definition = make.add(PTR, "", make.next_id - 1)
    constant = make.add(CONST, "", make.add(VOLATILE, "", u64))
    tagged = make.add(TYPE_TAG, "rcu", list_head)
    flexible = make.array(u8, 0)
    states = make.enum("state", ESTABLISHED=1, LISTEN=10)
    make.enum("", FLAG_FREEBIND=11, FLAG_TRANSPARENT=15)
    make.enum("error", flag=True, NO_ERROR=0, BROKEN=-7)
    make.enum64("wide", WIDE_HIGH=1 << 63, WIDE_LOW=3)
    make.add(ENUM, "later", 4)
    callback = make.add(PTR, "", make.function(s32, ("skb", to_list), ("", 0)))
    inner = make.struct("", 8, ("a", u32, 0), ("b", u32, 32), kind=UNION)
    make.struct(
        "sock",
        96,
        ("family", typedef, 0, 0),
        ("reuse", u8, 32, 4),
        ("ipv6only", flag, 36, 1),
        ("", inner, 64, 0),
        ("node", list_head, 128, 0),
        ("ready", callback, 256, 0),
        ("elsewhere", to_forward, 320, 0),
        ("list", to_definition, 384, 0),
        ("stamp", constant, 448, 0),
        ("tagged", make.add(PTR, "", tagged), 512, 0),
        ("state", states, 576, 0),
        ("pairs", make.array(make.array(u32, 2), 2), 608, 0),
        ("tail", flexible, 736, 0),
    )
    rq = make.struct("rq", 8, ("nr_running", u32, 0))
    variable = make.add(VAR, "runqueues", rq, (1,))
    make.add(DATASEC, ".data..percpu", 8, (variable, 0, 8), 1)
    make.add(FUNC, "tcp_v4_rcv", make.function(s32, ("skb", to_list)), vlen=1)
    make.add(DECL_TAG, "bpf_kfunc", make.next_id - 1, (0xFFFFFFFF,))
    return make
