# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash options``: which options sockets have, who set them, and where they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sockcrash.cli.out import write, write_lines
from sockcrash.cli.params import drgn_option, filter_option, netns_option, output_options, target_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockcrash.filter import Filter
    from sockcrash.model import SocketRecord
    from sockcrash.target import TargetOptions

__all__ = ("command",)


@click.command("options")
@click.argument("specs", metavar="[SPEC]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Sockets: every one of every namespace.")
@click.option(
    "--every",
    is_flag=True,
    help="Options: every one, not only what an untouched socket would show otherwise.",
)
@click.option(
    "--level", "levels", multiple=True, metavar="LEVEL", help="Only options of this level. (repeatable)"
)
@click.option(
    "--name", "names", multiple=True, metavar="NAME[,NAME...]", help="Only these options. (repeatable)"
)
@click.option("--force", is_flag=True, help="Read an address that can't be proved to be a socket's.")
@drgn_option
@netns_option
@filter_option
@output_options("text", "table", "json", "jsonl", "csv")
@target_options
def command(
    target: TargetOptions,
    specs: tuple[str, ...],
    everything: bool,
    every: bool,
    levels: tuple[str, ...],
    names: tuple[str, ...],
    force: bool,
    netns: str | None,
    selected: Filter | None,
    output_format: str,
    by_hand: bool,
) -> int:
    """Show socket options: value, who set it, the default, and the member of the kernel that holds it.

    One socket is shown in full; several side by side, those that are alike in one column.

    \b
    For example:
      sockcrash options pid:1234 --name TCP_NODELAY     has it been set, by this program or its library?
      sockcrash options fd:1234/7                       what the application has changed on this socket
      sockcrash options -c vmcore --all --level IPPROTO_TCP
    """
    from sockcrash.cli.session import Session, parse_specs, several
    from sockcrash.decode.chosen import checked_level, checked_name
    from sockcrash.decode.want import ALONE
    from sockcrash.errors import refuse_beside

    if by_hand:
        refuse_beside("--drgn", {f"--format {output_format}": output_format != "text"})
    wanted_names = frozenset(checked_name(name) for group in names for name in group.split(","))
    wanted_levels = frozenset(map(checked_level, levels))
    parsed = parse_specs(specs, everything=everything, selected=selected)
    session = Session(target)
    handles = session.handles(parsed, force=force, netns=netns, selected=selected)
    reader = session.option_reader(every=every, levels=wanted_levels, names=wanted_names)
    records = session.records(handles, many=several(parsed), options=reader, want=ALONE)
    if by_hand:
        from sockcrash.byhand import options_code

        write_lines([options_code(session.kernel, records)])
        return session.status
    _show(session.target.describe(), records, every or bool(names), output_format)
    return session.status


def _show(target: dict[str, Any], records: Iterable[SocketRecord], every: bool, output_format: str) -> None:
    full = (record for record in records if record.options is not None)
    if output_format in ("json", "jsonl"):
        from sockcrash.render.json import only_options, record_json
        from sockcrash.render.stream import objects

        write(objects(map(only_options, full), target, output_format, record_json))
    elif output_format == "text":
        write_lines(_lines(full, every))
    else:
        from sockcrash.render.options import OPTION_COLUMNS, option_rows
        from sockcrash.render.table import rows

        made = (row for record in full for row in option_rows(record))
        write_lines(rows(OPTION_COLUMNS, made, output_format))


def _lines(records: Iterable[SocketRecord], every: bool) -> Iterator[str]:
    """One socket in full, several as a matrix."""
    from sockcrash.render.options import options_text
    from sockcrash.render.options_matrix import matrix
    from sockcrash.render.text import head

    waiting = iter(records)
    first = next(waiting, None)
    if first is None:
        return
    second = next(waiting, None)
    if second is None:
        yield head(first)
        yield from (f"  {line}".rstrip() for line in options_text(first, every=every))
        return
    yield from matrix(_again(first, second, waiting))


def _again(first: SocketRecord, second: SocketRecord, rest: Iterable[SocketRecord]) -> Iterator[SocketRecord]:
    yield first
    yield second
    yield from rest
