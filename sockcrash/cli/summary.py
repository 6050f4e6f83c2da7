# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash summary``: how the machine stands, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sockcrash.cli.out import write_lines
from sockcrash.cli.params import output_options, target_options

if TYPE_CHECKING:
    from sockcrash.target import TargetOptions

__all__ = ("command",)


@click.command("summary")
@click.option(
    "--top",
    type=click.IntRange(0, 10),
    default=5,
    show_default=True,
    help="How many of the largest the text shows.",
)
@output_options("text", "json")
@target_options
def command(target: TargetOptions, top: int, output_format: str) -> int:
    """Show how the machine stands as a whole: sockets by state, process and namespace, memory against its limits,
    ports in use, the kernel's counters, and the sockets with most memory and longest queues.

    JSON has the counters of each namespace as nstat shows them; the text adds them up.

    \b
    For example:
      sockcrash summary
      sockcrash summary -c vmcore --json
    """
    from sockcrash.cli.progress import counted
    from sockcrash.cli.session import Session
    from sockcrash.render import json
    from sockcrash.render.summary import summary_text
    from sockcrash.render.summary_json import summary_object
    from sockcrash.summary.machine import summarize
    from sockcrash.summary.tally import WANT

    session = Session(target)
    handles = session.handles(())
    records = session.records(counted(handles, "sockets", quiet=False), many=True, want=WANT)
    found = summarize(session.kernel, records, session.complain)
    about = session.target.describe()
    if output_format == "json":
        document = {"schema": json.SCHEMA, "target": about, "summary": summary_object(found)}
        write_lines([json.dumps(document)])
    else:
        write_lines(summary_text(found, about, top))
    return session.status
