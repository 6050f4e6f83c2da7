# SPDX-License-Identifier: LGPL-2.1-or-later
"""What does a BTF blob hold, and where in it?

The format is ``include/uapi/linux/btf.h``. A blob is indexed in one pass that notes where each type record
starts; names are looked up in the string section when somebody asks for one. Nothing here knows drgn.
"""

from __future__ import annotations

import struct
import sys
from array import array
from enum import IntEnum
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from sockcrash.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Btf", "Header", "Kind", "Record", "read_header")

MAGIC = 0xEB9F
MAX_BLOB = 256 << 20  # bytes; the BTF of a kernel has 4 to 20 MB
MAX_TYPES = 0xFFFFF  # BTF_MAX_TYPE
HEADER_SIZE = 24
LONG_HEADER_SIZE = 32  # since Linux 7.1


class Kind(IntEnum):
    """``BTF_KIND_*``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# 32-bit words behind the three common ones of a record: fixed, per element.
_EXTRA_WORDS: dict[int, tuple[int, int]] = {
    Kind.INT: (1, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (3, 0),
    Kind.STRUCT: (0, 3),
    Kind.UNION: (0, 3),
    Kind.ENUM: (0, 2),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 2),
    Kind.VAR: (1, 0),
    Kind.DATASEC: (0, 3),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (1, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 3),
}


class Record(NamedTuple):
    """One ``struct btf_type`` and the words behind it."""

    kind: int
    name: str
    flag: bool  # kind_flag: bit-fields in a struct, signed values in an enum, a union in FWD
    size: int  # ``size`` or ``type``, whichever the kind has
    length: int  # vlen
    body: memoryview


class Btf:
    """The index of one blob. ``name`` is that of the module, or vmlinux.

    A module's types continue those of ``base``. Raises TargetError if the blob is no BTF, is cut off, has the
    other byte order, or contradicts itself.
    """

    def __init__(
        self, blob: bytes, name: str = "vmlinux", *, base: Btf | None = None, byteorder: str = sys.byteorder
    ) -> None:
        self.name = name
        self.base = base
        self.byteorder = byteorder
        self.header = read_header(blob, name, byteorder)
        types, self._strings, layouts = _sections(blob, self.header, name, split=base is not None)
        self._strings_start: int = base.strings_end if base else 0
        self.strings_end: int = self._strings_start + len(self._strings)
        self._words = _native_words(types, byteorder)
        self.first_id: int = base.end_id if base else 1
        self._offsets = _record_offsets(self._words, _Steps(name, _known_layouts(layouts, byteorder)), name)
        self.end_id: int = self.first_id + len(self._offsets)
        if self.end_id > MAX_TYPES:
            raise self.bad(f"{self.end_id} types are more than BTF can number")
        words = self._words
        self._kinds = bytes([words[offset + 1] >> 24 & 0x7F for offset in self._offsets])
        self._offsets_of: dict[str, list[int]] = {}
        self._by_name: dict[int, dict[int, int]] = {}
        self._more: dict[tuple[int, int], list[int]] = {}
        self._enumerators: dict[int, int] | None = None

    def bad(self, what: str) -> TargetError:
        """The error that says what is wrong with this blob."""
        return _bad(self.name, what)

    def kind(self, type_id: int) -> int:
        """The ``BTF_KIND_*`` of a type, its base's included."""
        owner = self._owner(type_id)
        return owner._kinds[type_id - owner.first_id] if type_id else Kind.VOID

    def record(self, type_id: int) -> Record:
        """A type by its number, its base's included."""
        owner = self._owner(type_id)
        start = owner._offsets[type_id - owner.first_id]
        words = owner._words
        info = words[start + 1]
        kind, length = info >> 24 & 0x7F, info & 0xFFFFFF
        fixed, per_element = _EXTRA_WORDS.get(kind, (0, 0))
        body = words[start + 3 : start + 3 + fixed + per_element * length]
        return Record(kind, owner.string(words[start]), bool(info >> 31), words[start + 2], length, body)

    def string(self, offset: int) -> str:
        """The string at an offset, its base's included."""
        if offset < self._strings_start and self.base:
            return self.base.string(offset)
        start = offset - self._strings_start
        end = self._strings.find(b"\0", start)
        if start >= len(self._strings) or end < 0:
            raise self.bad(f"string offset {offset:#x} is beyond its strings")
        return self._strings[start:end].decode("utf-8", "backslashreplace")

    def find(self, kind: int, name: str) -> int | None:
        """The number of the first type of this kind and name in this blob (not in its base).

        A name that a kernel defines more than once means the definition with the lowest number.
        """
        index = self._index(kind)
        return next((index[offset] for offset in self._string_offsets(name) if offset in index), None)

    def find_all(self, kind: int, name: str) -> list[int]:
        """Every type of this kind and name in this blob, by number."""
        index = self._index(kind)
        return [
            type_id
            for offset in self._string_offsets(name)
            if offset in index
            for type_id in self._more.get((kind, offset), [index[offset]])
        ]

    def find_enumerator(self, name: str) -> int | None:
        """The number of the first ENUM or ENUM64 in this blob that has an enumerator of this name."""
        if self._enumerators is None:
            self._enumerators = self._index_enumerators()
        index = self._enumerators
        return next((index[offset] for offset in self._string_offsets(name) if offset in index), None)

    def ids(self, kind: int) -> Iterator[int]:
        """The numbers of all types of a kind in this blob."""
        at = self._kinds.find(kind)
        while at >= 0:
            yield self.first_id + at
            at = self._kinds.find(kind, at + 1)

    def has_signed_enums(self) -> bool:
        """Whether the writer marked signed enums (pahole 1.24 and later); else an enumerator's sign must be
        guessed.
        """
        words, offsets = self._words, self._offsets
        return any(words[offsets[i - self.first_id] + 1] >> 31 for i in self.ids(Kind.ENUM))

    def _owner(self, type_id: int) -> Btf:
        owner: Btf = self
        while type_id < owner.first_id and owner.base:
            owner = owner.base
        if type_id >= owner.end_id:
            raise self.bad(f"type {type_id} is beyond its last one, {owner.end_id - 1}")
        return owner

    def _string_offsets(self, name: str) -> list[int]:
        """Where the string stands. BTF writers keep each string once, in a base or in the blob itself."""
        offsets = self._offsets_of.get(name)
        if offsets is None:
            offsets = self._offsets_of[name] = list(self._search_string(name.encode("utf-8", "replace")))
        return offsets if self.base is None else self.base._string_offsets(name) + offsets

    def _search_string(self, wanted: bytes) -> Iterator[int]:
        if not wanted or b"\0" in wanted:
            return
        if self._strings.startswith(wanted + b"\0"):
            yield self._strings_start
        at = self._strings.find(b"\0" + wanted + b"\0")
        if at >= 0:
            yield self._strings_start + at + 1

    def _index(self, kind: int) -> dict[int, int]:
        """For one kind: string offset of a name → number of the first type that has it."""
        index = self._by_name.get(kind)
        if index is None:
            index = {}
            words, offsets = self._words, self._offsets
            for type_id in self.ids(kind):
                name = words[offsets[type_id - self.first_id]]
                first = index.setdefault(name, type_id)
                if first != type_id and name:
                    self._more.setdefault((kind, name), [first]).append(type_id)
            self._by_name[kind] = index
        return index

    def _index_enumerators(self) -> dict[int, int]:
        index: dict[int, int] = {}
        words = self._words
        last_first = sorted((*self.ids(Kind.ENUM), *self.ids(Kind.ENUM64)), reverse=True)
        for type_id in last_first:
            start = self._offsets[type_id - self.first_id]
            per_element = _EXTRA_WORDS[self._kinds[type_id - self.first_id]][1]
            end = start + 3 + per_element * (words[start + 1] & 0xFFFFFF)
            index.update(zip(words[start + 3 : end : per_element], repeat(type_id)))
        return index


