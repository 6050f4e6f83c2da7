# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash man``: manual pages, made of the same texts as --help."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sockcrash import __version__

if TYPE_CHECKING:
    from sockcrash.cli.manual import Block, Manual

__all__ = ("command", "pages")


@click.command("man")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write all pages into this directory, as DIR/sockcrash.1 and so on.",
)
def command(name: str | None, output: Path | None) -> None:
    """Show the manual page of a command, or of sockcrash itself; or write all of them.

    \b
    For example:
      sockcrash man inspect
      sockcrash man -o /usr/local/share/man/man1      then man sockcrash-inspect shows it too
    """
    made = dict(pages())
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for page, text in made.items():
            (output / f"{page}.1").write_text(text)
        return
    wanted = f"sockcrash-{name}" if name else "sockcrash"
    if wanted not in made:
        from sockcrash.cli.hints import wrong_command

        raise wrong_command(
            name or "", [page.partition("-")[2] for page in made], click.get_current_context()
        )
    if sys.stdout.isatty() and shutil.which("man"):
        subprocess.run(["man", "-l", "-"], input=made[wanted], text=True, check=False)
    else:
        click.echo(made[wanted], nl=False)


def pages() -> Iterator[tuple[str, str]]:
    """Name and roff text of each page."""
    from sockcrash.cli import group
    from sockcrash.cli.manual import ENVIRONMENT, EXIT_STATUS, manual_of, manuals

    every = list(manuals(group))
    whole = manual_of(group, click.Context(group, info_name="sockcrash"))
    names = [manual.name.replace(" ", "-") for manual in every]
    commands = [(name, manual.summary) for name, manual in zip(names, every, strict=True)]
    tail = [("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT)]
    yield "sockcrash", _page("sockcrash", whole, [("COMMANDS", commands), *tail], ["drgn", "ss", "crash"])
    for name, manual in zip(names, every, strict=True):
        yield name, _page(name, manual, tail, ["sockcrash", *(other for other in names if other != name)])


def _page(
    name: str, manual: Manual, lists: Iterable[tuple[str, Iterable[tuple[str, str]]]], also: Iterable[str]
) -> str:
    lines = [
        f'.TH "{_roff(name.upper())}" 1 "" "sockcrash {__version__}" "sockcrash"',
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(manual.summary[:1].lower() + manual.summary[1:])}",
        ".SH SYNOPSIS",
        f".B {_roff(manual.usage)}",
        ".SH DESCRIPTION",
        *_described(manual.blocks),
    ]
    for heading, items in (("OPTIONS", manual.options), *lists):
        lines.append(f".SH {heading}")
        for term, text in items:
            lines += [".TP", f".B {_roff(term)}", _roff(text)]
    lines += [".SH SEE ALSO", ",\n".join(f".BR {_roff(other)} (1)" for other in also).replace("(1),", "(1),")]
    return "\n".join(lines) + "\n"


def _described(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if block.verbatim:
            yield from (".PP", ".nf", *map(_roff, block.text.splitlines()), ".fi")
        else:
            yield from (".PP", _roff(block.text))


def _roff(text: str) -> str:
    """Text that roff shows as it is: hyphens that can be copied, no line taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^(?=[.'])", r"\\&", text)
