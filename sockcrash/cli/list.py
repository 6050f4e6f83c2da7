# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash list``: every socket of every namespace, a line each, chosen by a filter."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

import click

from sockcrash.cli.out import write, write_lines
from sockcrash.cli.params import drgn_option, holder_options, netns_option, output_options, target_options

if TYPE_CHECKING:
    from sockcrash.cli.session import Session
    from sockcrash.filter import Filter
    from sockcrash.filter.values import Get, Value
    from sockcrash.model import SocketRecord
    from sockcrash.target import TargetOptions

__all__ = ("command",)

# address and kind of a socket, and the values of the columns
Row = tuple[int, str, tuple[Any, ...]]


@click.command("list")
@click.argument("words", metavar="[FILTER]", nargs=-1)
@click.option(
    "-o", "--columns", metavar="NAME,...", help="These columns: fields, members, options, owners, ..."
)
@click.option("--sort", metavar="[-]NAME", help="In the order of this; - before it turns the order round.")
@click.option("--count-by", metavar="NAME,...", help="Only how many sockets are alike in these.")
@drgn_option
@holder_options
@netns_option
@output_options("text", "table", "json", "jsonl", "csv")
@target_options
def command(
    target: TargetOptions,
    selected: Filter | None,
    columns: str | None,
    sort: str | None,
    count_by: str | None,
    netns: str | None,
    output_format: str,
    by_hand: bool,
) -> int:
    """List sockets of all families and namespaces, a line each.

    FILTER is ss's, and may name any field or option. Terms that a value is missing for select nothing. In the columns -
    is what a socket has none of, and ? what can't be told: it is unreadable, or its type is not known; --json says why.

    \b
    For example:
      sockcrash list
      sockcrash list state established '( dport = :443 or sport = :ssh )' dst 10.0.0.0/8
      sockcrash list 'tcp_nodelay = 0 and snd_cwnd < 3 and unacked > 0 and comm = nginx'
      sockcrash list -c vmcore kind = tcp -o local,peer,snd_cwnd,rtt,tcp_congestion --sort -rtt
      sockcrash list --count-by comm,state
      sockcrash list --comm nginx --cgroup /system.slice -o local,peer,peer_comm,container
      sockcrash list netns_processes = 0        # of namespaces that nobody is in any more
    """
    from sockcrash.errors import UsageError, refuse_beside
    from sockcrash.filter.values import checked_values

    if count_by is not None:
        if columns is not None or sort is not None or by_hand:
            raise UsageError(
                "--count-by has its own columns and order", hint="leave out -o, --sort and --drgn"
            )
        alike = checked_values(count_by, "--count-by")
        return _count(_session(target), alike, selected, netns, output_format)
    if by_hand:
        refuse_beside("--drgn", {"--sort": sort, f"--format {output_format}": output_format != "text"})
    names = columns if columns is not None else ",".join(_default_columns(output_format))
    values = checked_values(names, "-o")
    key = None if sort is None else checked_values(sort.removeprefix("-"), "--sort")[0]
    session = _session(target)
    if columns is None:
        values = [value for value in values if session.tells(value.want)]
    if by_hand:
        from sockcrash.byhand import list_code

        write_lines([list_code(session.kernel, values, selected.text if selected else None, netns)])
        return session.status
    quiet = sys.stdout.isatty() and sort is None
    wanted = values if key is None else [*values, key]
    rows = _rows(session, wanted, selected, netns, quiet=quiet)
    if key is not None and sort is not None:
        rows = (
            (address, kind, cells[:-1])
            for address, kind, cells in sorted(rows, key=_order, reverse=sort.startswith("-"))
        )
    _show(session, values, rows, output_format)
    return session.status


def _session(options: TargetOptions) -> Session:
    """What the list is of; of a running kernel whose memory can't be read, what it tells of itself."""
    from sockcrash.cli.session import Session
    from sockcrash.errors import TargetError

    try:
        return Session(options)
    except TargetError as error:
        from sockcrash.cli.smaller import SmallerSession

        return cast("Session", SmallerSession(options, error))


def _default_columns(output_format: str) -> tuple[str, ...]:
    """As many as the terminal has room for; for machines all that are ever shown unasked."""
    from sockcrash.render.list import NARROW, default_columns

    if output_format in ("json", "jsonl", "csv"):
        return default_columns(sys.maxsize)
    width = shutil.get_terminal_size((NARROW, 0)).columns if sys.stdout.isatty() else NARROW
    return default_columns(max(width, NARROW))


def _rows(
    session: Session, values: Sequence[Value], selected: Filter | None, netns: str | None, *, quiet: bool
) -> Iterator[Row]:
    from sockcrash.cli.progress import counted
    from sockcrash.filter.values import needed

    want, options = needed(values)
    reader = session.option_reader(every=False, names=options) if options else None
    records = session.every_record(netns=netns, selected=selected, options=reader, want=want)
    return _cells(session, counted(records, "sockets", quiet=quiet), [value.get for value in values])


def _cells(session: Session, records: Iterable[SocketRecord], getters: Sequence[Get]) -> Iterator[Row]:
    for record in records:
        cells = tuple([get(record) for get in getters])
        session.note_values(record, cells)
        yield record.address, record.kind, cells


def _order(row: Row) -> tuple[bool, bool, Any]:
    """By the last column: what is absent first, then numbers, then text."""
    from sockcrash.model import Absent
    from sockcrash.render.list import cell

    value = row[2][-1]
    if isinstance(value, Absent):
        return (False, False, 0)
    number = isinstance(value, (int, float))
    return (True, not number, value if number else cell(value))


def _show(session: Session, values: Sequence[Value], rows: Iterable[Row], output_format: str) -> None:
    from sockcrash.render import list as render
    from sockcrash.render import table
    from sockcrash.render.stream import objects

    columns = [render.Column(value.name, value.words, value.hexadecimal) for value in values]
    if output_format in ("json", "jsonl"):
        made = (render.row_object(address, kind, columns, cells) for address, kind, cells in rows)
        write(objects(made, session.target.describe(), output_format))
        return
    cells = map(itemgetter(2), rows)
    if output_format == "text":
        write_lines(render.lines(columns, cells))
    else:
        names = [column.name for column in columns]
        write_lines(table.rows(names, render.texts(columns, cells), output_format))


def _count(
    session: Session, values: Sequence[Value], selected: Filter | None, netns: str | None, output_format: str
) -> int:
    """How many sockets there are of each combination of values, most first."""
    from collections import Counter

    from sockcrash.render import json, table
    from sockcrash.render.list import Column, cell, counts_object, lines

    cells = (tuple(map(cell, row)) for *_, row in _rows(session, values, selected, netns, quiet=False))
    counted = sorted(Counter(cells).items(), key=lambda pair: (-pair[1], pair[0]))
    names = [value.name for value in values]
    if output_format in ("json", "jsonl"):
        made = counts_object(names, counted)
        document = {"schema": json.SCHEMA, "target": session.target.describe(), "list": made}
        write_lines(map(json.dumps, made) if output_format == "jsonl" else [json.dumps(document)])
    elif output_format == "text":
        columns = [Column("count", words=False), *map(Column, names)]
        write_lines(lines(columns, ((count, *row) for row, count in counted)))
    else:
        write_lines(table.rows(("count", *names), ((count, *row) for row, count in counted), output_format))
    return session.status
