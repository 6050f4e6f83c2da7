# SPDX-License-Identifier: LGPL-2.1-or-later
"""What do the kernel's own symbol tables (``kallsyms_*``) say of a name or an address?

Every name is a row of one-byte tokens behind its length; the first letter that comes out is the kind as
``nm`` writes it. Only the names that are asked for are decoded where the kernel has an index by name
(``kallsyms_seqs_of_names``, Linux 6.2 on and some stable kernels); without one all of them are, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from sockcrash.errors import TargetError

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

__all__ = ("Kallsyms", "Named", "Tables", "damaged", "tokens")

MAX_SYMBOLS = 1 << 24  # three-byte sequence numbers reach no further
_GROUP = 256  # names between two marks
_ADDRESS_MASK = (1 << 64) - 1


class Named(NamedTuple):
    """A symbol: its name, its address, and its kind as ``nm`` writes it (T text, D data, …)."""

    name: str
    address: int
    code: str


class Encoding(Enum):
    """How an entry of ``kallsyms_offsets`` gives an address."""

    RELATIVE = "unsigned, from kallsyms_relative_base"
    PERCPU = "absolute if not negative, else downwards from kallsyms_relative_base - 1"
    PLACE = "signed, from the entry's own address"  # Linux 7.x


@dataclass(frozen=True, slots=True)
class Tables:
    """The raw tables as they were read. ``offsets`` are ``s32[]``."""

    names: bytes
    tokens: tuple[bytes, ...]
    offsets: array[int]
    offsets_address: int
    base: int


class Kallsyms:
    """Lookups in one kernel's tables. Raises TargetError when they do not fit together."""

    label = "kallsyms"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._count = len(tables.offsets)
        self._marks = _marks(tables.names, self._count)
        self._encoding = Encoding.RELATIVE
        self._seqs = b""
        self._scanned: dict[bytes, list[int]] | None = None

    @property
    def count(self) -> int:
        """How many symbols there are."""
        return self._count

    def use_index(self, seqs: bytes) -> bool:
        """Look up names by this index of three-byte numbers, if samples of it are in order of their names."""
        if len(seqs) < 3 * self._count:
            return False
        self._seqs = seqs
        positions = sorted({self._count * step // 64 for step in range(64)} | {self._count - 1})
        try:
            sample = [self._expand(self._sequence(position))[1:] for position in positions]
        except TargetError:
            sample = []
        if sample and sample == sorted(sample) and len({*map(self._sequence, positions)}) == len(positions):
            return True
        self._seqs = b""
        return False

    def choose_encoding(self, known: dict[str, int]) -> None:
        """Take the encoding under which the symbols named in ``known`` have the addresses given there.

        Raises TargetError if there is none: these are then not the tables of this kernel.
        """
        indexes = {name: found for name in known if (found := list(self._indexes(name)))}
        for encoding in Encoding:
            self._encoding = encoding
            if indexes and all(known[name] in map(self._address, found) for name, found in indexes.items()):
                return
        raise damaged(f"they {'contradict' if indexes else 'lack the symbols of'} VMCOREINFO")

    def find(self, name: str) -> list[Named]:
        """Every symbol of this name."""
        return [self._symbol(index) for index in self._indexes(name)]

    def at(self, address: int) -> list[Named]:
        """The symbols at the nearest address at or below this one; none if it lies outside the kernel."""
        after = self._after(address)
        if not after or after == self._count:
            return []
        first = after - 1
        start = self._address(first)
        while first and self._address(first - 1) == start:
            first -= 1
        return [self._symbol(index) for index in range(first, after)]

    def next_address(self, address: int) -> int:
        """The lowest address of a symbol above this one, or the address itself if it is the last."""
        after = self._after(address)
        return self._address(after) if after < self._count else address

    def all(self) -> Iterator[Named]:
        """All symbols, by address."""
        return map(self._symbol, range(self._count))

    def _after(self, address: int) -> int:
        """The first entry above an address: the tables are sorted."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._address(middle) <= address:
                low = middle + 1
            else:
                high = middle
        return low

    def _address(self, index: int) -> int:
        offset = self._tables.offsets[index]
        if self._encoding is Encoding.PLACE:
            return (self._tables.offsets_address + 4 * index + offset) & _ADDRESS_MASK
        if self._encoding is Encoding.RELATIVE:
            return (self._tables.base + (offset & 0xFFFFFFFF)) & _ADDRESS_MASK
        return offset if offset >= 0 else (self._tables.base - 1 - offset) & _ADDRESS_MASK

    def _symbol(self, index: int) -> Named:
        text = self._expand(index).decode("ascii", "backslashreplace")
        return Named(text[1:], self._address(index), text[:1])

    def _expand(self, index: int) -> bytes:
        """Kind letter and name of an entry."""
        names = self._tables.names
        at = self._marks[index // _GROUP]
        for _ in range(index % _GROUP):
            at += names[at] + 1 if names[at] < 0x80 else (names[at] & 0x7F | names[at + 1] << 7) + 2
        start, end = _entry(names, at)
        return b"".join(map(self._tables.tokens.__getitem__, names[start:end]))

    def _indexes(self, name: str) -> Iterator[int]:
        wanted = name.encode("utf-8", "replace")
        if not wanted or b"\0" in wanted:
            return iter(())
        return self._indexes_by_index(wanted) if self._seqs else self._indexes_by_scan(wanted)

    def _sequence(self, position: int) -> int:
        index = int.from_bytes(self._seqs[3 * position : 3 * position + 3], "big")
        if index >= self._count:
            raise damaged(f"the index by name leads to symbol {index} of {self._count}")
        return index

    def _indexes_by_index(self, wanted: bytes) -> Iterator[int]:
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self._expand(self._sequence(middle))[1:] < wanted:
                low = middle + 1
            else:
                high = middle
        while low < self._count:
            index = self._sequence(low)
            if self._expand(index)[1:] != wanted:
                return
            yield index
            low += 1

    def _indexes_by_scan(self, wanted: bytes) -> Iterator[int]:
        if self._scanned is None:
            self._scanned = self._scan()
        return iter(self._scanned.get(wanted, ()))

    def _scan(self) -> dict[bytes, list[int]]:
        """Name → indexes, of every entry."""
        scanned: dict[bytes, list[int]] = {}
        for index, entry in enumerate(self._expand_all().split(b"\0")):
            scanned.setdefault(entry[1:], []).append(index)
        return scanned

    def _expand_all(self) -> bytes:
        """Kind letter and name of every entry, with NULs between them."""
        names, token = self._tables.names, self._tables.tokens.__getitem__
        parts: list[bytes] = []
        add, extend = parts.append, parts.extend
        end = 0
        for _ in range(self._count):
            start, end = _entry(names, end)
            extend(map(token, names[start:end]))
            add(b"\0")
        return b"".join(parts[:-1])


def damaged(what: str) -> TargetError:
    """The error that says what is wrong with the tables."""
    return TargetError(
        f"the kernel's symbol tables (kallsyms) can't be used: {what}",
        hint="give symbols with --system-map FILE, or debug information with -s VMLINUX",
    )


def tokens(table: bytes, index: tuple[int, ...]) -> tuple[bytes, ...]:
    """The 256 strings that the bytes of a name stand for.

    Raises TargetError if table and index do not fit.
    """
    found: list[bytes] = []
    expected = 0
    for start in index:
        end = table.find(b"\0", start)
        if end < 0 or start != expected or not table[start:end].isascii():
            raise damaged("the token table does not fit its index")
        found.append(table[start:end])
        expected = end + 1
    return tuple(found)


def _entry(names: bytes, at: int) -> tuple[int, int]:
    """Start and end of the tokens of the entry at this place.

    Since Linux 6.1 a length above 127 has two bytes.
    """
    length = names[at]
    if length < 0x80:
        return at + 1, at + 1 + length
    length = length & 0x7F | names[at + 1] << 7
    return at + 2, at + 2 + length


def _marks(names: bytes, count: int) -> list[int]:
    """Where every 256th name begins; walks all of them, which proves that they fit into their space."""
    marks: list[int] = []
    at = 0
    try:
        for first in range(0, count, _GROUP):
            marks.append(at)
            for _ in range(min(_GROUP, count - first)):
                length = names[at]
                if length < 0x80:
                    at += length + 1
                else:
                    at += (length & 0x7F | names[at + 1] << 7) + 2
                if not length:
                    raise damaged("a name has no letters")
    except IndexError:
        at = len(names) + 1
    if at > len(names):
        raise damaged(f"{count} names do not fit into {len(names)} bytes")
    marks.append(at)
    return marks
