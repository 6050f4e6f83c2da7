# SPDX-License-Identifier: LGPL-2.1-or-later
"""How does a kernel without debug information get types and symbols? As drgn finders, from BTF and kallsyms.

A later drgn that reads BTF itself can replace this: the finders have names of their own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.errors import TargetError
from sockcrash.kernel import btf_modules, btf_source, kallsyms_find, symbol_text, vmcoreinfo
from sockcrash.kernel.btf import Btf
from sockcrash.kernel.btf_finders import Objects, Types
from sockcrash.kernel.btf_types import BtfTypes
from sockcrash.kernel.kallsyms import damaged
from sockcrash.kernel.offer import Finders
from sockcrash.kernel.symbols import Source, Symbols

if TYPE_CHECKING:
    from collections.abc import Callable

    import drgn

    from sockcrash.kernel.vmcoreinfo import VmcoreInfo

__all__ = ("Attached", "attach", "attach_modules", "kernel_types", "make", "module_types", "register")

logger = logging.getLogger("sockcrash")

TYPE_FINDER = OBJECT_FINDER = "sockcrash-btf"
SYMBOL_FINDER = "sockcrash-kallsyms"
CACHE = "sockcrash.btf"


@dataclass(frozen=True, slots=True)
class Attached:
    """What serves: ``types`` is "btf"; ``symbols`` is "kallsyms" or "system-map"; ``notes`` say more, for
    people.
    """

    types: str
    symbols: str
    notes: tuple[str, ...]


def attach(
    prog: drgn.Program, *, btf: Path | str | None = None, system_map: Path | str | None = None, live: bool
) -> Attached:
    """Give an opened kernel types, variables, constants, functions and symbols without any debug information.

    As ``make``, and registers what that makes behind drgn's own finders.
    """
    finders, attached = make(prog, btf=btf, system_map=system_map, live=live)
    register(prog, finders)
    return attached


def make(
    prog: drgn.Program, *, btf: Path | str | None = None, system_map: Path | str | None = None, live: bool
) -> tuple[Finders, Attached]:
    """The finders that serve an opened kernel, and what they stand on.

    ``btf`` is a file to take the types from, ``system_map`` one to take the symbols from; else they are the
    kernel's own. ``live`` says that it is this machine's running kernel. Raises TargetError with what to do
    if they can't be had, are damaged, or are another kernel's.
    """
    info = vmcoreinfo.of(prog)
    source, symbols_note = _symbol_source(prog, info, Path(system_map) if system_map else None, live=live)
    symbols = Symbols(prog, source)
    start = next(iter(symbols.variables("__start_BTF")), None)
    blob, types_note = _blob(prog, start, info, Path(btf) if btf else None, live=live)
    kernel = BtfTypes(prog, Btf(blob, byteorder=kallsyms_find.byteorder_of(prog)))
    btf_source.check_against_kernel(prog, kernel, start, info)
    notes = (f"BTF: {types_note}", f"symbols: {symbols_note}")
    return _finders(prog, kernel, symbols, live=live), Attached("btf", source.label, notes)


def attach_modules(prog: drgn.Program, *, live: bool) -> bool:
    """Beside the DWARF of vmlinux, let BTF serve the modules that have no debug file.

    Whether the kernel has BTF of its own. Their variables are found by ``struct module.kallsyms``.
    """
    try:
        start = prog.symbol("__start_BTF").address
        blob = btf_source.from_memory(prog, start, vmcoreinfo.of(prog))
        kernel = BtfTypes(prog, Btf(blob, byteorder=kallsyms_find.byteorder_of(prog)))
    except (LookupError, TargetError) as error:
        logger.info("BTF does not serve modules: %s", error)
        return False
    register(prog, _finders(prog, kernel, Symbols(prog, None), live=live)._replace(symbols=None))
    return True


def kernel_types(prog: drgn.Program) -> BtfTypes:
    """The types of vmlinux of a Program that ``attach`` or ``attach_modules`` served."""
    types: Types = prog.cache[CACHE]
    return types.kernel


def module_types(prog: drgn.Program, name: str) -> BtfTypes | None:
    """The types of one loaded module, None if its BTF can't be had or DWARF serves instead."""
    types: Types | None = prog.cache.get(CACHE)
    return types.module(name) if types else None


def register(prog: drgn.Program, finders: Finders) -> None:
    """Register finders behind those of DWARF, so that what has a debug file is taken from there."""
    prog.register_type_finder(TYPE_FINDER, finders.types, enable_index=-1)
    prog.register_object_finder(OBJECT_FINDER, finders.objects, enable_index=-1)
    if finders.symbols is not None:
        prog.register_symbol_finder(SYMBOL_FINDER, finders.symbols, enable_index=-1)


def _finders(prog: drgn.Program, kernel: BtfTypes, symbols: Symbols, *, live: bool) -> Finders:
    modules = btf_modules.of_running_kernel if live else partial(btf_modules.in_memory, prog)
    types = Types(prog, kernel, modules)
    prog.cache[CACHE] = types
    return Finders(types.finder, Objects(prog, types, symbols).finder, symbols.finder)


def _symbol_source(
    prog: drgn.Program, info: VmcoreInfo, system_map: Path | None, *, live: bool
) -> tuple[Source, str]:
    """Where symbols come from, and how to say so: the first of the ways that works, the file if the user
    names one.
    """
    if system_map:
        return symbol_text.from_system_map(system_map, info), f"{system_map}"
    ways: list[tuple[str, Callable[[], Source | None]]] = [
        ("kallsyms tables named by VMCOREINFO", lambda: kallsyms_find.by_vmcoreinfo(prog, info)),
        ("kallsyms tables found in memory", lambda: kallsyms_find.by_search(prog, info)),
    ]
    if live:
        ways.insert(1, (str(symbol_text.PROC_KALLSYMS), lambda: symbol_text.from_proc(info)))
    failure: TargetError | None = None
    for note, way in ways:
        try:
            source = way()
        except TargetError as error:
            failure = failure or error
            logger.info("not by %s: %s", note, error)
        else:
            if source:
                return source, note
    raise failure or damaged("there are none")


def _blob(
    prog: drgn.Program, start: int | None, info: VmcoreInfo, path: Path | None, *, live: bool
) -> tuple[bytes, str]:
    """The BTF of vmlinux, and where it is from."""
    if path:
        return btf_source.from_file(path), str(path)
    blob = btf_source.from_sysfs() if live else None
    if blob is not None:
        return blob, str(btf_modules.SYSFS)
    return btf_source.from_memory(prog, start, info), "the kernel's memory"
