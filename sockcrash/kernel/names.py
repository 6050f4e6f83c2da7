# SPDX-License-Identifier: LGPL-2.1-or-later
"""Symbols by name and by address, of modules too: debug files of the kernel alone don't have those."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.module_symbols import module_symbols
from sockcrash.kernel.once import once

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("address_of", "module_at", "name_at")


def name_at(kernel: Kernel, address: int) -> str | None:
    """The symbol that an address lies in."""
    try:
        return str(kernel.prog.symbol(address).name)
    except LookupError:
        found = _of_modules(kernel)(kernel.prog, None, address, True)
        return str(found[0].name) if found else None


def address_of(kernel: Kernel, name: str, *, of_module: bool = False) -> int | None:
    """Where the symbol of that name is; with ``of_module`` one that a module may bring is looked for in all of them."""
    try:
        return int(kernel.prog.symbol(name).address)
    except LookupError:
        if not of_module:
            return None
        found = _of_modules(kernel)(kernel.prog, name, None, True)
        return int(found[0].address) if found else None


def module_at(kernel: Kernel, address: int) -> str | None:
    """The name of the module that an address lies in; None if it is the kernel's own."""
    from drgn.helpers.linux.module import address_to_module

    try:
        module = address_to_module(kernel.prog, address)
        return str(module.name.string_().decode("ascii", "backslashreplace")) if module else None
    except (LookupError, drgn.FaultError):
        return None


@once
def _of_modules(kernel: Kernel) -> drgn.SymbolIndex:
    return drgn.SymbolIndex(list(module_symbols(kernel.prog)))
