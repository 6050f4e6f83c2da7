# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: which commands there are; each is imported when it is run or asked for its help."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import NoReturn

import click

from sockcrash import __version__

__all__ = ("COMMANDS", "COMPLETION_VARIABLE", "group", "main")

# What piles up in a walk of many sockets is in no cycle; looking for some every 700 objects takes a fifth of the time.
_COLLECTED_AFTER = 100_000

COMPLETION_VARIABLE = "_SOCKCRASH_COMPLETE"

COMMANDS = {
    "inspect": ("inspect", "Show sockets in full."),
    "options": ("options", "Show socket options: value, who set it, default, where it is stored."),
    "verify": ("verify", "Compare options in memory with getsockopt, byte for byte."),
    "list": ("list", "List sockets of all families and namespaces, chosen by a filter."),
    "trace": ("trace", "Show setsockopt calls as they happen."),
    "explain": ("explain", "Say what a field, option, state, timer or flag means."),
    "summary": ("summary", "Show how the machine stands: counts, memory, limits, counters, the largest."),
    "watch": ("watch", "Watch live sockets change, until they are gone or a condition is met."),
    "struct": ("struct", "Print raw members of any kernel struct, the look of crash's struct."),
    "snapshot": ("snapshot", "Write a small vmcore that holds only the selected sockets."),
    "info": ("info", "Show what a snapshot or dump holds, when and how it was taken."),
    "shell": ("shell", "Open drgn's interactive session on a kernel, with helpers and commands for sockets."),
    "completion": ("completion", "Print what makes bash, zsh or fish complete commands, fields and sockets."),
    "man": ("man", "Show a manual page, or write all of them."),
    "layout": ("layout", "Print how each field was bound on this kernel."),
}
"""Each command: the module that has it, and the line that --help of the group shows."""


class _LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - list the builtin is hidden by list the module
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"sockcrash.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        if COMPLETION_VARIABLE in os.environ:
            from sockcrash.cli.candidates import teach

            return teach(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from sockcrash.cli.hints import wrong_command

            raise wrong_command(args[0], [*COMMANDS], ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="sockcrash")
def group() -> None:
    """Look into a kernel's sockets: the running kernel's (as root), or a vmcore's.

    Nothing is loaded into the kernel, no process is stopped; only trace sets probes, and removes them. For example:

    \b
      sockcrash inspect ffff8802305a0800           one socket of the running kernel
      sockcrash inspect -c vmcore --all            every socket of a dead machine
      sockcrash inspect fd:1234/7 -f snd_cwnd,nonagle
    """


def main() -> NoReturn:
    """The console script: run the command line and exit with its status."""
    from sockcrash.cli.errors import run

    gc.set_threshold(_COLLECTED_AFTER)
    sys.exit(run(group))
