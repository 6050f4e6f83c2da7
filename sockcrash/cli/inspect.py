# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash inspect``: sockets in full, or chosen fields of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from sockcrash.cli.out import write, write_lines
from sockcrash.cli.params import drgn_option, filter_option, netns_option, output_options, target_options
from sockcrash.errors import UsageError, refuse_beside

if TYPE_CHECKING:
    from sockcrash.cli.session import Session
    from sockcrash.filter import Filter
    from sockcrash.model import SocketRecord
    from sockcrash.target import TargetOptions

__all__ = ("command",)

_MOST_PAYLOAD = 65536


@click.command("inspect")
@click.argument("specs", metavar="[SPEC]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every socket of every namespace.")
@click.option(
    "-f", "--fields", metavar="NAME,...", help="Only these fields: members by their names in C, or values."
)
@click.option(
    "--every",
    is_flag=True,
    help="Every socket option, not only what an untouched socket would show otherwise.",
)
@click.option(
    "--queues", "segments", is_flag=True, help="The queues, buffer by buffer: which bytes, and their fate."
)
@click.option(
    "--payload",
    type=click.IntRange(1, _MOST_PAYLOAD),
    metavar="N",
    help="The first N bytes of each buffer too (with --queues).",
)
@click.option("--explain", is_flag=True, help="What each value means, beside it (text).")
@click.option("--force", is_flag=True, help="Read an address that can't be proved to be a socket's.")
@drgn_option
@netns_option
@filter_option
@output_options("text", "table", "json", "jsonl", "csv", "crash")
@target_options
def command(
    target: TargetOptions,
    specs: tuple[str, ...],
    everything: bool,
    fields: str | None,
    every: bool,
    segments: bool,
    payload: int | None,
    explain: bool,
    force: bool,
    netns: str | None,
    selected: Filter | None,
    output_format: str,
    by_hand: bool,
) -> int:
    """Show sockets in full: who holds them, their state, every variable of TCP, timers, memory, options.

    \b
    SPEC names sockets:
      ffff8802305a0800     an address of struct sock, struct socket or struct file
      sk:1001              as ss -e prints it        cookie:4097   as SO_COOKIE gives it
      ino:12453            an inode                  fd:PID/FD     a descriptor
      pid:PID              all sockets of a process
      tcp:127.0.0.1:975-192.168.1.200:2049           both ends; also udp:, udplite:, raw:, mptcp:
      tcp:127.0.0.1:975    tcp:[::1]:80    tcp::2049  one of them, either one
      unix:/run/x.sock     unix:@abstract             the name of a UNIX socket
      -    @FILE           the output of ss with any options, or lines of /proc/net/tcp and the like

    \b
    For example:
      sockcrash inspect fd:1234/7
      ss -tanpe '( dport = :nfs )' | sockcrash inspect -
      sockcrash inspect -c vmcore ffff8802305a0800 -f rcv_nxt,snd_una,reordering,nonagle
    """
    from dataclasses import replace

    from sockcrash.cli.session import Session, parse_specs, several
    from sockcrash.decode.want import ALONE, EVERYTHING

    if payload and not segments:
        raise UsageError("--payload goes with --queues")
    if segments and (fields is not None or output_format not in ("text", "json", "jsonl")):
        raise UsageError("--queues shows whole records, as text, json or jsonl")
    if explain and output_format != "text":
        raise UsageError(
            "--explain goes with --format text", hint="sockcrash explain NAME --json has it as JSON"
        )
    shape = {f"--format {output_format}": output_format != "text"}
    if by_hand:
        refuse_beside("--drgn", {"--every": every, "--queues": segments, "--explain": explain, **shape})
    if every and output_format in ("table", "csv", "crash"):
        refuse_beside("--every", shape)
    if fields is not None:
        refuse_beside("-f", {"--every": every})
    parsed = parse_specs(specs, everything=everything, selected=selected)
    session = Session(target)
    handles = session.handles(parsed, force=force, netns=netns, selected=selected)
    if by_hand:
        from sockcrash.byhand import inspect_code
        from sockcrash.decode.chosen import checked_fields

        names = checked_fields(session.kernel, fields) if fields is not None else None
        write_lines([inspect_code(session.kernel, handles, names)])
    elif fields is not None:
        _show_fields(session, handles, fields, output_format, explain=explain)
    else:
        reader = session.option_reader(every=every) if output_format in ("text", "json", "jsonl") else None
        whole = EVERYTHING if output_format in ("text", "json", "jsonl") else ALONE
        want = replace(whole, segments=segments, payload=payload or 0)
        records = session.records(handles, many=several(parsed), options=reader, want=want)
        _show(session, records, output_format, every=every, explain=explain)
    return session.status


def _show(
    session: Session, records: Iterable[SocketRecord], output_format: str, *, every: bool, explain: bool
) -> None:
    from sockcrash.render import json
    from sockcrash.render.stream import objects

    if output_format == "text" and explain:
        from sockcrash.render.glossary import explained_record
        from sockcrash.render.text import record_text

        _texts(f"{record_text(record, every=every)}\n{explained_record(record)}" for record in records)
    elif output_format == "text":
        from sockcrash.render.text import record_text

        _texts(record_text(record, every=every) for record in records)
    elif output_format in ("json", "jsonl"):
        write(objects(records, session.target.describe(), output_format, json.record_json))
    elif output_format == "crash":
        from sockcrash.render.crash import record_crash

        _texts(record_crash(record) for record in records)
    else:
        from sockcrash.render.table import RECORD_COLUMNS, record_row, rows

        write_lines(rows(RECORD_COLUMNS, map(record_row, records), output_format))


def _texts(texts: Iterable[str]) -> None:
    write_lines(f"\n{text}" if number else text for number, text in enumerate(texts))


def _show_fields(session: Session, handles: Any, wanted: str, output_format: str, *, explain: bool) -> None:
    from sockcrash.cli.fields import chosen
    from sockcrash.decode.chosen import checked_fields
    from sockcrash.render import json
    from sockcrash.render.stream import objects

    names = checked_fields(session.kernel, wanted)
    pairs = chosen(session, handles, names)
    if output_format == "text" and explain:
        from sockcrash.render.glossary import explained_fields

        _texts(explained_fields(record, values) for record, values in pairs)
    elif output_format == "text":
        from sockcrash.render.text import fields_text

        _texts(fields_text(record, values) for record, values in pairs)
    elif output_format in ("json", "jsonl"):
        made = (json.fields_object(record, values) for record, values in pairs)
        write(objects(made, session.target.describe(), output_format))
    elif output_format == "crash":
        from sockcrash.render.crash import fields_crash

        _texts(fields_crash(record, values) for record, values in pairs)
    else:
        from sockcrash.render.table import fields_row, rows

        made_rows = (fields_row(record, values) for record, values in pairs)
        write_lines(rows(("address", *names), made_rows, output_format))
