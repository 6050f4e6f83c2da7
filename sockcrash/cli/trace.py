# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash trace``: setsockopt calls as they happen."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from sockcrash.cli.params import Seconds, output_options, target_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockcrash.target import TargetOptions
    from sockcrash.trace.call import Call
    from sockcrash.trace.probes import Wanted
    from sockcrash.trace.run import How
    from sockcrash.trace.summary import Summary

__all__ = ("command",)

_SIGNALLED = 128
_COMM_BYTES = 15


@click.command("trace", context_settings={"ignore_unknown_options": False})
@click.argument("argv", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-p",
    "--pid",
    "pids",
    multiple=True,
    type=int,
    metavar="PID",
    help="Only this process, its threads, and what they start from now on. (repeatable)",
)
@click.option(
    "--comm", "comms", multiple=True, metavar="NAME", help="Only threads of this name. (repeatable)"
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME[,NAME...]", help="Only these options. (repeatable)"
)
@click.option(
    "--level", "levels", multiple=True, metavar="LEVEL", help="Only options of this level. (repeatable)"
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Only sockets with this port at either end. (repeatable)",
)
@click.option("--failed", is_flag=True, help="Only calls that fail.")
@click.option("--duration", type=Seconds(min=0), metavar="SECONDS", help="End after this time.")
@click.option("--check", is_flag=True, help="Read each option back from memory: did it take effect?")
@click.option(
    "--buffer-size",
    type=click.IntRange(min=4),
    metavar="KB",
    help="Of the buffer of each CPU.  [default: 64 MB for all of them]",
)
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write here, not to standard output.")
@click.option("--as-root", is_flag=True, help="Run COMMAND as root, not as the user who called sudo.")
@click.option("--cleanup", is_flag=True, help="Remove what killed runs left in tracefs, and end.")
@click.option("--emit", type=click.Choice(["bpftrace"]), help="Print an equivalent script, and end.")
@output_options("text", "jsonl")
@target_options
def command(target: TargetOptions, output_format: str, **given: Any) -> int:  # fmt: skip
    """Show setsockopt calls as they happen: who, on which socket, which option, which value, and how it ended.

    Without probes of SystemTap or BPF: by dynamic events of tracefs, in an instance of its own, as root. Values of
    options that may hold keys are never fetched; while there are more than 10,000 calls a second, no values are, and of
    sockets the address and inode alone, unless --port asks for more: each call says so. With COMMAND only that program
    and its children are traced; it runs as the user who called sudo.

    \b
    For example:
      sockcrash trace --option TCP_NODELAY
      sockcrash trace -p 1234 --check
      sockcrash trace --failed --json --duration 60
      sudo sockcrash trace -- curl https://example.net/
    """
    from sockcrash.errors import UsageError

    if target.core is not None or target.qemu is not None:
        raise UsageError(
            "trace looks at the running kernel", hint="of a dump, `sockcrash options` tells what was set"
        )
    if given["cleanup"]:
        return _cleanup()
    wanted = _wanted(given)
    if given["emit"]:
        from sockcrash.trace.bpftrace import script

        click.echo(script(wanted), nl=False)
        return 0
    from sockcrash.trace.run import How

    how = How(wanted, given["duration"], given["buffer_size"], given["check"])
    with _output(given["output"]) as out:
        return _trace(target, how, given["argv"], given["as_root"], output_format, out)


def _wanted(given: dict[str, Any]) -> Wanted:
    from sockcrash.errors import UsageError
    from sockcrash.trace.probes import Wanted

    for comm in given["comms"]:
        if not 0 < len(comm.encode(errors="surrogateescape")) <= _COMM_BYTES:
            raise UsageError(
                f"--comm {comm!r}: a thread's name has up to 15 bytes", hint="/proc/PID/comm has it"
            )
        if not comm.isprintable() or set(comm) & set('"\\'):
            raise UsageError(
                f"--comm {comm!r}: the kernel's filters take no quotes, backslashes or control characters",
                hint="choose by --pid",
            )
    names = [name for group in given["options"] for name in group.split(",")]
    levels = tuple(_level(level) for level in given["levels"])
    options = tuple(number for name in names for number in _numbers(name))
    return Wanted(given["pids"], given["comms"], options, levels, given["ports"], given["failed"])


