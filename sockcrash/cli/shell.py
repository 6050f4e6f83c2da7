# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash shell``: drgn's own interactive session on a target, with the helpers loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sockcrash.cli.params import target_options

if TYPE_CHECKING:
    from sockcrash.target import Target, TargetOptions

__all__ = ("command",)


@click.command("shell")
@target_options
def command(target: TargetOptions) -> None:
    """Open drgn's interactive session on a kernel, with sockcrash's helpers and commands.

    Everything that drgn has is there: prog, Object, cast, its helpers. Types and symbols are those that every
    other command would use, so no debug package is needed; a snapshot can be opened packed.

    \b
    For example:
      sockcrash shell                        the running kernel (as root)
      sockcrash shell -c vmcore
      >>> %socks state established
      >>> tcp_sk(find_sock("fd:1234/7")).snd_wnd
    """
    from drgn.cli import run_interactive, version_header

    from sockcrash import helpers
    from sockcrash.plugin.commands import COMMANDS
    from sockcrash.target import open_target

    opened = open_target(target)
    names = {name: getattr(helpers, name) for name in helpers.__all__}

    def banner(drgns: str) -> str:
        commands = ", ".join(f"%{name}" for name in COMMANDS)
        return "\n".join(
            (
                version_header(),
                drgns,
                ">>> from sockcrash.helpers import *",
                _about(opened),
                f"Commands: {commands}, each with --help. Helpers: {', '.join(sorted(names))}; help(NAME) says more.",
            )
        )

    def with_helpers(others: dict[str, Any]) -> dict[str, Any]:
        return {**others, **names}

    run_interactive(opened.prog, banner, with_helpers)


def _about(target: Target) -> str:
    when = f", taken {target.taken}" if target.taken and target.source != "live" else ""
    return f"{target.source} {target.release}: types by {target.types}, symbols by {target.symbols}{when}"
