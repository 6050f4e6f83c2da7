# SPDX-License-Identifier: LGPL-2.1-or-later
"""What does drgn get when it asks for a symbol by name or by address: the kernel's, then its modules'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import drgn

from sockcrash.kernel.module_symbols import DATA, TEXT, binding_and_kind, module_symbols

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.kallsyms import Named

__all__ = ("Source", "Symbols")

_LAST = "_end"  # what follows the kernel's last symbol is not the kernel's


class Source(Protocol):
    """The kernel's own symbols. ``label`` names the source as ``target.symbols`` of the output does."""

    @property
    def label(self) -> str: ...
    def find(self, name: str) -> list[Named]: ...
    def at(self, address: int) -> list[Named]: ...
    def next_address(self, address: int) -> int: ...
    def all(self) -> Iterator[Named]: ...


class Symbols:
    """The symbols of one program. Those of its modules are read when a name or address is not the kernel's.

    Without a ``source`` there are only those of modules.
    """

    def __init__(self, prog: drgn.Program, source: Source | None) -> None:
        self._source = source
        self._prog = prog
        self._modules: drgn.SymbolIndex | None = None

    def variables(self, name: str) -> list[int]:
        """Where the kernel's symbols of this name are, those that are marked as data first.

        Data may be marked as text: the linker put both into one section in some builds of Linux 7.
        """
        found = self._source.find(name) if self._source else []
        return [symbol.address for symbol in sorted(found, key=lambda symbol: symbol.code not in DATA)]

    def functions(self, name: str) -> list[int]:
        """Where the kernel's functions of this name are."""
        found = self._source.find(name) if self._source else []
        return [symbol.address for symbol in found if symbol.code in TEXT]

    def module_addresses(self, name: str) -> list[int]:
        """Where the modules' symbols of this name are."""
        return [symbol.address for symbol in self._module_index()(self._prog, name, None, False)]

    def finder(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> list[drgn.Symbol]:
        """A symbol finder as drgn wants it."""
        found = list(_matching(self._source, name, address)) if self._source else []
        if not found or (name is None and not one):
            found += self._module_index()(prog, name, address, one)
        return found[:1] if one else found

    def _module_index(self) -> drgn.SymbolIndex:
        if self._modules is None:
            self._modules = drgn.SymbolIndex(list(module_symbols(self._prog)))
        return self._modules


def _matching(source: Source, name: str | None, address: int | None) -> Iterator[drgn.Symbol]:
    if address is None:
        found = source.all() if name is None else iter(source.find(name))
    else:
        found = (symbol for symbol in source.at(address) if name in (None, symbol.name))
    for symbol in found:
        size = source.next_address(symbol.address) - symbol.address
        if address is None or symbol.name != _LAST:
            yield drgn.Symbol(symbol.name, symbol.address, size, *binding_and_kind(symbol.code))
