# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash layout``: how each field was bound on this kernel, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sockcrash.cli.params import output_options, target_options

if TYPE_CHECKING:
    from sockcrash.target import TargetOptions

__all__ = ("command",)


@click.command("layout")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@output_options("text", "json", "csv")
@target_options
def command(target: TargetOptions, names: tuple[str, ...], output_format: str) -> int:
    """Print how each row of kernel knowledge was bound: the place that won, its offset and type, or why none did.

    NAME narrows to rows or groups of that name.

    \b
    For example:
      sockcrash layout snd_cwnd nonagle
      sockcrash layout -c vmcore tcp
    """
    from sockcrash.errors import UsageError
    from sockcrash.kernel.registry import layout_rows
    from sockcrash.kernel.view import kernel_of
    from sockcrash.render import json
    from sockcrash.render.table import rows
    from sockcrash.target import open_target

    opened = open_target(target)
    table = [
        row for row in layout_rows(kernel_of(opened.prog)) if not names or set(names) & {row.group, row.name}
    ]
    if names and not table:
        raise UsageError(
            f"no row or group is named {', '.join(names)}", hint="sockcrash layout prints all of them"
        )
    if output_format == "json":
        document = {
            "schema": json.SCHEMA,
            "target": opened.describe(),
            "layout": [json.layout_object(row) for row in table],
        }
        click.echo(json.dumps(document))
        return 0
    notes = opened.notes if output_format == "text" else ()
    if output_format == "text":
        click.echo(f"{opened.release}: types from {opened.types}, symbols from {opened.symbols}")
        for note in notes:
            click.echo(note)
    cells = ((row.group, row.name, row.ctype, row.path or row.absent, row.where) for row in table)
    columns = ("group", "name", "struct", "bound to", "where")
    for piece in rows(columns, cells, "csv" if output_format == "csv" else "table"):
        click.echo(piece)
    return 0
