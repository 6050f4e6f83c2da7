# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which drgn code yields the same values by hand, as this kernel's layout was bound: what ``--drgn`` prints.

The code runs where ``prog`` is the kernel: in drgn, or in ``sockcrash shell``. What several members make together is
left to ``sockcrash.helpers``, and the code says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sockcrash.kernel.layout import STEP, Bound, Field, Place, bind, resolve
from sockcrash.kernel.members import known_member
from sockcrash.kernel.options import bound_options
from sockcrash.kernel.options.row import EVERY_KIND
from sockcrash.kernel.sockets import KINDS
from sockcrash.kernel.units import EXPRESSIONS, NAMES, SPELLED
from sockcrash.model import Absent

if TYPE_CHECKING:
    from sockcrash.filter.values import Value
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.model import OptionValue, SocketRecord

__all__ = ("inspect_code", "list_code", "options_code")

# What a pointer to each struct is called in the code.
_VARIABLES = {
    "struct sock": "sk", "struct tcp_sock": "tp", "struct inet_connection_sock": "icsk", "struct inet_sock": "inet",
    "struct sock_common": "skc",
}  # fmt: skip
_NAMED = 3
_DRGN = ("Object", "cast", "container_of")


class _Code:
    """Lines of a program, and what they need above them."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.ours: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.known: dict[str, dict[str, _Row]] = {}
        self.lines: list[str] = []

    def text(self) -> str:
        """The program."""
        body = "\n".join(self.lines)
        constants = {name: value for name, value in self.constants.items() if re.search(rf"\b{name}\b", body)}
        used = [name for name in _DRGN if f"{name}(" in body]
        above = [f"from drgn import {', '.join(used)}"] if used else []
        for room in sorted(set(self.ours.values())):
            names = sorted(name for name, where in self.ours.items() if where == room)
            above.append(f"from {room} import {', '.join(names)}")
        return "\n".join([*above, "", *(f"{name} = {value}" for name, value in constants.items()), body])

    def helper(self, name: str) -> str:
        """A name of sockcrash.helpers, imported."""
        self.ours[name] = "sockcrash.helpers"
        return name

    def variable(self, ctype: str) -> str:
        return _VARIABLES.get(ctype, ctype.removeprefix("struct ").removesuffix("_sock"))

    def begin(self, ctypes: Iterable[str], socket: Handle | SocketRecord) -> None:
        """A socket: variables for the structs that it is."""
        self.lines += ["", f"# {socket.kind if isinstance(socket.kind, str) else socket.kind.name}"]
        for ctype in dict.fromkeys(filter(None, ctypes)):
            self.lines.append(f'{self.variable(ctype)} = Object(prog, "{ctype} *", {socket.address:#x})')

    def member(self, bound: Bound) -> str:
        """The value of a bound row, None behind a NULL pointer."""
        assert bound.place is not None
        assert bound.spot is not None
        expression, pointers = self._path(bound.field.ctype, bound.place.path)
        value = self._value(expression, bound)
        bit = bound.place.bit
        if bit is not None:
            number = str(bit) if isinstance(bit, int) else f'prog.constant("{bit}").value_()'
            value = f"{value} >> {number} & 1"
        return f"{value} if {' and '.join(pointers)} else None" if pointers else value

    def _path(self, ctype: str, path: str) -> tuple[str, list[str]]:
        """drgn's way along a path of a row, and the pointers on it."""
        here = self.variable(ctype)
        pointers: list[str] = []
        for arrow, index, container, embedded, name in STEP.findall(path):
            if arrow:
                pointers.append(here)
            elif index:
                here = f"{here}[{index}]"
            elif container:
                here = f'container_of({here}, "{container}", "{embedded}")'
            else:
                here = f"{here}.{name}"
        return here, pointers

    def _value(self, expression: str, bound: Bound) -> str:
        """The plain value of an object: bytes of what is no number, a tuple of an array."""
        assert bound.spot is not None
        if bound.place is not None and bound.place.bit is not None:
            return f"{expression}.value_()"
        if bound.spot.code.endswith("s") and not bound.spot.bits:
            return f"{expression}.to_bytes_()"
        return f"tuple({expression}.value_())" if bound.spot.count > 1 else f"{expression}.value_()"

    def converted(self, by: str, raw: str) -> str:
        """The value that a row converts from its member, which ``raw`` yields; what is no value is None."""
        clock = self.kernel.clock()
        expression = SPELLED.get(by) or EXPRESSIONS[by]
        for name, value in NAMES.items():
            if isinstance(value, Absent):
                expression = re.sub(rf"\b{name}\b", "None", expression)
        if "c.rate" in expression:
            self.constants["HZ"] = str(clock.rate or "0  # this dump has lost it")
        if "c.jiffies" in expression:
            self.constants["jiffies"] = 'prog["jiffies_64"].value_()'
        expression = expression.replace("c.ulong_max", f"{clock.ulong_max:#x}")
        for name, shown in (("c.rate", "HZ"), ("c.jiffies", "jiffies"), ("c.lost", "None")):
            expression = expression.replace(name, shown)
        return f"(lambda x: None if x is None else {expression})({raw})"


class _Row(NamedTuple):
    """A value of a socket: its name, the struct that it lies in, and the code for it.

    ``plain``: that is the value, and nothing else makes it.
    """

    name: str
    ctype: str
    code: str
    plain: bool = True


def _rows(code: _Code, kind: str) -> dict[str, _Row]:
    """The values of a kind of socket that this kernel has, converted ones behind their members; made once."""
    if kind not in code.known:
        bounds = (bound for group in KINDS[kind].groups for bound in code.kernel.bounds(group))
        code.known[kind] = {row.name: row for bound in bounds if bound.spot for row in _of_bound(code, bound)}
    return code.known[kind]


