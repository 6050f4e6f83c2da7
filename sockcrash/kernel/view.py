# SPDX-License-Identifier: LGPL-2.1-or-later
"""One kernel as the rest of sockcrash sees it: bytes by address, bound readers, the clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import clock as _clock
from sockcrash.kernel.compiling import Behind, Decode, Wanted, compile_groups
from sockcrash.kernel.layout import Bound, Field, Group, bind
from sockcrash.kernel.units import EXPRESSIONS, NAMES
from sockcrash.memory import merged
from sockcrash.model import Absent, Names, Reason, Section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from drgn import Program

    from sockcrash.kernel.selection import Index

__all__ = ("Kernel", "Reader", "kernel_of")

_PIECE = 64
_HIGHEST = (1 << 64) - 1
_POINTER = Field("pointer", "", ())


def _door(prog: Program) -> Callable[[int, int], bytes]:
    """``Program.read``, for which addresses that no pointer can hold (a link of garbage, less an offset) fault."""
    read: Callable[[int, int], bytes] = prog.read

    def guarded(address: int, size: int) -> bytes:
        try:
            return read(address, size)
        except OverflowError:
            raise drgn.FaultError("there is no such address", address & _HIGHEST) from None

    return guarded


class Kernel:
    """A drgn Program with what is bound once per kernel: readers, HZ, and the memory door.

    ``read(address, size)`` returns bytes or raises drgn.FaultError. ``exact`` reads nothing of a pointee but the
    members that rows bind (for snapshots). ``index`` is set on a snapshot: the sockets that it holds.
    """

    def __init__(self, prog: Program) -> None:
        self.prog = prog
        self.read: Callable[[int, int], bytes] = _door(prog)
        self.live = bool(prog.flags & drgn.ProgramFlags.IS_LIVE)
        platform = prog.platform
        little = platform is None or bool(platform.flags & drgn.PlatformFlags.IS_LITTLE_ENDIAN)
        self.byte_order = "<" if little else ">"
        self.exact = False
        self.index: Index | None = None
        self.cache: dict[Any, Any] = {}
        self._bound: dict[Field, Bound] = {}
        self._bounds: dict[Group, tuple[Bound, ...]] = {}
        self._offsets: dict[Group, dict[str, int]] = {}
        self._readers: dict[tuple[Group, ...], Reader] = {}
        self._clock: _clock.Clock | None = None

    def unreadable(self, error: drgn.FaultError) -> Absent:
        """Why memory that faulted is absent."""
        reason = Reason.UNREADABLE if self.index is None else Reason.NOT_IN_SNAPSHOT
        return Absent(reason, f"{error.address:#x}")

    def bounds(self, group: Group) -> tuple[Bound, ...]:
        """The rows of a group, bound to this kernel."""
        if group not in self._bounds:
            self._bounds[group] = tuple(map(self._bind, group.fields))
        return self._bounds[group]

    def _bind(self, field: Field) -> Bound:
        if field not in self._bound:
            self._bound[field] = bind(self.prog, field)
        return self._bound[field]

    def offsets(self, group: Group) -> dict[str, int]:
        """Byte offsets of the rows of a group that this kernel has: for links and list heads, which are not decoded."""
        if group not in self._offsets:
            bounds = self.bounds(group)
            self._offsets[group] = {bound.field.name: bound.spot.offset for bound in bounds if bound.spot}
        return self._offsets[group]

    def reader(self, *groups: Group) -> Reader:
        """A compiled reader of groups that start at the same address; made once."""
        found = self._readers.get(groups)
        if found is None:
            found = self._readers[groups] = Reader(self, [self.bounds(group) for group in groups])
        return found

    def clock(self) -> _clock.Clock:
        """The kernel's now, as of the last ``tick``."""
        return self._clock or self.tick()

    def tick(self) -> _clock.Clock:
        """Look at the clock again: a live kernel's goes on, a dump's stands still."""
        if self._clock is None or self.live:
            self._clock = _clock.read_clock(self.prog, self._clock.rate if self._clock else 0)
        return self._clock


