# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash struct``: raw members of any kernel struct at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sockcrash.cli.params import output_options, target_options

if TYPE_CHECKING:
    from sockcrash.target import TargetOptions

__all__ = ("command",)


@click.command("struct")
@click.argument("what", metavar="TYPE[.MEMBER,...]")
@click.argument("address", metavar="ADDR")
@output_options("crash", "json")
@target_options
def command(target: TargetOptions, what: str, address: str, output_format: str) -> int:
    """Print raw members of the struct TYPE at ADDR, as crash does; all of them when none is named.

    \b
    For example:
      sockcrash struct tcp_sock.rcv_nxt,snd_una,reordering ffff8802305a0800
    """
    from sockcrash.cli.session import UNREADABLE
    from sockcrash.errors import NotASocketError, UsageError
    from sockcrash.kernel.members import read_struct, unreadable
    from sockcrash.render import crash, json
    from sockcrash.target import looks_like_core, open_target

    if looks_like_core(address):
        raise UsageError(f"{address} is a core dump", hint=f"did you mean -c {address}?")
    opened = open_target(target)
    name, _, wanted = what.partition(".")
    members = [member for member in wanted.split(",") if member]
    ctype, number, values = read_struct(opened.prog, name, address, members)
    if output_format == "json":
        document = {
            "schema": json.SCHEMA,
            "target": opened.describe(),
            "struct": {"type": ctype, "address": f"{number:#x}", **json.members_object(values)},
        }
        click.echo(json.dumps(document))
    elif members:
        click.echo("\n".join(crash.members(values)))
    else:
        click.echo(crash.whole(ctype, values))
    if values and all(unreadable(value) for value in values.values()):
        raise NotASocketError(address, f"nothing can be read at {number:#x}")
    return UNREADABLE if any(unreadable(value) for value in values.values()) else 0
