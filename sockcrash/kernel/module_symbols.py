# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which symbols do the loaded kernel modules bring (``struct module.kallsyms``, Linux 5.2 on)?"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING

import drgn
from drgn import SymbolBinding, SymbolKind
from drgn.helpers.linux.module import for_each_module

from sockcrash.kernel.kallsyms_find import byteorder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("binding_and_kind", "module_symbols")

logger = logging.getLogger("sockcrash")

DATA = frozenset("AaBbDdGgRrSsVvCc")  # kinds as nm writes them; A: percpu variables of x86 before Linux 6.15
TEXT = frozenset("TtWwi")
_ELF_SYM = {"little": struct.Struct("<IBBHQQ"), "big": struct.Struct(">IBBHQQ")}
_BINDINGS = {0: SymbolBinding.LOCAL, 1: SymbolBinding.GLOBAL, 2: SymbolBinding.WEAK}  # STB_*
_KINDS = {1: SymbolKind.OBJECT, 2: SymbolKind.FUNC}  # STT_*
_MAX_MODULES = 4096
_MAX_MODULE_SYMBOLS = 1 << 18
_MAX_NAMES = 16 << 20


def _loaded_modules(prog: drgn.Program) -> Iterator[drgn.Object]:
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


def module_symbols(prog: drgn.Program) -> Iterator[drgn.Symbol]:
    """The symbols of all loaded modules. What can't be read is left out, with a warning."""
    for module in _loaded_modules(prog):
        try:
            yield from _symbols_of(prog, module)
        except (drgn.FaultError, LookupError, ValueError) as error:
            logger.warning("the symbols of a module can't be read: %s", error)


def _symbols_of(prog: drgn.Program, module: drgn.Object) -> Iterator[drgn.Symbol]:
    """The symbols in ``struct module.kallsyms`` (Linux 5.2 on)."""
    table = module.member_("kallsyms")
    count = table.num_symtab.value_()
    if count > _MAX_MODULE_SYMBOLS:
        raise ValueError(f"{count} symbols")
    layout = _ELF_SYM[byteorder_of(prog)]
    symbols = list(layout.iter_unpack(prog.read(table.symtab, count * layout.size)))
    last = max((symbol[0] for symbol in symbols), default=0)
    if last > _MAX_NAMES:
        raise ValueError(f"names at {last:#x}")
    names = prog.read(table.strtab, last) + prog.read_c_string(table.strtab + last, max_size=512) + b"\0"
    for name_at, info, _other, section, address, size in symbols:
        name = names[name_at : names.index(b"\0", name_at)]
        if name and section:
            text = name.decode("utf-8", "backslashreplace")
            binding = _BINDINGS.get(info >> 4, SymbolBinding.UNKNOWN)
            yield drgn.Symbol(text, address, size, binding, _KINDS.get(info & 0xF, SymbolKind.UNKNOWN))


def binding_and_kind(code: str) -> tuple[SymbolBinding, SymbolKind]:
    """What a kind letter of nm tells in ELF's terms."""
    if code in "Ww":
        return SymbolBinding.WEAK, SymbolKind.FUNC
    if code in "Vv":
        return SymbolBinding.WEAK, SymbolKind.OBJECT
    binding = SymbolBinding.GLOBAL if code.isupper() else SymbolBinding.LOCAL
    if code in TEXT:
        return binding, SymbolKind.FUNC
    return binding, SymbolKind.OBJECT if code in DATA else SymbolKind.UNKNOWN
