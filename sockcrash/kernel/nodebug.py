# SPDX-License-Identifier: LGPL-2.1-or-later
"""How does a kernel without debug information get types and symbols: from its own BTF and kallsyms, as drgn finders.

A later drgn that reads BTF itself can replace this: the finders have names of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.errors import TargetError
from sockcrash.kernel import btf_modules, btf_source, kallsyms_find, symbol_text, vmcoreinfo
from sockcrash.kernel.btf import Btf
from sockcrash.kernel.btf_finders import Objects, Types
from sockcrash.kernel.btf_types import BtfTypes
from sockcrash.kernel.symbols import Source, Symbols

if TYPE_CHECKING:
    import drgn

    from sockcrash.kernel.vmcoreinfo import VmcoreInfo

__all__ = ("Attached", "attach", "attach_modules", "module_types")

TYPE_FINDER = OBJECT_FINDER = "sockcrash-btf"
SYMBOL_FINDER = "sockcrash-kallsyms"
_CACHE = "sockcrash.btf"


@dataclass(frozen=True, slots=True)
class Attached:
    """What serves: ``types`` is "btf"; ``symbols`` is "kallsyms" or "system-map"; ``notes`` say more, for people."""

    types: str
    symbols: str
    notes: tuple[str, ...]


def attach(
    prog: drgn.Program, *, btf: Path | str | None = None, system_map: Path | str | None = None, live: bool
) -> Attached:
    """Give an opened kernel types, variables, constants, functions and symbols without any debug information.

    ``btf`` is a file to take the types from, ``system_map`` one to take the symbols from; else they are the kernel's
    own. ``live`` says that it is this machine's running kernel. Raises TargetError with what to do if they can't be
    had, are damaged, or are another kernel's.
    """
    info = vmcoreinfo.of(prog)
    source, symbols_note = _symbol_source(prog, info, Path(system_map) if system_map else None, live=live)
    symbols = Symbols(prog, source)
    blob, types_note = _blob(prog, symbols, info, Path(btf) if btf else None, live=live)
    kernel = BtfTypes(prog, Btf(blob, byteorder=btf_source.byteorder_of(prog)))
    btf_source.check_against_kernel(prog, kernel, symbols, info)
    types = _register_types(prog, kernel, live=live, index=0)
    prog.register_object_finder(OBJECT_FINDER, Objects(prog, types, symbols).finder, enable_index=0)
    prog.register_symbol_finder(SYMBOL_FINDER, symbols.finder, enable_index=0)
    return Attached("btf", source.label, (f"BTF: {types_note}", f"symbols: {symbols_note}"))


def attach_modules(prog: drgn.Program, *, live: bool) -> bool:
    """Beside the DWARF of vmlinux: let BTF serve modules without a debug file. Whether the kernel has such BTF."""
    try:
        blob = btf_source.from_memory(prog, _ElfSymbols(prog), vmcoreinfo.of(prog))
    except TargetError:
        return False
    return True


def module_types(prog: drgn.Program, name: str) -> BtfTypes | None:
    """The types of one loaded module, None if its BTF can't be had or DWARF serves instead."""
    types: Types | None = prog.cache.get(_CACHE)
    return types.module(name) if types else None
