# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the help of a command consists of, for whoever shows it in another form: manual pages, the documentation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import click

from sockcrash.cli import COMMANDS

__all__ = ("ENVIRONMENT", "EXIT_STATUS", "Block", "Manual", "manual_of", "manuals")

EXIT_STATUS = (
    ("0", "It worked. What this kernel does not have is no failure, nor is an empty list."),
    ("1", "The target, its types or its symbols can't be had."),
    ("2", "Usage: what was asked for is not a thing that can be asked."),
    ("3", "Some SPEC, or NAME of explain, matched nothing, or is no socket. The others are shown."),
    ("4", "Something shown was unreadable, or changed while it was read."),
    ("5", "A check that was asked for failed."),
    ("130", "Interrupted."),
)
ENVIRONMENT = (
    ("NO_COLOR", "If it is set, nothing is coloured."),
    ("SOCKCRASH_NO_BTF", "If it is set, the plugin leaves types in drgn's own sessions to drgn."),
    ("DEBUGINFOD_URLS, DRGN_*", "Act as in drgn(1)."),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, or (``verbatim``) lines that are to stay as they are."""

    text: str
    verbatim: bool


@dataclass(frozen=True, slots=True)
class Manual:
    """One command: its name, the line that sums it up, how it is called, paragraphs, options with their texts."""

    name: str
    summary: str
    usage: str
    blocks: tuple[Block, ...]
    options: tuple[tuple[str, str], ...]


def manuals(group: click.Group) -> Iterator[Manual]:
    """Of each command, in the order of the group."""
    context = click.Context(group, info_name="sockcrash")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield manual_of(command, click.Context(command, info_name=name, parent=context))


def manual_of(command: click.Command, context: click.Context) -> Manual:
    """The parts of a command's help."""
    blocks = tuple(_blocks(inspect.cleandoc(command.help or "")))
    records = [record for parameter in command.get_params(context) if (record := _record(parameter, context))]
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    _, summary = COMMANDS.get(command.name or "", ("", blocks[0].text))
    summary = summary.partition(":")[0].rstrip(".")
    return Manual(context.command_path, summary, usage, blocks, tuple(records))


def _record(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
    return record and (record[0], " ".join(record[1].split()))


def _blocks(text: str) -> Iterator[Block]:
    r"""Paragraphs; one that begins with \b is kept as it is."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):
            yield Block(paragraph.removeprefix("\b").strip("\n"), verbatim=True)
        elif paragraph.strip():
            yield Block(" ".join(paragraph.split()), verbatim=False)
