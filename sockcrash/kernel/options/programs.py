# SPDX-License-Identifier: LGPL-2.1-or-later
"""The BPF programs that are attached to sockets: classic ones by their instructions, eBPF by id and name."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.options.codecs import items, shown
from sockcrash.kernel.options.row import SET_ONLY, Option, absent, field, first_lost
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context
    from sockcrash.kernel.view import Kernel

__all__ = ("ROWS", "program_text", "program_value")

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_P = "struct bpf_prog"
_PROGRAM = Group(
    "bpf_prog",
    (
        row("type", _P),
        row("orig_prog", _P),
        row("len", _P, "orig_prog->len"),
        row("filter", _P, "orig_prog->filter"),
        row("id", _P, "aux->id"),
        row("name", _P, "aux->name", to="program_name", by="text"),
    ),
)
# include/uapi/linux/bpf.h, enum bpf_prog_type: those that setsockopt attaches
_TYPES = {1: "socket_filter", 21: "sk_reuseport"}


@dataclass(frozen=True, slots=True)
class _Program:
    type: int
    id: int
    name: str
    instructions: list[list[int]] | None


def _program(kernel: Kernel, address: int) -> _Program | Absent:
    memo: dict[int, _Program | Absent] = kernel.cache.setdefault("bpf_programs", {})
    if kernel.live or address not in memo:
        try:
            memo[address] = _read(kernel, address)
        except drgn.FaultError as error:
            memo[address] = kernel.unreadable(error)
    return memo[address]


def _read(kernel: Kernel, address: int) -> _Program | Absent:
    (section,) = kernel.reader(_PROGRAM).sections(address)
    lost = first_lost(section.unpacked)
    if lost is not None:
        return lost
    name = section["program_name"]
    number = section["id"]
    instructions = None
    if section["orig_prog"]:
        length = min(section["len"], MAX_INSTRUCTIONS)
        raw = kernel.read(section["filter"], length * 8)
        instructions = [list(code) for code in struct.iter_unpack(kernel.byte_order + "HBBI", raw)]
    return _Program(
        section["type"],
        number if isinstance(number, int) else 0,
        name if isinstance(name, str) else "",
        instructions,
    )


def program_value(context: Context, address: int) -> Any:
    """``struct bpf_prog *`` → an object: its type, id, name, and whether it is classic BPF; Absent for NULL."""
    if not address:
        return _NONE
    program = _program(context.kernel, address)
    if isinstance(program, Absent):
        return program
    return {
        "type": _TYPES.get(program.type, str(program.type)),
        "id": program.id,
        "name": program.name,
        "classic": int(program.instructions is not None),
    }


def program_text(value: Any) -> str:
    """``eBPF program 12 (drop_all)``, ``classic BPF``."""
    if value["classic"]:
        return "classic BPF"
    return f"eBPF {value['type']} {value['id']}" + (f" ({value['name']})" if value["name"] else "")


_NONE = Absent(Reason.NOT_ASSIGNED, "no program is attached")
_DENIED = absent("EACCES: an eBPF program is attached, see SO_ATTACH_BPF")
_CODEC = shown("object", program_text)
_PROG = field("sock", "sk_filter->prog", name="sk_filter->prog")
_REUSEPORT = field("sock", "sk_reuseport_cb->prog", name="sk_reuseport_cb->prog")


def _filter(context: Context, address: Any) -> Any:
    """What SO_GET_FILTER gives: the instructions as they were attached (sk_get_filter)."""
    if not isinstance(address, int):
        return []
    program = _program(context.kernel, address)
    if isinstance(program, Absent):
        return program
    return _DENIED if program.instructions is None else program.instructions


def _attached(classic: bool) -> Any:
    def value(context: Context, address: Any) -> Any:
        found = program_value(context, address if isinstance(address, int) else 0)
        return _NONE if isinstance(found, dict) and bool(found["classic"]) is not classic else found

    return value


def _instructions(value: list[Any]) -> str:
    return f"classic BPF, {len(value)} instructions" if value else "none"


def _set_only(name: str, number: int, member: Any, classic: bool) -> Option:
    return Option(
        "SOL_SOCKET",
        name,
        number,
        _CODEC,
        (member,),
        _attached(classic),
        default=_NONE,
        raw=SET_ONLY,
        lenient=True,
        fresh=True,
    )


ROWS = (
    Option(
        "SOL_SOCKET", "SO_GET_FILTER", 26, items("HBBI", _instructions), (_PROG,), _filter, default=[], lenient=True,
        fresh=True,
    ),
    _set_only("SO_ATTACH_BPF", 50, _PROG, classic=False),
    _set_only("SO_ATTACH_REUSEPORT_CBPF", 51, _REUSEPORT, classic=True),
    _set_only("SO_ATTACH_REUSEPORT_EBPF", 52, _REUSEPORT, classic=False),
)  # fmt: skip
