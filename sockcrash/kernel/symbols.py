# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where are the kernel's symbols, by name and by address, its modules' included?"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Protocol

import drgn
from drgn import SymbolBinding, SymbolKind
from drgn.helpers.linux.module import for_each_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockcrash.kernel.kallsyms import Named

logger = logging.getLogger("sockcrash")

DATA = frozenset("AaBbDdGgRrSsVvCc")  # kinds as nm writes them; A: percpu variables of x86 before Linux 6.15
TEXT = frozenset("TtWwi")
_ELF_SYM = struct.Struct("IBBHQQ")
_MAX_MODULES = 4096
_MAX_MODULE_SYMBOLS = 1 << 18
_MAX_NAMES = 16 << 20
_LAST = "_end"  # what follows the kernel's last symbol is not the kernel's


class Source(Protocol):
    """The kernel's own symbols. ``label`` names the source as ``target.symbols`` of the output does."""

    @property
    def label(self) -> str: ...
    def find(self, name: str) -> list[Named]: ...
    def at(self, address: int) -> list[Named]: ...
    def next_address(self, address: int) -> int: ...
    def all(self) -> Iterator[Named]: ...


class DebugFileSymbols:
    """The symbols that drgn itself finds, in the files of debug information it has."""

    label = "elf"

    def __init__(self, prog: drgn.Program) -> None:
        self._prog = prog

    def find(self, name: str) -> list[Named]:
        """Every symbol of this name."""
        return [
            Named(symbol.name, symbol.address, "T" if symbol.kind == SymbolKind.FUNC else "D")
            for symbol in self._prog.symbols(name)
        ]


class Symbols:
    """The symbols of one program: those of ``source`` and those of its modules, read when a name is not the kernel's."""

    def __init__(self, prog: drgn.Program, source: Source) -> None:
        self.source = source
        self._prog = prog
        self._modules: drgn.SymbolIndex | None = None

    def addresses(self, name: str, kinds: frozenset[str]) -> list[int]:
        """Where the kernel's symbols of this name and one of these kinds are."""
        return [symbol.address for symbol in self.source.find(name) if symbol.code in kinds]

    def module_addresses(self, name: str) -> list[int]:
        """Where the modules' symbols of this name are."""
        return [symbol.address for symbol in self._module_index()(self._prog, name, None, False)]

    def finder(self, prog: drgn.Program, name: str | None, address: int | None, one: bool) -> list[drgn.Symbol]:
        """A symbol finder as drgn wants it."""
        found = [self._symbol(symbol) for symbol in self._matching(name, address)]
        if not (found and (one or name is not None)):
            found += self._module_index()(prog, name, address, one)
        return found[:1] if one else found

    def _matching(self, name: str | None, address: int | None) -> Iterable[Named]:
        if address is None:
            return self.source.all() if name is None else self.source.find(name)
        here = self.source.at(address)
        return [symbol for symbol in here if name in (None, symbol.name) and symbol.name != _LAST]

    def _symbol(self, symbol: Named) -> drgn.Symbol:
        size = self.source.next_address(symbol.address) - symbol.address
        return drgn.Symbol(symbol.name, symbol.address, size, *_binding_and_kind(symbol.code))

    def _module_index(self) -> drgn.SymbolIndex:
        if self._modules is None:
            self._modules = drgn.SymbolIndex(list(_module_symbols(self._prog)))
        return self._modules


def loaded_modules(prog: drgn.Program) -> Iterator[drgn.Object]:
    """Every loaded module (``struct module *``), each once, in the kernel's order."""
    seen: set[int] = set()
    try:
        for module in for_each_module(prog):
            address = module.value_()
            if address in seen or len(seen) >= _MAX_MODULES:
                logger.warning("the list of modules is damaged: it is cut after %d", len(seen))
                return
            seen.add(address)
            yield module
    except (drgn.FaultError, LookupError) as error:
        logger.warning("the list of modules can't be read after %d: %s", len(seen), error)


def _module_symbols(prog: drgn.Program) -> Iterator[drgn.Symbol]:
    for module in loaded_modules(prog):
        try:
            yield from _symbols_of(prog, module)
        except (drgn.FaultError, LookupError, ValueError) as error:
            logger.warning("the symbols of a module can't be read: %s", error)


def _symbols_of(prog: drgn.Program, module: drgn.Object) -> Iterator[drgn.Symbol]:
    """The symbols in ``struct module.kallsyms`` (Linux 5.2 on)."""
    table = module.kallsyms.read_()
    count = table.num_symtab.value_()
    if count > _MAX_MODULE_SYMBOLS:
        raise ValueError(f"{count} symbols")
    raw = prog.read(table.symtab, count * _ELF_SYM.size)
    kinds = prog.read(table.typetab, count)
    symbols = list(_ELF_SYM.iter_unpack(raw))
    last = max((symbol[0] for symbol in symbols), default=0)
    if last > _MAX_NAMES:
        raise ValueError(f"names at {last:#x}")
    names = prog.read(table.strtab, last) + prog.read_c_string(table.strtab + last, max_size=512) + b"\0"
    for (name_at, _info, _other, section, address, size), code in zip(symbols, kinds, strict=True):
        name = names[name_at : names.index(b"\0", name_at)]
        if name and section:
            yield drgn.Symbol(
                name.decode("utf-8", "backslashreplace"), address, size, *_binding_and_kind(chr(code))
            )


def _binding_and_kind(code: str) -> tuple[SymbolBinding, SymbolKind]:
    """What a kind letter of nm tells in ELF's terms."""
    if code in "Ww":
        return SymbolBinding.WEAK, SymbolKind.FUNC
    if code in "Vv":
        return SymbolBinding.WEAK, SymbolKind.OBJECT
    binding = SymbolBinding.GLOBAL if code.isupper() else SymbolBinding.LOCAL
    if code in TEXT:
        return binding, SymbolKind.FUNC
    return binding, SymbolKind.OBJECT if code in DATA else SymbolKind.UNKNOWN
