# SPDX-License-Identifier: LGPL-2.1-or-later
"""Members the way crash's ``struct`` command prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sockcrash.model import Absent, SocketRecord
from sockcrash.render.escape import printable
from sockcrash.render.units import show

__all__ = ("fields_crash", "members", "record_crash", "whole")


def record_crash(record: SocketRecord) -> str:
    """Every member of a record that is one in C."""
    fields = {name: value for section in record.sections().values() for name, value in section.items()}
    return fields_crash(record, fields)


def fields_crash(record: SocketRecord, fields: Mapping[str, Any]) -> str:
    """An address, and its members below it."""
    return "\n".join((f"{record.address:x}", *members(fields)))


def members(fields: Mapping[str, Any], indent: int = 2) -> Iterator[str]:
    """``name = value,`` lines; a nested struct in braces."""
    pad = " " * indent
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield f"{pad}{name} = {{"
            yield from members(value, indent + 2)
            yield f"{pad}}},"
        else:
            yield f"{pad}{name} = {_scalar(value)},"


def whole(ctype: str, fields: Mapping[str, Any]) -> str:
    """A whole struct: ``struct NAME {`` … ``}``."""
    return "\n".join((f"{ctype} {{", *members(fields), "}"))


def _scalar(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(_element(one) for one in value) + "}"
    if isinstance(value, Absent):
        return show(value)
    if isinstance(value, bool):
        return str(value).lower()
    return printable(str(value))


def _element(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_scalar(one)}" for name, one in value.items()) + "}"
    return _scalar(value)
