# SPDX-License-Identifier: LGPL-2.1-or-later
"""A trace from its begin to its end: calls as they are seen, and why it ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.errors import NotASocketError, TargetError
from sockcrash.kernel.probes import places
from sockcrash.kernel.uapi import PROC_PID_INIT_INO
from sockcrash.model import Endpoint
from sockcrash.trace.arguments import Arguments
from sockcrash.trace.call import Call, Head, Traced
from sockcrash.trace.calls import Finished, Pairs
from sockcrash.trace.check import checked, prepare
from sockcrash.trace.instance import Instance
from sockcrash.trace.probes import Wanted, events
from sockcrash.trace.reader import Reader
from sockcrash.trace.tasks import EVENTS, Tasks, threads_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from sockcrash.kernel.view import Kernel
    from sockcrash.trace.command import Command
    from sockcrash.trace.reader import Lost, Seen
    from sockcrash.trace.tracefs import Tracefs

__all__ = ("Ending", "How", "Trace", "ending_signals")

_PERIOD = 0.1
_PAUSE = 0.01  # the least: older kernels find a buffer full as soon as it is not empty
_SOON = 0.02  # what is read back is still there then, mostly
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class How:
    """How to trace: ``duration`` in seconds, ``buffer_kb`` for each CPU, ``check`` reads options back."""

    wanted: Wanted
    duration: float | None = None
    buffer_kb: int | None = None
    check: bool = False


@dataclass(slots=True)
class Ending:
    """Why a trace is to end: the number of a signal, once one came."""

    signal: int | None = None
    _pipe: int = -1

    def wait(self, seconds: float, *fds: int) -> None:
        """Sleep, but not through a signal, nor when one of ``fds`` is ready."""
        if self.signal is not None:
            return
        poll = select.poll()
        for fd in (self._pipe, *fds):
            poll.register(fd, select.POLLIN)
        if (self._pipe, select.POLLIN) in poll.poll(seconds * 1000):
            os.read(self._pipe, 64)


@contextlib.contextmanager
def ending_signals() -> Iterator[Ending]:
    """SIGINT, SIGTERM and SIGHUP note themselves in the Ending instead of killing the process; SIGCHLD wakes it.

    A SIGHUP that is ignored, as nohup(1) has it, stays ignored.
    """
    inner, outer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    ending = Ending(None, inner)

    def note(number: int, _frame: FrameType | None) -> None:
        ending.signal = number

    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    before = {
        number: signal.signal(number, note)
        for number in _SIGNALS
        if not (ignored and number == signal.SIGHUP)
    }
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    wakeup = signal.set_wakeup_fd(outer, warn_on_full_buffer=False)
    try:
        yield ending
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(inner)
        os.close(outer)


class Trace:
    """A trace that is set up inside of its ``with`` block, and leaves nothing behind it."""

    def __init__(self, kernel: Kernel, tracefs: Tracefs, how: How, command: Command | None) -> None:
        self._kernel = kernel
        self._how = how
        self._command = command
        self._instance = Instance(tracefs)
        self._reader: Reader | None = None
        self._tasks = Tasks()
        self._pairs = Pairs(tolerant=how.wanted.failed)
        self._arguments = Arguments(kernel)

    def __enter__(self) -> Trace:
        self._instance.__enter__()
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self) -> None:
        found = places(self._kernel)
        if not any(place.name == "enter" for place in found):
            raise TargetError(
                "this kernel has no function __sys_setsockopt to probe", hint="is it older than Linux 5.10?"
            )
        if self._how.check:
            prepare(self._kernel)
        reader = self._reader = Reader(self._instance, self._kernel.byte_order, self._how.buffer_kb)
        reader.define(events(found, self._how.wanted))
        pids = self._how.wanted.pids
        if pids or self._command:
            if Path("/proc/self/ns/pid").stat().st_ino != PROC_PID_INIT_INO:
                raise TargetError(
                    "events have the PIDs of the initial PID namespace, and this is another one",
                    hint="run sockcrash on the host, or leave --pid and COMMAND out",
                )
            tids = [tid for pid in pids for tid in _threads(pid)]
            reader.follow(tids + ([self._command.pid] if self._command else []))
        reader.start()

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.close()
        self._instance.__exit__(None, None, None)

    def calls(self, ending: Ending) -> Iterator[Call | None]:
        """Calls in the order in which they ended, None when those that have been seen are through for the moment."""
        assert self._reader is not None
        until = None if self._how.duration is None else time.monotonic() + self._how.duration
        period = _SOON if self._how.check else _PERIOD
        while not self._is_over(ending, until):
            left = period if until is None else max(0.0, min(period, until - time.monotonic()))
            ending.wait(min(left, _PAUSE))
            ending.wait(max(0.0, left - _PAUSE), *self._reader.fds)
            yield from self._made(self._reader.read())
            yield None
        self._reader.stop()
        yield from self._made(self._reader.read(last=True))
        yield from self._shown(self._pairs.rest())

    def _is_over(self, ending: Ending, until: float | None) -> bool:
        if ending.signal is not None or (until is not None and time.monotonic() >= until):
            return True
        if self._command is not None:
            return self._command.ended()
        pids = self._how.wanted.pids
        return bool(pids) and not any(map(threads_of, pids))

    def lost(self) -> Lost:
        """What was not seen."""
        assert self._reader is not None
        return self._reader.lost()

    def _made(self, seen: Iterator[Seen]) -> Iterator[Call]:
        yield from self._shown(finished for one in seen if (finished := self._take(one)))

    def _take(self, seen: Seen) -> Finished | None:
        if seen.name == EVENTS[0]:
            self._tasks.born(seen.tid, seen.fields)
        elif seen.name == EVENTS[1]:
            self._tasks.renamed(seen.tid, seen.fields)
        else:
            return self._pairs.add(seen.ns, seen.tid, seen.name, seen.fields, self._tasks.of(seen.tid))
        return None

    def _shown(self, finished: Iterator[Finished]) -> Iterator[Call]:
        calls = filter(self._wants, map(self._arguments.call, finished))
        return checked(self._kernel, list(calls)) if self._how.check else calls

    def _wants(self, call: Call) -> bool:
        """What the kernel has not filtered."""
        wanted = self._how.wanted
        if wanted.failed and not (call.result is not None and call.result < 0):
            return False
        if not wanted.ports:
            return True
        head = call.socket.head if isinstance(call.socket, Traced) else None
        ends = (head.local, head.peer) if isinstance(head, Head) else ()
        return any(isinstance(end, Endpoint) and end.port in wanted.ports for end in ends)


def _threads(pid: int) -> list[int]:
    found = threads_of(pid)
    if not found:
        raise NotASocketError(f"--pid {pid}", f"there is no process {pid}")
    return found
