# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a congestion control keeps in its private area of a socket (``inet_csk_ca()``): struct and members.

The struct of each algorithm is named in its source file, net/ipv4/tcp_NAME.c; most are modules, so that the types of
the module are needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Bound, Field, Group, Place, resolve_in
from sockcrash.kernel.lost_types import no_types
from sockcrash.kernel.nodebug import module_types
from sockcrash.kernel.view import Reader
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from drgn import Type

    from sockcrash.kernel.view import Kernel

__all__ = ("PRIVATE_AREA", "private_reader")

PRIVATE_AREA = Group("private_area", (row("icsk_ca_priv", "struct inet_connection_sock"),))

# algorithm (tcp_congestion_ops.name): its struct, and the source file if that is not tcp_NAME.c
_STRUCTS = {
    "bbr": "bbr",
    "bic": "bictcp",
    "cdg": "cdg",
    "cubic": "bictcp",
    "dctcp": "dctcp",
    "dctcp-reno": "dctcp",
    "highspeed": "hstcp",
    "htcp": "htcp",
    "hybla": "hybla",
    "illinois": "illinois",
    "lp": "lp",
    "nv": "tcpnv",
    "vegas": "vegas",
    "veno": "veno",
    "westwood": "westwood",
    "yeah": "yeah",
}
_WITHOUT = {"reno", "scalable"}


def private_reader(kernel: Kernel, algorithm: str) -> Reader | Absent:
    """A reader of every member of an algorithm's private struct; made once."""
    readers: dict[str, Reader | Absent] = kernel.cache.setdefault("congestion", {})
    if algorithm not in readers:
        readers[algorithm] = _make(kernel, algorithm)
    return readers[algorithm]


def _make(kernel: Kernel, algorithm: str) -> Reader | Absent:
    if algorithm in _WITHOUT:
        return Absent(Reason.NOT_APPLICABLE, f"{algorithm} keeps nothing there")
    if algorithm not in _STRUCTS:
        return Absent(Reason.NO_TYPE_INFO, f"no struct is known for {algorithm}")
    type_ = _find(kernel, algorithm, f"struct {_STRUCTS[algorithm]}")
    if type_ is None:
        return no_types(kernel.prog, f"the types of module {_module(algorithm)} are not loaded")
    bounds = []
    for path in _leaves(type_):
        _, spot, _ = resolve_in(kernel.prog, type_, path)
        bounds.append(Bound(Field(path, type_.type_name(), (Place(path),)), Place(path), spot, None))
    return Reader(kernel, [bounds])


def _module(algorithm: str) -> str:
    return f"tcp_{algorithm.removesuffix('-reno')}"


def _find(kernel: Kernel, algorithm: str, ctype: str) -> Type | None:
    """The struct as the algorithm's own file defines it: tcp_bic and tcp_cubic have different ``struct bictcp``."""
    types = module_types(kernel.prog, _module(algorithm))
    found = types.find([drgn.TypeKind.STRUCT], ctype.removeprefix("struct ")) if types else None
    if found is not None:
        return found
    for ending in ("c", "h"):
        with contextlib.suppress(LookupError):
            return kernel.prog.type(ctype, f"{_module(algorithm)}.{ending}")
    return None


def _leaves(type_: Type, prefix: str = "") -> Iterator[str]:
    """Paths of all scalar members, and arrays of them, of a struct."""
    for member in type_.members or ():
        inner = _strip(member.type)
        name = f"{prefix}{member.name}" if member.name else prefix.rstrip(".")
        if inner.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION):
            yield from _leaves(inner, f"{name}." if name else "")
        elif member.name and inner.kind == drgn.TypeKind.ARRAY and _is_aggregate(inner):
            for number in range(inner.length or 0):
                yield from _leaves(_strip(inner.type), f"{name}[{number}].")
        elif member.name:
            yield name


def _is_aggregate(array: Type) -> bool:
    return _strip(array.type).kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION)


def _strip(type_: Type) -> Type:
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    return type_
