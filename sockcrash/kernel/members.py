# SPDX-License-Identifier: LGPL-2.1-or-later
"""Any member of any struct by its name in C, whether a row names it or not: for ``-f`` and ``struct``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.layout import MemberError, resolve
from sockcrash.kernel.sockets import STRUCTS_ON_THE_WAY
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("known_member", "member", "plain")


def known_member(kernel: Kernel, kind: str, path: str) -> str | None:
    """The struct on the way of a kind of socket that has the member ``path``, or None."""
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
    try:
        return plain(subobject(drgn.Object(kernel.prog, ctype, address=address), path))
    except drgn.FaultError as error:
        return Absent(Reason.UNREADABLE, f"{error.address:#x}")


def subobject(object_: drgn.Object, path: str) -> drgn.Object:
    """``object_.path``, through pointers where the path has ``->``."""
    for number, part in enumerate(path.split("->")):
        object_ = object_[0].subobject_(part) if number else object_.subobject_(part)
    return object_


def plain(object_: drgn.Object) -> Any:
    """A drgn object as Python data: integers, lists, dicts; pointers as integers; char arrays as text."""
    type_ = object_.type_
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    if type_.kind == drgn.TypeKind.ARRAY and type_.type.kind == drgn.TypeKind.INT and drgn.sizeof(type_.type) == 1:
        if type_.type.type_name() == "char":
            return object_.string_().decode("ascii", "backslashreplace")
        return bytes(object_.value_()).hex()
    return object_.value_()
