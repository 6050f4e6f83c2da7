# SPDX-License-Identifier: LGPL-2.1-or-later
"""What does drgn get when it asks a kernel without DWARF for a type, a variable, a constant or a function?

Names that BTF defines more than once mean the definition with the lowest number; those of vmlinux come before
those of modules, and modules come by name. File names are not looked at: BTF has none.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import drgn
from drgn import FindObjectFlags, TypeKind, TypeKindSet

from sockcrash.errors import TargetError
from sockcrash.kernel.btf import Btf, Kind
from sockcrash.kernel.btf_types import BtfTypes
from sockcrash.kernel.declarations import BITMAP_LENGTHS, FUNCTIONS, MODULE_VARIABLES, UNNAMED, VARIABLES
from sockcrash.kernel.lost_types import types_are_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sockcrash.kernel.btf_modules import Readers
    from sockcrash.kernel.symbols import Symbols

__all__ = ("Objects", "Types")

logger = logging.getLogger("sockcrash")

_LENGTH = re.compile(r"\[([A-Za-z_]\w*)\]")
_MAX_ALIGNMENT_DEPTH = 20


class Types:
    """The types of the kernel and, when it does not have one, of its modules.

    ``list_readers`` says what modules there are; it is called when the first type is not the kernel's.
    """

    def __init__(self, prog: drgn.Program, kernel: BtfTypes, list_readers: Callable[[], Readers]) -> None:
        self.kernel = kernel
        self._prog = prog
        self._list_readers = list_readers
        self._readers: Readers | None = None
        self._modules: dict[str, BtfTypes | None] = {}
        self._found: dict[tuple[str, tuple[TypeKind, ...]], drgn.Type | None] = {}

    def finder(
        self, _prog: drgn.Program, kinds: TypeKindSet, name: str, _filename: str | None
    ) -> drgn.Type | None:
        """A type finder as drgn wants it. drgn asks for the same names again and again."""
        key = name, tuple(kinds)
        if key not in self._found:
            found = (types.find(key[1], name) for types in self.all())
            self._found[key] = next((ctype for ctype in found if ctype is not None), None)
        return self._found[key]

    def all(self) -> Iterator[BtfTypes]:
        """The types of vmlinux, then those of each module."""
        yield self.kernel
        for name in self._module_readers():
            types = self.module(name)
            if types:
                yield types

    def module(self, name: str) -> BtfTypes | None:
        """The types of one module, None if it is not loaded or its BTF is missing or damaged."""
        if name not in self._modules:
            self._modules[name] = self._load(name)
        return self._modules[name]

    def _module_readers(self) -> Readers:
        if self._readers is None:
            self._readers = {}  # in case listing them asks for a type
            self._readers = self._list_readers()
        return self._readers

    def _load(self, name: str) -> BtfTypes | None:
        read = self._module_readers().get(name)
        if read is None:
            return None
        base = self.kernel.btf
        try:
            return BtfTypes(self._prog, Btf(read(), name, base=base, byteorder=base.byteorder), self.kernel)
        except (TargetError, OSError) as error:
            logger.warning("no types of module %s: %s", name, error)
            types_are_lost(self._prog)
            return None


class Objects:
    """The variables, constants and functions of the kernel, and the constants and declared variables of its
    modules.
    """

    def __init__(self, prog: drgn.Program, types: Types, symbols: Symbols) -> None:
        self._prog = prog
        self._types = types
        self._symbols = symbols
        self._found: dict[tuple[str, FindObjectFlags], drgn.Object | None] = {}

    def finder(
        self, _prog: drgn.Program, name: str, flags: FindObjectFlags, _filename: str | None
    ) -> drgn.Object | None:
        """An object finder as drgn wants it.

        A variable comes before a constant, a constant before a function.
        """
        key = name, flags
        if key not in self._found:
            finds = (
                (FindObjectFlags.VARIABLE, self._variable),
                (FindObjectFlags.CONSTANT, self._constant),
                (FindObjectFlags.FUNCTION, self._function),
            )
            found = (find(name) for flag, find in finds if flags & flag)
            self._found[key] = next((item for item in found if item is not None), None)
        return self._found[key]

    def _variable(self, name: str) -> drgn.Object | None:
        ctype = self._types.kernel.find_declared(Kind.VAR, name)
        declared = VARIABLES.get(name) or MODULE_VARIABLES.get(name)
        if ctype is None and declared is None and name not in UNNAMED:
            return None
        addresses = self._symbols.variables(name)
        if not addresses and name in MODULE_VARIABLES:
            addresses = self._symbols.module_addresses(name)
        if not addresses:
            return None
        if ctype is None:
            ctype = self._declared(declared) if declared else self._unnamed_struct(UNNAMED[name])
        return None if ctype is None else drgn.Object(self._prog, ctype, address=addresses[0])

    def _constant(self, name: str) -> drgn.Object | None:
        found = (types.find_enumerator(name) for types in self._types.all())
        return next((constant for constant in found if constant is not None), None)

    def _function(self, name: str) -> drgn.Object | None:
        addresses = self._symbols.functions(name)
        if not addresses:
            return None
        ctype = self._types.kernel.find_declared(Kind.FUNC, name)
        if ctype is None and name in FUNCTIONS:
            ctype = self._prog.function_type(self._prog.void_type(), ())
        return None if ctype is None else drgn.Object(self._prog, ctype, address=addresses[0])

    def _declared(self, ctype: str) -> drgn.Type | None:
        """A type as the table of declarations writes it; None if this kernel has no such type."""
        try:
            return self._prog.type(_LENGTH.sub(self._length, ctype))
        except LookupError:
            return None

    def _length(self, match: re.Match[str]) -> str:
        bitmap = BITMAP_LENGTHS.get(match[1])
        if bitmap:
            return f"[{8 * drgn.sizeof(self._prog.type(bitmap))}]"
        return f"[{int(self._prog.constant(match[1]))}]"

    def _unnamed_struct(self, declared: Iterable[tuple[str, str]]) -> drgn.Type | None:
        members: list[drgn.TypeMember] = []
        end = 0
        for name, ctype in declared:
            member = self._declared(ctype)
            if member is None:
                return None
            end = -(-end // (step := _alignment(member))) * step
            members.append(drgn.TypeMember(member, name, 8 * end))
            end += drgn.sizeof(member)
        return self._prog.struct_type(None, end, members)


def _alignment(ctype: drgn.Type, depth: int = 0) -> int:
    """On what multiple of bytes C places a type (``__attribute__((aligned))`` is not in BTF)."""
    while ctype.kind in (TypeKind.TYPEDEF, TypeKind.ARRAY):
        ctype = ctype.type
    if ctype.kind not in (TypeKind.STRUCT, TypeKind.UNION):
        return ctype.size or 1
    if depth > _MAX_ALIGNMENT_DEPTH:
        return 1
    return max((_alignment(member.type, depth + 1) for member in ctype.members or ()), default=1)
