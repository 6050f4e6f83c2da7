# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a mistyped word may have meant."""

from __future__ import annotations

import click

from sockcrash.errors import UsageError, nearest

__all__ = ("wrong_command",)


def wrong_command(word: str, commands: list[str], ctx: click.Context) -> click.UsageError:
    """The error for a first word that is no command; a SPEC or a dump there gets its own advice."""
    from sockcrash.locate.spec import parse_spec
    from sockcrash.target.corefile import looks_like_core

    if looks_like_core(word):
        return click.UsageError(
            f"{word} is a core dump; did you mean: sockcrash inspect -c {word} --all?", ctx
        )
    try:
        parse_spec(word)
    except UsageError:
        return click.UsageError(f"No such command {word!r}.{nearest(word, commands)}", ctx)
    return click.UsageError(
        f"{word!r} names a socket, not a command; did you mean: sockcrash inspect {word}?", ctx
    )
