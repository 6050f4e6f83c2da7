# SPDX-License-Identifier: LGPL-2.1-or-later
"""Any member of any struct by its name in C, whether a row names it or not: for ``-f`` and ``struct``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.errors import UsageError
from sockcrash.kernel.layout import MemberError, resolve
from sockcrash.kernel.sockets import STRUCTS_ON_THE_WAY
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("known_member", "member", "read_struct", "unreadable")

_PATH = re.compile(r"[A-Za-z_]\w*(?:\[\d{1,9}\]|(?:\.|->)[A-Za-z_]\w*)*")
_NULL = Absent(Reason.NOT_APPLICABLE, "NULL pointer")


def known_member(kernel: Kernel, kind: str, path: str) -> str | None:
    """The struct on the way of a kind of socket that has the member ``path``, or None."""
    if not _PATH.fullmatch(path):
        return None
    for ctype in STRUCTS_ON_THE_WAY[kind]:
        try:
            resolve(kernel.prog, ctype, path)
        except MemberError:
            continue
        return ctype
    return None


def member(kernel: Kernel, kind: str, address: int, path: str) -> Any:
    """The raw value of member ``path`` of the socket at ``address``: a number, a string of bytes as hex, a dict."""
    ctype = known_member(kernel, kind, path)
    if ctype is None:
        return Absent(Reason.NOT_IN_KERNEL, f"no struct of a {kind} socket has {path}")
    return _readable(drgn.Object(kernel.prog, ctype, address=address), path)


def subobject(object_: drgn.Object, path: str) -> drgn.Object | None:
    """``object_.path``, through pointers where the path has ``->``; None behind a NULL pointer."""
    for number, part in enumerate(path.split("->")):
        if number and not object_:
            return None
        object_ = object_[0].subobject_(part) if number else object_.subobject_(part)
    return object_


def read_struct(
    prog: drgn.Program, name: str, address: str, members: list[str]
) -> tuple[str, int, dict[str, Any]]:
    """Members (all if none is named) of the struct or union ``name`` at ``address``, a number or a symbol's name."""
    type_ = _type(prog, name)
    number = _address(prog, address)
    object_ = drgn.Object(prog, type_, address=number)
    if not members:
        return type_.type_name(), number, _members(object_)
    values: dict[str, Any] = {}
    for path in members:
        try:
            if not _PATH.fullmatch(path):
                raise MemberError("this is no path of members")
            resolve(prog, type_.type_name(), path)
        except MemberError as error:
            raise UsageError(f"{type_.type_name()}.{path}: {error}") from None
        values[path] = _readable(object_, path)
    return type_.type_name(), number, values


def unreadable(value: Any) -> bool:
    """Whether a value, or one below it, could not be read."""
    if isinstance(value, dict):
        return any(unreadable(one) for one in value.values())
    return isinstance(value, Absent) and value.reason is Reason.UNREADABLE


def _type(prog: drgn.Program, name: str) -> drgn.Type:
    for kind in ("struct ", "union ", ""):
        try:
            type_ = prog.type(kind + name)
        except (LookupError, SyntaxError):
            continue
        if type_.kind == drgn.TypeKind.TYPEDEF:
            type_ = type_.type
        if type_.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) and type_.is_complete():
            return type_
    raise UsageError(f"this kernel's types have no struct {name!r}")


def _address(prog: drgn.Program, text: str) -> int:
    try:
        number = int(text, 16)
    except ValueError:
        pass
    else:
        if number >> 64:  # of a negative number too
            raise UsageError(f"{text} is no address: they have 64 bits")
        return number
    try:
        return int(prog.symbol(text).address)
    except LookupError:
        raise UsageError(
            f"{text!r} is neither a hexadecimal address nor a symbol",
            hint="a socket that has another name: sockcrash inspect SPEC -f MEMBER,...",
        ) from None


def _readable(object_: drgn.Object, path: str) -> Any:
    try:
        found = subobject(object_, path)
        return _NULL if found is None else plain(found)
    except drgn.FaultError as error:
        return Absent(Reason.UNREADABLE, f"{error.address:#x}")


def _members(object_: drgn.Object) -> dict[str, Any]:
    """All members; if the whole can't be read, one by one."""
    try:
        values: dict[str, Any] = plain(object_.read_())
    except drgn.FaultError:
        names = [member.name for member in object_.type_.members or () if member.name]
        return {name: _readable(object_, name) for name in names}
    return values


def plain(object_: drgn.Object) -> Any:
    """A drgn object as Python data: integers, lists, dicts; pointers as hexadecimal text, char arrays as text."""
    type_ = object_.type_
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    kind = type_.kind
    if kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
        return _struct(object_, type_)
    if kind == drgn.TypeKind.POINTER:
        return f"{object_.value_():#x}"
    if kind == drgn.TypeKind.ARRAY:
        element = type_.type
        if element.kind == drgn.TypeKind.INT and drgn.sizeof(element) == 1 and element.type_name() == "char":
            raw = bytes(byte & 0xFF for byte in object_.value_())
            return raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace")
        return [plain(object_[index]) for index in range(type_.length or 0)]
    return object_.value_()


def _struct(object_: drgn.Object, type_: drgn.Type) -> dict[str, Any]:
    """Members by name; those of unnamed structs and unions in ``type_`` beside them, as C names them."""
    values: dict[str, Any] = {}
    for member in type_.members or ():
        if member.name:
            values[member.name] = plain(object_.member_(member.name))
        elif member.type.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
            values.update(_struct(object_, member.type))
    return values