class Reader:
    """Bytes of one object, and of what it points to, into one Section per group.

    ``decode(buffer, clock, address)`` gives the bare values: a tuple for each group, in the order of ``indexes``.
    ``spans``: (offset, length) of the bytes of the object itself that they come from.
    """

    def __init__(self, kernel: Kernel, groups: Sequence[Sequence[Bound]]) -> None:
        self.kernel = kernel
        direct = [[bound for bound in group if not bound.hops] for group in groups]
        pointers = sorted(
            {bound.hops[0] for group in groups for bound in group if bound.hops}, key=lambda s: s.offset
        )
        children = [_child(kernel, groups, spot) for spot in pointers]
        self._direct = direct
        self._behind = [
            Behind(
                Bound(_POINTER, None, spot, None),
                child.feeds,
                child.reader.indexes,
                child.known,
                child.values,
            )
            for spot, child in zip(pointers, children, strict=True)
        ]
        self.decode: Callable[[bytes, _clock.Clock, int], tuple[tuple[Any, ...], ...]]
        self.decode, self.size, indexes = compile_groups(
            direct, kernel.byte_order, EXPRESSIONS, NAMES, self._behind
        )
        everywhere = [bound for group in groups for bound in group]
        self._places = [(bound, (*bound.hops, bound.spot)[0]) for bound in everywhere if bound.spot]
        self.spans = merged((spot.offset, spot.size * spot.count) for _, spot in self._places)
        self.indexes: list[Names] = [
            _names(
                index, direct[number], [child.names(number) for child in children if number in child.feeds]
            )
            for number, index in enumerate(indexes)
        ]

    def made(self, wanted: Wanted, names: Mapping[str, Any]) -> Decode:
        """Like ``decode``, a function that returns what an expression makes of the rows; ``names`` it may call."""
        byte_order = self.kernel.byte_order
        made, *_ = compile_groups(
            self._direct, byte_order, EXPRESSIONS, {**NAMES, **names}, self._behind, wanted
        )
        return made

    def sections(self, address: int, buffer: bytes | None = None) -> tuple[Section, ...]:
        """Decode the object at ``address``, from ``buffer`` if its bytes are there already."""
        values = self.decode(self.fetch(address) if buffer is None else buffer, self.kernel.clock(), address)
        return tuple(map(Section, self.indexes, values))

    def salvaged(self, address: int) -> tuple[Section, ...]:
        """As ``sections``, of an object that is partly unreadable: what lies in a hole is Absent."""
        content, holes = self.salvage(address)
        lost = self.names_in(holes)
        why = Absent(Reason.UNREADABLE, f"{address + holes[0][0]:#x}") if holes else None
        return tuple(
            Section(
                section.index,
                tuple(why if name in lost else value for name, value in section.items()),
                holes=bool(holes),
            )
            for section in self.sections(address, content)
        )

    def fetch(self, address: int) -> bytes:
        """The bytes of an object: in one read, or (exact) only its bound members, with zeroes between."""
        read = self.kernel.read
        if not self.kernel.exact:
            return read(address, self.size)
        sparse = bytearray(self.size)
        for offset, length in self.spans:
            sparse[offset : offset + length] = read(address + offset, length)
        return bytes(sparse)

    def salvage(self, address: int) -> tuple[bytes, tuple[tuple[int, int], ...]]:
        """The bytes of an object that is partly unreadable, zeroes in the holes, and the holes (start, end)."""
        content = bytearray(self.size)
        holes: list[tuple[int, int]] = []
        start = 0
        while start < self.size:
            # Up to the next border of pieces in memory, so that none lies on two pages.
            length = min(_PIECE - (address + start) % _PIECE, self.size - start)
            try:
                content[start : start + length] = self.kernel.read(address + start, length)
            except drgn.FaultError:
                holes.append((start, start + length))
            start += length
        return bytes(content), tuple(holes)

    def names_in(self, holes: tuple[tuple[int, int], ...]) -> frozenset[str]:
        """The names of rows (converted ones included) that lie in holes."""
        lost: set[str] = set()
        for bound, spot in self._places:
            if any(
                spot.offset < end and start < spot.offset + spot.size * spot.count for start, end in holes
            ):
                lost.add(bound.field.name)
                lost.update(convert.name for convert in bound.field.converts)
        return frozenset(lost)


class _Child:
    """What lies behind one pointer of a Reader: values for the groups that ``feeds`` counts.

    ``known``: what need not be read: nothing behind NULL, and what lies behind pointers that many sockets share.
    """

    def __init__(
        self, kernel: Kernel, groups: Sequence[Sequence[Bound]], feeds: tuple[int, ...], shared: bool
    ) -> None:
        self.reader = Reader(kernel, groups)
        self.feeds = feeds
        self._shared = shared
        self._counts = [len(index) for index in self.reader.indexes]
        self.known: dict[int, tuple[tuple[Any, ...], ...]] = {
            0: self._absent(Absent(Reason.NOT_APPLICABLE, "NULL pointer"))
        }

    def names(self, number: int) -> Names:
        """The names that it adds to a group."""
        return self.reader.indexes[self.feeds.index(number)]

    def _absent(self, why: Absent) -> tuple[tuple[Any, ...], ...]:
        return tuple((why,) * count for count in self._counts)

    def values(
        self, pointer: int, base: int, buffer: bytes, clock: _clock.Clock
    ) -> tuple[tuple[Any, ...], ...]:
        """The values behind a pointer that is not known, from inside of the object's own buffer or from memory."""
        reader = self.reader
        try:
            inside = 0 <= pointer - base <= len(buffer) - reader.size
            content = buffer[pointer - base :] if inside else reader.fetch(pointer)
            values = reader.decode(content, clock, pointer)
        except drgn.FaultError as error:
            return self._absent(reader.kernel.unreadable(error))
        if self._shared:
            self.known[pointer] = values
        return values


def _names(index: Mapping[str, int], bounds: Sequence[Bound], behind: Sequence[Names]) -> Names:
    """The names of a group: those of its rows, then those behind pointers, absent where the pointer is NULL."""
    fixed: dict[str, Absent] = {}
    maybe: list[str] = []
    for bound in bounds:
        converted = [convert.name for convert in bound.field.converts]
        if bound.absent is not None:
            fixed.update(dict.fromkeys([bound.field.name, *converted], bound.absent))
        else:
            maybe += converted
    added = [name for names in behind for name in names]
    return Names([*index, *added], fixed, [*maybe, *added])


def _child(kernel: Kernel, groups: Sequence[Sequence[Bound]], pointer: Any) -> _Child:
    behind = [[bound for bound in group if bound.hops and bound.hops[0] == pointer] for group in groups]
    feeds = tuple(number for number, group in enumerate(behind) if group)
    shared = all(bound.field.shared for group in behind for bound in group)
    nearer = [[replace(bound, hops=bound.hops[1:]) for bound in behind[number]] for number in feeds]
    return _Child(kernel, nearer, feeds, shared)


def kernel_of(prog: Program) -> Kernel:
    """The Kernel of a Program, made once."""
    key = "sockcrash.kernel"
    if key not in prog.cache:
        prog.cache[key] = Kernel(prog)
    kernel: Kernel = prog.cache[key]
    return kernel