def _level(name: str) -> int:
    """The number of a level: any that a trace names, and the short names of those with options that are known."""
    from sockcrash.decode.chosen import checked_level
    from sockcrash.kernel.options.given import LEVEL_NUMBERS

    wanted = name.strip().upper()
    return LEVEL_NUMBERS[wanted if wanted in LEVEL_NUMBERS else checked_level(name)]


def _numbers(name: str) -> Iterator[tuple[int, int]]:
    """The numbers of level and option of a name; SO_RCVTIMEO stands for the _OLD and the _NEW one."""
    from sockcrash.errors import UsageError, nearest
    from sockcrash.kernel.options import given

    wanted = name.strip().upper()
    found = [one for end in ("", "_OLD", "_NEW") for one in given.options_called(wanted + end)]
    if not found:
        raise UsageError(f"no socket option is called {name!r}.{nearest(wanted, given.names())}")
    yield from ((given.LEVEL_NUMBERS[one.level], one.number) for one in found)


def _cleanup() -> int:
    from sockcrash.trace.instance import clean_up
    from sockcrash.trace.tracefs import open_tracefs

    removed, stuck = clean_up(open_tracefs())
    for name in removed:
        click.echo(f"removed {name}")
    for what in stuck:
        click.echo(f"sockcrash: error: can't remove {what}", err=True)
    return 1 if stuck else 0


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    from sockcrash.errors import UsageError

    try:
        file = open(path, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    except OSError as error:
        raise UsageError(f"--output {path}: {error.strerror}") from None
    with file:
        yield file


def _trace(
    target: TargetOptions, how: How, argv: tuple[str, ...], as_root: bool, output_format: str, out: TextIO
) -> int:
    import os

    from sockcrash.cli.session import Session
    from sockcrash.trace.command import Command, caller
    from sockcrash.trace.instance import clean_up
    from sockcrash.trace.run import Trace, ending_signals
    from sockcrash.trace.summary import Summary
    from sockcrash.trace.tracefs import open_tracefs

    tracefs = open_tracefs()
    session = Session(target)
    for name in clean_up(tracefs)[0]:
        click.echo(f"sockcrash: removed {name}, which a killed run has left", err=True)
    summary = Summary()
    with ending_signals() as ending:
        run = Command(argv, None if as_root else caller(os.environ)) if argv else None
        try:
            with Trace(session.kernel, tracefs, how, run) as trace:
                if ending.signal is not None:
                    return _SIGNALLED + ending.signal
                if run is not None:
                    run.go()
                else:
                    click.echo("sockcrash: tracing setsockopt; Ctrl-C ends it", err=True)
                put = _printer(output_format, out)
                for call in trace.calls(ending):
                    if call is None:
                        out.flush()
                        continue
                    summary.add(call)
                    put(call)
                lost = trace.lost()
        finally:
            if run is not None:
                run.abandon()
    summary.lost_events, summary.missed_probes = lost.events, lost.missed
    if run is not None and not run.ended():
        click.echo(f"sockcrash: the command goes on (pid {run.pid}), and is not traced any more", err=True)
    summary.command_status = None if run is None else run.exit_status
    _summarise(summary, session.target.describe(), output_format, out)
    return _SIGNALLED + ending.signal if ending.signal is not None else 0


def _printer(output_format: str, out: TextIO) -> Callable[[Call], None]:
    if output_format == "text":
        from sockcrash.trace.text import call_text

        return lambda call: print(call_text(call), file=out)
    from sockcrash.render.json import dumps
    from sockcrash.trace.objects import call_object

    return lambda call: print(dumps(call_object(call)), file=out)


def _summarise(summary: Summary, target: dict[str, Any], output_format: str, out: TextIO) -> None:
    if output_format == "text":
        from sockcrash.trace.text import summary_text

        out.write("\n")
        for line in summary_text(summary):
            print(line, file=out)
    else:
        from sockcrash.render.json import dumps
        from sockcrash.trace.objects import summary_object

        print(dumps(summary_object(summary, target)), file=out)
    out.flush()
