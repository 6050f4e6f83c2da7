# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of a drgn session: what they take, print and leave in ``_``. What does the work is imported when run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from drgn import FaultError, Object, Program
from drgn.commands import CommandError, argument, drgn_argument
from drgn.commands.linux import linux_kernel_command

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.model import SocketRecord

__all__ = ("COMMANDS",)

COMMANDS = ("sock", "socks", "sockopts")

T = TypeVar("T")
_kernel_command: Callable[..., Callable[[T], T]] = linux_kernel_command

_SPEC = argument(
    "spec",
    nargs="*",
    help="an address, sk:COOKIE, ino:N, fd:PID/FD, pid:PID, tcp:A:P-B:Q, tcp::PORT, unix:PATH, ...",
)
_HELP = argument("-h", "--help", action="store_true", help="print this text")
_EVERY = argument(
    "--every",
    action="store_true",
    help="every option, not only what an untouched socket would show otherwise",
)


@_kernel_command(
    description="show sockets in full",
    long_description="""
    Print who holds a socket, its state, every variable of TCP, timers, memory and options. The record (a list of
    them, if there are several) is left in ``_``.

    For example: %sock tcp::443 | less
    """,
    arguments=(
        _SPEC,
        argument("-f", "--fields", metavar="NAME,...", help="only these members, by their names in C"),
        _EVERY,
        argument("--json", action="store_true", help="one JSON object for each socket"),
        drgn_argument,
        _HELP,
    ),
)
def _cmd_sock(prog: Program, name: str, args: argparse.Namespace, **kwargs: Any) -> Any:
    return _run(_show_sockets, prog, name, args, **kwargs)


def _show_sockets(prog: Program, args: argparse.Namespace) -> Any:
    from sockcrash.errors import refuse_beside
    from sockcrash.helpers.arguments import kernel_of_program
    from sockcrash.helpers.reading import read_record

    if args.drgn:
        refuse_beside("--drgn", {"--every": args.every, "--json": args.json})
    if args.fields:
        refuse_beside("-f", {"--every": args.every})
    kernel = kernel_of_program(prog)
    handles = _handles(kernel, args.spec)
    if args.drgn:
        from sockcrash.byhand import inspect_code
        from sockcrash.decode.chosen import checked_fields

        names = checked_fields(kernel, args.fields) if args.fields else None
        return _write([inspect_code(kernel, handles, names)])
    records = [read_record(kernel, handle, every=args.every) for handle in handles]
    _write(_fields(kernel, records, args) if args.fields else _texts(records, args))
    return _alone(records)


def _texts(records: Iterable[SocketRecord], args: argparse.Namespace) -> Iterator[str]:
    from sockcrash.render.json import record_json
    from sockcrash.render.text import record_text

    for number, record in enumerate(records):
        if args.json:
            yield record_json(record)
        else:
            yield "\n" * bool(number) + record_text(record, every=args.every)


def _fields(kernel: Kernel, records: Iterable[SocketRecord], args: argparse.Namespace) -> Iterator[str]:
    from sockcrash.decode.chosen import checked_fields, field_value
    from sockcrash.render.json import dumps, fields_object
    from sockcrash.render.text import fields_text

    names = checked_fields(kernel, args.fields)
    for record in records:
        values = {name: field_value(kernel, record, name) for name in names}
        yield dumps(fields_object(record, values)) if args.json else fields_text(record, values)


@_kernel_command(
    description="list sockets of all families and namespaces",
    long_description="""
    Print a line for each socket that a filter selects, in the language of ss, which may name any field or option. The
    list of their ``struct sock *`` is left in ``_``. What the shell would take for itself is to be quoted.

    For example: %socks state established dst 10.0.0.0/8 | grep nginx
    """,
    arguments=(
        argument("filter", nargs="*", help="terms of ss, as state listening sport = :80"),
        argument(
            "-o", "--columns", metavar="NAME,...", help="these columns: fields, members, options, owners"
        ),
        argument("--netns", metavar="NAME|ino:N|pid:N", help="only sockets of this network namespace"),
        drgn_argument,
        _HELP,
    ),
)
def _cmd_socks(prog: Program, name: str, args: argparse.Namespace, **kwargs: Any) -> Any:
    return _run(_list_sockets, prog, name, args, **kwargs)