def _of_bound(code: _Code, bound: Bound) -> Iterator[_Row]:
    raw = code.member(bound)
    yield _Row(bound.field.name, bound.field.ctype, raw)
    for convert in bound.field.converts:
        yield _Row(convert.name, bound.field.ctype, code.converted(convert.by, raw))


def inspect_code(kernel: Kernel, handles: Iterable[Handle], fields: Sequence[str] | None = None) -> str:
    """Code that fills ``fields``, by addresses of sockets and names: all rows of each, or those that are named."""
    code = _Code(kernel)
    code.lines.append("fields = {}")
    for handle in handles:
        rows = _rows(code, handle.kind.name)
        chosen = (
            list(rows.values()) if fields is None else [_named(code, handle, name, rows) for name in fields]
        )
        code.begin((row.ctype for row in chosen), handle)
        code.lines.append(f"fields[{handle.address:#x}] = {{")
        code.lines += [f'    "{row.name}": {row.code},' for row in chosen]
        code.lines.append("}")
    return code.text()


def _named(code: _Code, handle: Handle, name: str, rows: dict[str, _Row]) -> _Row:
    """A field by the name that ``-f`` has for it."""
    ctype = known_member(code.kernel, handle.kind.name, name)
    if ctype is not None:
        field = Field(name, ctype, (Place(name),))
        hops, spot, _ = resolve(code.kernel.prog, ctype, name)
        return _Row(name, ctype, code.member(Bound(field, field.places[0], spot, None, hops)))
    if name in rows:
        return rows[name]
    record = f"{code.helper('sk_record')}(prog, {handle.address:#x})"
    return _Row(name, "", f"next((s[{name!r}] for s in {record}.sections().values() if {name!r} in s), None)")


def options_code(kernel: Kernel, records: Iterable[SocketRecord]) -> str:
    """Code that fills ``options``, by addresses of sockets and LEVEL.NAME, with the options that records have."""
    code = _Code(kernel)
    code.lines.append("options = {}")
    for record in records:
        found = record.options if isinstance(record.options, tuple) else ()
        known = _options(code, record.kind) if found else {}
        rows = [(one, known.get((one.level, one.name), ())) for one in found]
        code.begin((row.ctype for _, made in rows for row in made), record)
        code.lines.append(f"options[{record.address:#x}] = {{")
        code.lines += [f"    {_option(code, record, one, made)}" for one, made in rows]
        code.lines.append("}")
    return code.text()


def _option(code: _Code, record: SocketRecord, option: OptionValue, members: Sequence[_Row]) -> str:
    """One option: its member as it is, or what sockcrash makes of its members, which are named beside it."""
    full = f"{option.level}.{option.name}"
    if len(members) == 1 and members[0].plain:
        return f'"{full}": {members[0].code},'
    of = ", ".join(row.code for row in members[:_NAMED])
    more = ", ..." if len(members) > _NAMED else ""
    asked = f'{code.helper("sk_option")}(prog, {record.address:#x}, "{full}").value,'
    return f'"{full}": {asked}' + (f"  # from {of}{more}" if of else "")


def _options(code: _Code, kind: str) -> dict[tuple[str, str], tuple[_Row, ...]]:
    """The members that the value of each option is made of, as far as this kernel has them."""
    found: dict[tuple[str, str], tuple[_Row, ...]] = {}
    for option in bound_options(code.kernel, kind):
        row = option.row
        bounds = [bind(code.kernel.prog, one) for one in row.fields]
        plain = row.value is None and option.lost is None and not any(one.converts for one in row.fields)
        found[row.level, row.name] = tuple(
            _Row(row.name, bound.field.ctype, code.member(bound), plain)
            for bound in bounds
            if bound.spot is not None
        )
    return found


def list_code(kernel: Kernel, values: Sequence[Value], selected: str | None, netns: str | None) -> str:
    """Code that fills ``rows``, a dict by column for each socket that a filter selects."""
    code = _Code(kernel)
    columns = [f'        "{value.name}": {_column(code, value)},' for value in values]
    narrowed = [f"{name}={text!r}" for name, text in (("netns", netns), ("filter", selected)) if text]
    walk = f"{code.helper('for_each_sock')}({', '.join(['prog', *narrowed])})"
    code.lines += ["rows = []", f"for sk in {walk}:", f"    kind = {code.helper('sk_kind')}(sk)"]
    if "find_value" in code.ours:
        code.lines.append(f"    record = {code.helper('sk_record')}(sk, every=True)")
    code.lines += ["    rows.append({", *columns, "    })"]
    return code.text()


def _column(code: _Code, value: Value) -> str:
    """A column: by hand where it is a member or an option that is one, else asked of a record."""
    ways: dict[str, list[str]] = {}
    for kind in EVERY_KIND if value.options else KINDS:
        row = _row_of(code, kind, value)
        if row is not None:
            text = re.sub(rf"\b{code.variable(row.ctype)}\.", f'cast("{row.ctype} *", sk).', row.code)
            ways.setdefault(f"({text})", []).append(kind)
    if not ways:
        code.ours["find_value"] = "sockcrash.filter.values"
        return f'find_value("{value.name}").get(record)'
    return " else ".join([*(f"{text} if kind in {kinds}" for text, kinds in ways.items()), "None"])


def _row_of(code: _Code, kind: str, value: Value) -> _Row | None:
    """The row of a kind of socket that is what a column asks for."""
    if value.options:
        made = [rows for rows in _options(code, kind).values() if rows and value.options == {rows[0].name}]
        return made[0][0] if len(made) == 1 and len(made[0]) == 1 and made[0][0].plain else None
    if value.want.members != frozenset({value.name}):
        return None
    return _rows(code, kind).get(value.name)
