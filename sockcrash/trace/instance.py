# SPDX-License-Identifier: LGPL-2.1-or-later
"""An instance of tracefs and kprobe events of our own: made, marked, locked, and removed, also after a crash.

Both are called ``sockcrash_PID_STAMP``. The run that they belong to holds a lock (flock) on the directory of its
instance, so that whoever sees the instance sees whether it is in use, from any container. An instance is made before
its events and removed after them: events whose instance is gone or not locked belong to a run that has died.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from functools import partial
from typing import TYPE_CHECKING

from sockcrash.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from sockcrash.trace.tracefs import Tracefs

__all__ = ("Instance", "clean_up", "is_ours")

_OURS = re.compile(r"sockcrash_[0-9]+_[0-9a-f]+")
_DEFINITION = re.compile(r"[pr][0-9]*:([^/\s]+)/(\S+)")
_TRIES = 50


def is_ours(name: str) -> bool:
    """Whether an instance or a group of events was made by sockcrash."""
    return _OURS.fullmatch(name) is not None


class Instance:
    """A new instance, locked; leaving the ``with`` block removes it and every event that was defined in it."""

    def __init__(self, tracefs: Tracefs) -> None:
        self.tracefs = tracefs
        self.name = ""
        self._lock = -1

    def __enter__(self) -> Instance:
        for _ in range(_TRIES):
            self.name = f"sockcrash_{os.getpid()}_{time.monotonic_ns():x}"
            try:
                (self.tracefs.root / "instances" / self.name).mkdir(mode=0o700)
            except OSError as error:
                raise TargetError(
                    f"no instance can be made in {self.tracefs.root}: {error.strerror}"
                ) from None
            lock = _lock(self.tracefs, self.name)
            if lock is not None:
                self._lock = lock
                return self
        raise TargetError(
            "other runs of sockcrash remove every new instance", hint="is one stuck in --cleanup?"
        )

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _remove(self.tracefs, self.name)
        finally:
            os.close(self._lock)

    def path(self, name: str) -> str:
        """A file of the instance, for Tracefs."""
        return f"instances/{self.name}/{name}"

    def write(self, name: str, text: str) -> None:
        """One write(2) to a file of the instance."""
        self.tracefs.write(self.path(name), text)

    def own_name(self, event: str) -> str:
        """The name of an event that no other run has: kprobe_profile tells events by that alone."""
        return f"{event}_{self.name.removeprefix('sockcrash_')}"

    def define(self, event: str, definition: str, filter_text: str) -> str:
        """Define ``definition`` with {group}, {event} in it, filter it here; the text of its format. Raises OSError."""
        self.tracefs.write("kprobe_events", definition.format(group=self.name, event=event), append=True)
        if filter_text:
            self.write(f"events/{self.name}/{event}/filter", filter_text)
        return self.tracefs.read(self.path(f"events/{self.name}/{event}/format"))


def _lock(tracefs: Tracefs, name: str) -> int | None:
    """A descriptor that holds the lock of an instance; None if somebody else holds it, or the instance is gone."""
    path = tracefs.root / "instances" / name
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), path.stat()):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None


def _events(tracefs: Tracefs) -> Iterator[tuple[str, str]]:
    """Group and name of every kprobe event with our mark."""
    for line in tracefs.read("kprobe_events").splitlines():
        match = _DEFINITION.match(line)
        if match and is_ours(match[1]):
            yield match[1], match[2]


def _remove(tracefs: Tracefs, name: str) -> None:
    """Remove the events of a group, then its instance; what is gone is gone. Raises OSError."""
    events = [event for group, event in _events(tracefs) if group == name]
    inside = tracefs.root / "instances" / name
    if inside.is_dir():
        with contextlib.suppress(FileNotFoundError):
            tracefs.write(f"instances/{name}/tracing_on", "0")
        for group in (f"{name}/", "task/"):
            with contextlib.suppress(OSError):
                tracefs.write(f"instances/{name}/events/{group}enable", "0")
    for event in events:
        with contextlib.suppress(FileNotFoundError):
            _patiently(partial(tracefs.write, "kprobe_events", f"-:{name}/{event}", append=True))
    with contextlib.suppress(FileNotFoundError):
        _patiently(inside.rmdir)


def _patiently(action: Callable[[], None]) -> None:
    """Do it again while the kernel says that it is busy: somebody may be reading the file at this moment."""
    for left in range(_TRIES, -1, -1):
        try:
            action()
        except OSError as error:
            if isinstance(error, FileNotFoundError) or not left:
                raise
            time.sleep(0.02)
        else:
            return


def clean_up(tracefs: Tracefs) -> tuple[list[str], list[str]]:
    """Remove what dead runs left; the names that were removed, and those that could not be (with the reason)."""
    instances = {path.name for path in (tracefs.root / "instances").iterdir() if is_ours(path.name)}
    names = instances | {group for group, _ in _events(tracefs)}
    removed, stuck = [], []
    for name in sorted(names):
        lock = _lock(tracefs, name)
        if lock is None and (tracefs.root / "instances" / name).is_dir():
            continue
        try:
            _remove(tracefs, name)
            removed.append(name)
        except OSError as error:
            stuck.append(f"{name}: {error.strerror}")
        finally:
            if lock is not None:
                os.close(lock)
    return removed, stuck