def _list_sockets(prog: Program, args: argparse.Namespace) -> list[Object] | None:
    from sockcrash.decode import decode
    from sockcrash.decode.inheritance import OptionReader
    from sockcrash.decode.owner import Owners
    from sockcrash.filter.values import checked_values, needed
    from sockcrash.helpers import for_each_sock
    from sockcrash.helpers.arguments import complain, handle_of, kernel_of_program
    from sockcrash.render.list import NARROW, Column, default_columns, lines

    values = checked_values(args.columns or ",".join(default_columns(NARROW)), "-o")
    kernel = kernel_of_program(prog)
    selected = " ".join(args.filter) or None
    if args.drgn:
        from sockcrash.byhand import list_code

        _write([list_code(kernel, values, selected, args.netns)])
        return None
    found = list(for_each_sock(prog, netns=args.netns, filter=selected))
    want, names = needed(values)
    owners = Owners(kernel, complain, many=True) if "owners" in want.parts else None
    options = OptionReader(kernel, complain, names=names) if names else None

    def row(sk: Object) -> tuple[Any, ...]:
        record = decode(kernel, handle_of(kernel, sk), owners, options, want)
        return tuple(value.get(record) for value in values)

    columns = [Column(value.name, value.words, value.hexadecimal) for value in values]
    _write(lines(columns, map(row, found)))
    return found


@_kernel_command(
    description="show the options of sockets",
    long_description="""
    Print value, origin, default and the member that holds it of each option. The options of a socket (a list of them,
    if there are several sockets) are left in ``_``.

    For example: %sockopts fd:1234/7 --name TCP_NODELAY,SO_KEEPALIVE
    """,
    arguments=(
        _SPEC,
        _EVERY,
        argument("--level", metavar="LEVEL", help="only options of this level"),
        argument("--name", metavar="NAME,...", help="only these options"),
        drgn_argument,
        _HELP,
    ),
)
def _cmd_sockopts(prog: Program, name: str, args: argparse.Namespace, **kwargs: Any) -> Any:
    return _run(_show_options, prog, name, args, **kwargs)


def _show_options(prog: Program, args: argparse.Namespace) -> Any:
    from sockcrash.decode.chosen import checked_level, checked_name
    from sockcrash.helpers.arguments import kernel_of_program
    from sockcrash.helpers.reading import read_record
    from sockcrash.render.options import options_text
    from sockcrash.render.text import head

    names = frozenset(checked_name(one) for one in args.name.split(",")) if args.name else frozenset()
    levels = frozenset({checked_level(args.level)}) if args.level else frozenset()
    kernel = kernel_of_program(prog)
    handles = _handles(kernel, args.spec)
    records = [
        read_record(kernel, handle, every=args.every, levels=levels, names=names) for handle in handles
    ]
    if args.drgn:
        from sockcrash.byhand import options_code

        return _write([options_code(kernel, records)])
    every = args.every or bool(names)
    for record in records:
        lines = [] if record.options is None else options_text(record, every=every)
        _write([head(record), *(f"  {line}".rstrip() for line in lines)])
    return _alone([record.options for record in records])


def _handles(kernel: Kernel, specs: list[str]) -> list[Handle]:
    from sockcrash.errors import UsageError
    from sockcrash.helpers.arguments import handles_of
    from sockcrash.locate.spec import FORMS

    if not specs:
        raise UsageError("no socket is named", hint=FORMS)

    return list({handle.address: handle for spec in specs for handle in handles_of(kernel, spec)}.values())


def _alone(found: list[T]) -> T | list[T]:
    return found[0] if len(found) == 1 else found


def _write(lines: Iterable[str]) -> None:
    """To standard output as it is now: drgn puts pipes and files in its place."""
    for line in lines:
        sys.stdout.write(line + "\n")


def _run(
    command: Callable[[Program, argparse.Namespace], T],
    prog: Program,
    name: str,
    args: argparse.Namespace,
    parser: argparse.ArgumentParser,
    **_: Any,
) -> T | None:
    """What ``command`` returns; what goes wrong in it is an error of the command, without a traceback."""
    from sockcrash.errors import SockcrashError

    if args.help:
        _write([parser.format_help().rstrip()])
        return None
    try:
        return command(prog, args)
    except SockcrashError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        raise CommandError(f"{name}: {error.message}{hint}") from None
    except FaultError as error:
        raise CommandError(f"{name}: unreadable: {error}") from None
