# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a run ends: the exit status and what stands on standard error, decided here for every command."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sockcrash.cli import COMPLETION_VARIABLE
from sockcrash.cli.params import LOGGERS
from sockcrash.errors import SockcrashError
from sockcrash.render.escape import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ("run", "say_error")

PROGRAM = "sockcrash"
FAILED = 1
CHECK_FAILED = 5
INTERRUPTED = 130


def run(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Run a command line (None: this process's) and return its exit status; no exception gets out.

    What the command function returns is the exit status; None is 0.
    """
    _prepare_streams()
    with _logging_to_stderr():
        try:
            status = _invoke(command, sys.argv[1:] if args is None else list(args))
            sys.stdout.flush()
        except KeyboardInterrupt:
            return INTERRUPTED
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except SockcrashError as error:
            _say_traceback(error)
            say_error(error)
            return error.exit_code
        except OSError as error:
            if _stdout_is_broken():
                _forget_stdout()
                return 0 if isinstance(error, BrokenPipeError) else FAILED
            said = error.strerror or str(error)
            _complain(f"error: {error.filename}: {said}" if error.filename else f"error: {said}", error)
            _forget_stdout()
            return FAILED
        except Exception as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            _complain(
                f"internal error: {what} (this is a bug; run with --log-level debug for the traceback)", error
            )
            return FAILED
        return status


def _prepare_streams() -> None:
    """Open streams that nobody has, lest a vmcore gets their descriptors; escape what a locale lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _invoke(command: click.Command, args: list[str]) -> int:
    if COMPLETION_VARIABLE in os.environ:
        from sockcrash.cli import completion  # noqa: F401 - importing it registers the shells

        command.main(args, prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE)
    try:
        color = False if os.environ.get("NO_COLOR") else None
        with command.make_context(PROGRAM, args, color=color) as context:
            status = command.invoke(context)
    except click.exceptions.Exit as ending:
        status = ending.exit_code
    return status if isinstance(status, int) else 0


def say_error(error: SockcrashError) -> None:
    """An error and what to do next, on standard error: the last that a run says, or before it goes on."""
    _say(f"{PROGRAM}: error: {printable(error.message)}")
    if error.hint:
        _say("hint: " + "\n".join(map(printable, error.hint.splitlines())))


def _complain(text: str, error: Exception) -> None:
    _say_traceback(error)
    _say(f"{PROGRAM}: {printable(text)}")


def _say_traceback(error: Exception) -> None:
    if logging.getLogger(PROGRAM).isEnabledFor(logging.DEBUG):
        _say("".join(traceback.format_exception(error)).rstrip())


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _stdout_is_broken() -> bool:
    """Whether the reader of standard output is gone: EPIPE may as well come from a QEMU that ended."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(events & (select.POLLERR | select.POLLHUP) for _fd, events in poll.poll(0))
    except (OSError, ValueError):
        return False


def _forget_stdout() -> None:
    """Keep the interpreter from failing once more over what is still buffered when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.name}: {record.levelname.lower()}: {printable(record.getMessage())}"


@contextlib.contextmanager
def _logging_to_stderr() -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.getLogger().addHandler(handler)
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
