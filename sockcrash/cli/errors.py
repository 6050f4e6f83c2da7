# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a run ends: the exit status and what stands on standard error, decided here for every command."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from sockcrash.errors import SockcrashError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("run",)

FAILED = 1
INTERRUPTED = 130


def run(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status. Nothing but SystemExit of a plugin gets out as an exception.

    A command may return its exit status; None is 0.
    """
    _log_to_stderr()
    try:
        status = _invoke(command, args)
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SockcrashError as error:
        complain(f"error: {error.message}")
        if error.hint:
            complain(f"hint: {error.hint}")
        return error.exit_code
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            complain(f"error: the output can't be written: {error.strerror}")
            return _drop_stdout()
        return _internal_error(error)
    except Exception as error:
        return _internal_error(error)
    return status


def complain(text: str) -> None:
    """One message on standard error; kernel bytes and file names in it can't play with the terminal."""
    for number, line in enumerate(text.split("\n")):
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
        click.echo(shown if number else f"sockcrash: {shown}", err=True)
