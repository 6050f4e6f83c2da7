# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which types and symbols go with a snapshot: borrowed while it is taken, used again when it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import TargetError
from sockcrash.kernel import btf_modules, btf_source, vmcoreinfo
from sockcrash.kernel.btf import Btf
from sockcrash.kernel.btf_finders import Objects, Types
from sockcrash.kernel.btf_types import BtfTypes
from sockcrash.kernel.kallsyms import Named
from sockcrash.kernel.nodebug import CACHE, register
from sockcrash.kernel.offer import Finders, withdraw
from sockcrash.kernel.symbols import Source, Symbols

if TYPE_CHECKING:
    from drgn import Program

__all__ = ("Borrowed", "Kept", "attach_carried", "carried_finders", "carry_types")


class Borrowed:
    """Symbols of another Program; what is asked for is noted in ``used``."""

    label = "borrowed"

    def __init__(self, source: Program) -> None:
        self._source = source
        self.used: dict[tuple[str, int], tuple[Named, int]] = {}

    def find(self, name: str) -> list[Named]:
        """Every symbol of this name."""
        return [self._note(symbol) for symbol in self._source.symbols(name)]

    def at(self, address: int) -> list[Named]:
        """The symbols that an address lies in."""
        return [self._note(symbol) for symbol in self._source.symbols(address)]

    def next_address(self, address: int) -> int:
        """Where the symbol at an address ends."""
        return _end(self.used.values(), address)

    def all(self) -> Iterator[Named]:
        """Nothing: who wants all symbols wants the source."""
        return iter(())

    def _note(self, symbol: drgn.Symbol) -> Named:
        named = Named(symbol.name, symbol.address, "T" if symbol.kind == drgn.SymbolKind.FUNC else "D")
        self.used[named.name, named.address] = named, symbol.size
        return named

    def to_json(self) -> list[tuple[str, int, int, str]]:
        """The symbols that were used: name, address, size, kind letter."""
        return sorted((named.name, named.address, size, named.code) for named, size in self.used.values())


class Kept:
    """The symbols that a snapshot carries."""

    label = "kallsyms"

    def __init__(self, symbols: list[tuple[str, int, int, str]]) -> None:
        self._symbols = [(Named(name, address, code), size) for name, address, size, code in symbols]

    def find(self, name: str) -> list[Named]:
        return [symbol for symbol, _ in self._symbols if symbol.name == name]

    def at(self, address: int) -> list[Named]:
        return [
            symbol
            for symbol, size in self._symbols
            if symbol.address <= address < symbol.address + max(size, 1)
        ]

    def next_address(self, address: int) -> int:
        return _end(self._symbols, address)

    def all(self) -> Iterator[Named]:
        return iter([symbol for symbol, _ in self._symbols])


def _end(symbols: Iterable[tuple[Named, int]], address: int) -> int:
    return max(
        (symbol.address + size for symbol, size in symbols if symbol.address == address), default=address
    )


class _WithoutModules(Symbols):
    """Symbols of a Program in which no list of modules can be walked: the source has those of modules too."""

    def _module_index(self) -> drgn.SymbolIndex:
        return drgn.SymbolIndex([])


def carry_types(prog: Program) -> dict[str, bytes]:
    """The BTF of a kernel and of its modules, as raw bytes; empty if it has none."""
    info = vmcoreinfo.of(prog)
    try:
        start = prog.symbol("__start_BTF").address
    except LookupError:
        start = None
    try:
        blobs = {"vmlinux": btf_source.from_memory(prog, start, info)}
    except TargetError:
        return {}
    for name, read in btf_modules.in_memory(prog).items():
        try:
            blobs[name] = read()
        except TargetError:
            continue
    return blobs


def attach_carried(prog: Program, btf: dict[str, bytes], symbols: Source) -> None:
    """Give a Program the types and symbols that a snapshot carries."""
    withdraw(prog)
    register(prog, carried_finders(prog, btf, symbols))


def carried_finders(prog: Program, btf: dict[str, bytes], symbols: Source) -> Finders:
    """The finders that ``attach_carried`` registers."""
    kernel = BtfTypes(prog, Btf(btf["vmlinux"], byteorder=btf_source.byteorder_of(prog)))
    readers: btf_modules.Readers = {
        name: partial(bytes, blob) for name, blob in sorted(btf.items()) if name != "vmlinux"
    }
    types = Types(prog, kernel, lambda: readers)
    prog.cache[CACHE] = types
    carried = _WithoutModules(prog, symbols)
    return Finders(types.finder, Objects(prog, types, carried).finder, carried.finder)
