# SPDX-License-Identifier: LGPL-2.1-or-later
"""How does a Program that somebody else opened get types without debug files? By finders that wait until asked.

They stand behind all others and do nothing as long as DWARF of vmlinux is there, whenever it was loaded. The first
question that nobody else could answer makes what ``nodebug`` or a snapshot has.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import drgn

__all__ = ("NAME", "NO_BTF", "Finders", "offer", "offered", "vmlinux_has_dwarf", "withdraw")

logger = logging.getLogger("sockcrash")

NAME = "sockcrash"
NO_BTF = "SOCKCRASH_NO_BTF"
"""The environment variable that keeps BTF out of Programs that others open."""


class TypeFinder(Protocol):
    def __call__(
        self, prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None, /
    ) -> drgn.Type | None: ...


class ObjectFinder(Protocol):
    def __call__(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None, /
    ) -> drgn.Object | None: ...


class SymbolFinder(Protocol):
    def __call__(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool, /
    ) -> Sequence[drgn.Symbol]: ...


class Finders(NamedTuple):
    """What answers drgn's questions for a kernel: finders as drgn wants them. None: somebody else has the symbols."""

    types: TypeFinder
    objects: ObjectFinder
    symbols: SymbolFinder | None


class _Offer:
    """Finders that are made by ``make`` when they are needed first; without effect if that fails."""

    def __init__(self, prog: drgn.Program, make: Callable[[drgn.Program], Finders]) -> None:
        self._prog = prog
        self._make = make
        self._asked = False
        self._finders: Finders | None = None

    def finders(self) -> Finders | None:
        """What was made; None while it is being made, where it can't be, and beside DWARF."""
        if vmlinux_has_dwarf(self._prog):
            return None
        if not self._asked:
            self._asked = True
            try:
                self._finders = self._make(self._prog)
            except Exception as error:  # drgn would show a traceback to somebody who never asked for us
                logger.info("no types without debug information: %s", error)
        return self._finders

    def find_type(
        self, prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None
    ) -> drgn.Type | None:
        made = None if _is_drgn_starting() else self.finders()
        return made.types(prog, kinds, name, filename) if made else None

    def find_object(
        self, prog: drgn.Program, name: str, flags: drgn.FindObjectFlags, filename: str | None
    ) -> drgn.Object | None:
        made = self.finders()
        return made.objects(prog, name, flags, filename) if made else None

    def find_symbol(
        self, prog: drgn.Program, name: str | None, address: int | None, one: bool
    ) -> Sequence[drgn.Symbol]:
        made = self.finders()
        return made.symbols(prog, name, address, one) if made and made.symbols else ()


def _is_drgn_starting() -> bool:
    """Whether drgn's command line asks, which wants ``struct module`` to look for debug files of all modules.

    Who has none should not pay for that, nor read about each of them.
    """
    return sys._getframe(2).f_globals.get("__name__") == "drgn.cli"


def offer(prog: drgn.Program, make: Callable[[drgn.Program], Finders]) -> None:
    """Register the waiting finders behind all others; once for each Program."""
    if offered(prog):
        return
    waiting = _Offer(prog, make)
    prog.register_type_finder(NAME, waiting.find_type, enable_index=-1)
    prog.register_object_finder(NAME, waiting.find_object, enable_index=-1)
    prog.register_symbol_finder(NAME, waiting.find_symbol, enable_index=-1)


def offered(prog: drgn.Program) -> bool:
    """Whether the waiting finders are registered."""
    return NAME in prog.registered_type_finders()


def withdraw(prog: drgn.Program) -> None:
    """Take the waiting finders out of use, for whoever attaches types in another way."""
    prog.set_enabled_type_finders([name for name in prog.enabled_type_finders() if name != NAME])
    prog.set_enabled_object_finders([name for name in prog.enabled_object_finders() if name != NAME])
    prog.set_enabled_symbol_finders([name for name in prog.enabled_symbol_finders() if name != NAME])


def vmlinux_has_dwarf(prog: drgn.Program) -> bool:
    """Whether debug information of the kernel itself is loaded."""
    try:
        wants: bool = prog.main_module().wants_debug_file()
    except LookupError:
        return False
    return not wants
