# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash watch``: samples of live sockets, and what has changed between them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sockcrash.cli.errors import CHECK_FAILED
from sockcrash.cli.params import Seconds, output_options, target_options

if TYPE_CHECKING:
    from sockcrash.cli.session import Session
    from sockcrash.filter import Filter
    from sockcrash.locate.address import Handle
    from sockcrash.model import SocketRecord
    from sockcrash.target import TargetOptions
    from sockcrash.watch.changes import Sample

__all__ = ("command",)

_PARTS = frozenset({"cc", "inode"})  # sections that -f may name, and what tells one socket from the next
_HOME, _CLEAR_REST, _CLEAR_LINE = "\x1b[H", "\x1b[J", "\x1b[K"


def _until(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:  # noqa: ARG001
    if value is None or ctx.resilient_parsing:
        return None
    from sockcrash.filter import parse_filter

    return parse_filter(value)


@click.command("watch")
@click.argument("specs", metavar="SPEC...", nargs=-1)
@click.option("-f", "fields", metavar="FIELD[,FIELD...]", help="Watch these fields, named as for inspect -f.")
@click.option(
    "--interval",
    type=Seconds(min=0.01),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many looks.")
@click.option(
    "--until",
    metavar="FILTER",
    callback=_until,
    help="End with status 0 as soon as this selects a socket: 'snd_cwnd < 3'.",
)
@output_options("text", "jsonl")
@target_options
def command(
    target: TargetOptions,
    specs: tuple[str, ...],
    fields: str | None,
    interval: float,
    count: int | None,
    until: Filter | None,
    output_format: str,
) -> int:
    """Watch live sockets: what changes, how fast counters go; it ends when they are gone.

    A socket whose memory is used again by another one is gone. The exit status is 5 if --until was not met.

    \b
    For example:
      sockcrash watch fd:1234/7
      sockcrash watch tcp::443 --until 'state = close-wait'
      sockcrash watch ino:12453 -f snd_cwnd,bytes_acked,icsk_rto --interval 0.2 --json
    """
    from sockcrash.cli.session import Session, parse_specs
    from sockcrash.errors import UsageError

    if target.core is not None or target.qemu is not None:
        raise UsageError(
            "watch looks at the running kernel", hint="a dump stands still: `sockcrash inspect -c`"
        )
    if not specs:
        raise UsageError("name a socket to watch", hint="sockcrash watch fd:PID/FD, or ino:N, tcp:A:P, ...")
    parsed = parse_specs(specs, everything=False)
    session = Session(target)
    watch = _Watch(session, _names(session, fields), until)
    handles = session.handles(parsed)
    watched = [_Watched(handle) for handle in handles]
    met = _look_again_and_again(watch, watched, interval, count, output_format)
    return CHECK_FAILED if until is not None and not met and not session.missing else session.status


@dataclass(slots=True)
class _Watched:
    """A socket that is watched, its last sample, and why it is no longer watched."""

    handle: Handle
    last: Sample | None = None
    gone: str | None = None


class _Watch:
    """How a socket is looked at."""

    def __init__(self, session: Session, names: tuple[str, ...] | None, until: Filter | None) -> None:
        from sockcrash.decode.want import Want

        self._session = session
        self._names = names
        self._until = until
        self._want = Want(None, _PARTS | until.want.parts if until else _PARTS)
        self._options = (
            session.option_reader(every=False, names=until.options) if until and until.options else None
        )
        if until is not None:
            session.resolve_filter(until)

    def look(self, watched: _Watched) -> None:
        """Take a sample; or note why there is none any more."""
        record = self._record(watched)
        if record is None:
            return
        from sockcrash.watch.changes import next_sample

        watched.last = next_sample(watched.last, time.time(), time.monotonic(), record, self._values(record))

    def _record(self, watched: _Watched) -> SocketRecord | None:
        from sockcrash.errors import NotASocketError
        from sockcrash.locate.address import prove
        from sockcrash.watch.identity import why_another

        handle = watched.handle
        try:
            again = prove(self._session.kernel, handle.address, handle.how)
        except NotASocketError:
            watched.gone = "its memory was freed"
            return None
        if again.address != handle.address or again.kind != handle.kind:
            watched.gone = "its memory is used for something else now"
            return None
        record = next(
            iter(self._session.records([handle], many=False, options=self._options, want=self._want)), None
        )
        if record is None:
            watched.gone = "its memory can't be read any more"
        elif watched.last is not None and (why := why_another(watched.last.record, record)):
            watched.gone = why
            return None
        return record

    def _values(self, record: SocketRecord) -> dict[str, Any]:
        from sockcrash.decode.chosen import field_value
        from sockcrash.watch.changes import DEFAULT_FIELDS, OTHER_FIELDS

        names = self._names or DEFAULT_FIELDS.get(record.kind, OTHER_FIELDS)
        return {name: field_value(self._session.kernel, record, name) for name in names}

    def met(self, watched: _Watched) -> bool:
        """Whether the condition holds in the last sample."""
        return (
            self._until is not None and watched.last is not None and self._until.matches(watched.last.record)
        )


def _names(session: Session, fields: str | None) -> tuple[str, ...] | None:
    if fields is None:
        return None
    from sockcrash.decode.chosen import checked_fields

    return checked_fields(session.kernel, fields)


def _look_again_and_again(
    watch: _Watch, watched: list[_Watched], interval: float, count: int | None, output_format: str
) -> bool:
    """Until all are gone, ``count`` looks were had, or the condition is met: whether it is."""
    show = _shower(output_format, watched, interval)
    looks, due = 0, time.monotonic()
    while (alive := [one for one in watched if one.gone is None]) and (count is None or looks < count):
        time.sleep(max(0.0, due - time.monotonic()))
        for one in alive:
            watch.look(one)
        due += interval * (
            1 + max(0.0, time.monotonic() - due) // interval
        )  # what was missed is not made up for
        looks += 1
        show(alive, looks == 1)
        if any(one.gone is None and watch.met(one) for one in alive):
            return True
    return False


def _shower(output_format: str, watched: list[_Watched], interval: float) -> Any:
    import shutil

    from sockcrash.render.text import head
    from sockcrash.watch import text

    def line(alive: list[_Watched], first: bool) -> None:
        for one in alive:
            if first and one.last is not None:
                print(head(one.last.record))
            if one.gone is None and one.last is not None:
                print(text.sample_line(one.last, first=first, several=len(watched) > 1))
        for one in alive:
            if one.gone is not None:
                print(text.end_line(one.handle.address, one.gone))
        sys.stdout.flush()

    def screen(_alive: list[_Watched], _first: bool) -> None:
        rows = text.screen([one.last for one in watched if one.gone is None and one.last], interval)
        ends = [text.end_line(one.handle.address, one.gone) for one in watched if one.gone is not None]
        lines = text.fitting(list(rows), ends, shutil.get_terminal_size())
        sys.stdout.write(_HOME + "".join(f"{row}{_CLEAR_LINE}\n" for row in lines) + _CLEAR_REST)
        sys.stdout.flush()

    def objects(alive: list[_Watched], _first: bool) -> None:
        from sockcrash.render.json import dumps

        for one in alive:
            if one.gone is not None:
                print(dumps(text.end_object(one.handle.address, one.gone)))
            elif one.last is not None:
                print(dumps(text.sample_object(one.last)))
        sys.stdout.flush()

    if output_format == "jsonl":
        return objects
    if sys.stdout.isatty():
        sys.stdout.write(_HOME + _CLEAR_REST)
        return screen
    return line
