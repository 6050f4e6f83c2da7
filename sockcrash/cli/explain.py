# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash explain``: what a name means that a record, the kernel or an RFC uses. No kernel is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sockcrash.cli.params import log_options, output_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.errors import NotFoundError
    from sockcrash.glossary import Entry
    from sockcrash.kernel.layout import Field

__all__ = ("command", "kept")


@click.command("explain")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--search", "words", metavar="WORDS", help="Every entry that has all of these words.")
@output_options("text", "json")
@log_options
def command(names: tuple[str, ...], words: str | None, output_format: str) -> int:
    """Say what NAME means: its unit, the RFC variable behind it, where the kernel writes it, how one reads it wrong.

    NAME is a member in C, a value of ours or a column of ss, a variable of an RFC, an option, a state, a timer, a flag.
    Capitals don't matter; several meanings are all shown.

    \b
    For example:
      sockcrash explain snd_ssthresh
      sockcrash explain SND.UNA TCP_USER_TIMEOUT FIN_WAIT2 persist
      sockcrash explain mptcp.snd_una
      sockcrash explain --search 'zero window'
    """
    from sockcrash.cli.errors import say_error
    from sockcrash.errors import NotFoundError, UsageError

    if bool(names) == (words is not None):
        raise UsageError(
            "explain takes one or more NAMEs, or --search WORDS", hint="see sockcrash explain --help"
        )
    found, unknown = (_searched(words), []) if words is not None else _named(names)
    if output_format == "json":
        from sockcrash.render import json
        from sockcrash.render.glossary import entry_object

        objects = [entry_object(entry, kept(entry)) for entry in found]
        click.echo(json.dumps({"schema": json.SCHEMA, "explain": objects}))
    elif words is not None:
        from sockcrash.render.glossary import entry_line

        click.echo("\n".join(map(entry_line, found)))
    elif found:
        from sockcrash.render.glossary import entry_text

        click.echo("\n\n".join(entry_text(entry, kept(entry)) for entry in found))
    for error in unknown:
        say_error(error)
    return NotFoundError.exit_code if unknown else 0


def _searched(words: str) -> list[Entry]:
    from sockcrash.errors import NotFoundError
    from sockcrash.glossary.find import search

    found = search(words.split())
    if not found:
        raise NotFoundError(f"nothing in the glossary has all of the words {words!r}", hint="try fewer words")
    return found


def _named(names: tuple[str, ...]) -> tuple[list[Entry], list[NotFoundError]]:
    """The entries of all names, each once, and what is wrong with the others; a name of ss is what we call it."""
    from sockcrash.filter.values import other_name
    from sockcrash.glossary.find import find

    found: dict[Entry, None] = {}
    unknown = []
    for name in dict.fromkeys(names):
        entries = find(name)
        alias = other_name(name.casefold())
        entries += [entry for entry in (find(alias) if alias else []) if entry not in entries]
        if not entries:
            unknown.append(_unknown(name))
        found |= dict.fromkeys(entries)
    return list(found), unknown


def _unknown(name: str) -> NotFoundError:
    from sockcrash.errors import NotFoundError
    from sockcrash.glossary.find import near

    close = near(name)
    hint = (
        f"did you mean {', '.join(close)}?" if close else f"sockcrash explain --search {name!r} looks further"
    )
    return NotFoundError(f"the glossary knows no {name!r}", hint=hint)


def kept(entry: Entry) -> list[str]:
    """Where kernels keep what an entry is about, newest first; of an option also its number."""
    if entry.sort == "member":
        return list(dict.fromkeys(_places_of_member(entry)))
    if entry.sort == "option":
        return list(dict.fromkeys(_places_of_option(entry)))
    return []


# Groups of rows that are shown in a section of another name.
_SECTIONS = {
    "identity": "record", "full": "record", "tcp_timers": "tcp", "raw6": "raw",
}  # fmt: skip


def _places_of_member(entry: Entry) -> Iterator[str]:
    from sockcrash.kernel.registry import GROUPS

    if entry.section.startswith("cc-"):
        yield f"icsk_ca_priv of {entry.section.removeprefix('cc-')}: {entry.name}"
    for name, group in GROUPS.items():
        if _SECTIONS.get(name, name) == entry.section:
            for field in group.fields:
                made = {field.name, *(convert.name for convert in field.converts)}
                if made & {entry.name, *entry.also}:
                    yield from _places(field)


def _places_of_option(entry: Entry) -> Iterator[str]:
    from sockcrash.kernel.options import LEVELS, ROWS

    rows = [row for row in ROWS if row.level == entry.section and row.name in (entry.name, *entry.also)]
    yield from (f"{row.level} ({LEVELS[row.level]}) option {row.number}" for row in rows)
    for row in rows:
        for field in row.fields:
            yield from _places(field)


def _places(field: Field) -> Iterator[str]:
    for place in field.places:
        bit: Any = "" if place.bit is None else f" bit {place.bit}"
        yield f"{field.ctype}: {place.path}{bit}"