class _Steps(dict[int, int]):
    """``info`` word of a record → words in the record, computed once per distinct word."""

    def __init__(self, name: str, layouts: dict[int, tuple[int, int]]) -> None:
        super().__init__()
        self._name = name
        self._layouts = layouts

    def __missing__(self, info: int) -> int:
        layout = self._layouts.get(info >> 24 & 0x7F)
        if layout is None:
            raise _bad(self._name, f"a type has the unknown kind {info >> 24 & 0x7F}")
        self[info] = step = 3 + layout[0] + layout[1] * (info & 0xFFFFFF)
        return step


def _bad(name: str, what: str) -> TargetError:
    return TargetError(
        f"the BTF of {name} is damaged or not for this kernel: {what}",
        hint="give the right one with --btf FILE, or debug information with -s VMLINUX",
    )


class Header(NamedTuple):
    """Start and length of the types, the strings and the layout table (none before Linux 7.1), in bytes."""

    types: tuple[int, int]
    strings: tuple[int, int]
    layouts: tuple[int, int]

    @property
    def end(self) -> int:
        """How many bytes the blob has."""
        return max(start + size for start, size in self)


def read_header(blob: bytes, name: str, byteorder: str = sys.byteorder) -> Header:
    """What a blob, or its first 32 bytes, says of itself.

    Raises TargetError if that is no BTF of this byte order.
    """
    if len(blob) < HEADER_SIZE:
        raise _bad(name, f"it has {len(blob)} bytes")
    order = "<" if byteorder == "little" else ">"
    magic, version, _flags, length, *fields = struct.unpack_from(order + "HBBIIIII", blob)
    if magic == int.from_bytes(MAGIC.to_bytes(2, "big"), "little"):
        raise _bad(name, "its byte order is not that of the kernel")
    if magic != MAGIC or version != 1 or length < HEADER_SIZE:
        raise _bad(name, f"it begins with magic {magic:#x} and version {version}, not {MAGIC:#x} and 1")
    if length >= LONG_HEADER_SIZE and len(blob) >= LONG_HEADER_SIZE:
        fields += struct.unpack_from(order + "II", blob, HEADER_SIZE)
    else:
        fields += (0, 0)
    starts = (length + field for field in fields[::2])
    return Header(*zip(starts, fields[1::2], strict=True))


def _sections(blob: bytes, header: Header, name: str, *, split: bool) -> tuple[bytes, bytes, bytes]:
    """The bytes of the types, of the strings and of the layout table."""
    if len(blob) > MAX_BLOB:
        raise _bad(name, f"it has {len(blob)} bytes")
    if header.end > len(blob):
        raise _bad(name, f"it should have {header.end} bytes, but it has {len(blob)}")
    types, strings, layouts = (blob[start : start + size] for start, size in header)
    if header.types[0] % 4 or len(types) % 4:
        raise _bad(name, "its types are not aligned")
    if strings[-1:] != b"\0" and not (split and not strings):
        raise _bad(name, "its strings have no end")
    if not split and strings[:1] != b"\0":
        raise _bad(name, "its strings do not begin with the empty one")
    return types, strings, layouts


def _native_words(types: bytes, byteorder: str) -> memoryview:
    if byteorder == sys.byteorder:
        return memoryview(types).cast("I")
    words = array("I", types)
    words.byteswap()
    return memoryview(words)


def _known_layouts(table: bytes, byteorder: str) -> dict[int, tuple[int, int]]:
    """Sizes of the records of each kind: those known here, and what ``struct btf_layout`` says of others."""
    order = "<" if byteorder == "little" else ">"
    layouts: dict[int, tuple[int, int]] = {}
    for kind, (fixed, per_element, _flags) in enumerate(
        struct.iter_unpack(order + "BBH", table[: len(table) & ~3])
    ):
        layouts[kind] = (fixed // 4, per_element // 4)
    return layouts | _EXTRA_WORDS


def _record_offsets(words: memoryview, steps: dict[int, int], name: str) -> array[int]:
    """Where each record starts, in words."""
    offsets: list[int] = []
    note = offsets.append
    at, end = 0, len(words)
    try:
        while at < end:
            note(at)
            at += steps[words[at + 1]]
    except IndexError:
        raise _bad(name, "its last type is cut off") from None
    if at != end:
        raise _bad(name, "its last type is cut off")
    return array("I", offsets)
