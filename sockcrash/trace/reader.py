# SPDX-License-Identifier: LGPL-2.1-or-later
"""A running trace: its events are defined and enabled, read from the buffers of all CPUs, and put in order."""

from __future__ import annotations

import errno
import os
import re
import select
import time
from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sockcrash.errors import TargetError
from sockcrash.trace.formats import EventFormat, parse_format
from sockcrash.trace.load import Load
from sockcrash.trace.pages import parse_page, parse_page_format
from sockcrash.trace.tasks import EVENTS as TASK_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sockcrash.trace.instance import Instance
    from sockcrash.trace.probes import Event

__all__ = ("Lost", "Reader", "Seen")

_ALL_CPUS_KB = 64 << 10
_LEAST_KB, _MOST_KB = 1 << 10, 16 << 10
_LATE_NS = 5_000_000  # an event may be committed that much after its time
_INEXACT_NS = 100_000_000  # the time of day may be asked for that much after the trace's clock
_READY_PERCENT = 1  # of a buffer; ``fds`` are ready for poll(2) then
_CHUNK = 32  # pages
_CHUNKS_AT_ONCE = 128
_PATIENCE = 0.05  # s; a look at the buffers while what was seen is being reported
_MOST_KEPT = 200_000  # events, some 60 MB: more stay in the buffers
_OVERLAP = 0.01  # s; whoever had passed by a probe before it was enabled has passed by the other ones by then
_NOTHING = (errno.EAGAIN, errno.ENODEV)  # of a CPU that may come, and is not there
_COUNTS = ("overrun", "commit overrun", "dropped events")


@dataclass(frozen=True, slots=True)
class Seen:
    """An event: when (ns since the epoch), of which thread, which, with what fields."""

    ns: int
    tid: int
    name: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lost:
    """What was not seen: events that found no room, and hits that a probe missed."""

    events: int
    missed: int


class Reader:
    """Reads an instance of which it defines the events. ``fds``, once it is started: for poll(2), the buffers."""

    def __init__(self, instance: Instance, byte_order: str, buffer_kb: int | None) -> None:
        self._instance = instance
        self._order = byte_order
        self._formats: dict[int, tuple[str, EventFormat]] = {}
        self._fds: list[int] = []
        self.fds: list[int] = []
        self._kept: list[tuple[int, bytes]] = []
        self._events: tuple[Event, ...] = ()
        self._begins: set[int] = set()
        self._load = Load()
        self._looked = 0.0
        self._newest = 0  # ns since the epoch
        instance.write("tracing_on", "0")
        instance.write("trace_clock", _clock(instance.tracefs.read("trace_clock")))
        instance.write("options/overwrite", "0")
        instance.write("buffer_percent", str(_READY_PERCENT))
        self._page = parse_page_format(instance.tracefs.read("events/header_page"), byte_order)
        self._cpus = sorted(
            (path.name for path in (instance.tracefs.root / instance.path("per_cpu")).iterdir()),
            key=lambda name: int(name.removeprefix("cpu")),
        )
        kb = buffer_kb or min(_MOST_KB, max(_LEAST_KB, _ALL_CPUS_KB // len(self._cpus)))
        try:
            instance.write("buffer_size_kb", str(kb))
        except OSError as error:
            raise TargetError(
                f"no buffer of {kb} KB for each of {len(self._cpus)} CPUs: {error.strerror}",
                hint="choose a smaller one by --buffer-size",
            ) from None

    def define(self, events: Iterable[Event]) -> None:
        """Define the events. TargetError: this kernel does not take one, and what it says of it."""
        self._events = tuple(events)
        for event in self._events:
            try:
                text = self._instance.define(
                    self._instance.own_name(event.name), event.definition, event.filter
                )
            except OSError as error:
                said = _last_error(self._instance.tracefs.read("error_log")) or error.strerror
                raise TargetError(
                    f"the kernel refuses the probe {event.name!r}: {said}",
                    hint=f"its definition: {event.definition}",
                ) from None
            number = self._know(event.name, text)
            if event.place.value:
                self._begins.add(number)
        for name in TASK_EVENTS:
            self._know(name, self._instance.tracefs.read(f"events/task/{name}/format"))

    def _know(self, name: str, text: str) -> int:
        found = parse_format(text, self._order)
        self._formats[found.number] = (name, found)
        return found.number

    def follow(self, tids: Sequence[int]) -> None:
        """Only these threads, and what they start. Raises OSError when one is gone."""
        self._instance.write("options/event-fork", "1")
        self._instance.write("set_event_pid", " ".join(map(str, tids)))

    def start(self) -> None:
        """Enable the events: ends of calls first, so that no call is seen without its end being looked for."""
        root = self._instance.tracefs.root / self._instance.path("per_cpu")
        for cpu in self._cpus:
            self._fds.append(
                os.open(root / cpu / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            )
        self.fds = _polled(self._fds)
        self._instance.write("tracing_on", "1")
        for name in TASK_EVENTS:
            self._instance.write(f"events/task/{name}/enable", "1")
        for light in (None, False):
            self._enable(light, on=True)

    def _enable(self, light: bool | None, *, on: bool) -> None:
        for event in self._events:
            if event.light is light:
                name = self._instance.own_name(event.name)
                self._instance.write(f"events/{self._instance.name}/{name}/enable", str(int(on)))

    def _shed(self, *, light: bool) -> None:
        """Go over to the light events, or to the others again; for a moment both are enabled, never none."""
        self._enable(light, on=True)
        time.sleep(_OVERLAP)
        self._enable(not light, on=False)

    def stop(self) -> None:
        """Disable the events; what is in the buffers can still be read."""
        for group in (self._instance.name, "task"):
            self._instance.write(f"events/{group}/enable", "0")

    def close(self) -> None:
        """Let go of the buffers."""
        while self._fds:
            os.close(self._fds.pop())

    def read(self, *, last: bool = False) -> Iterator[Seen]:
        """What was seen since the last time, in order; the newest is held back until no older can follow.

        Meanwhile it looks again and again at how many calls there are, however long whoever asked for this takes.
        """
        now, offset = self._now()
        until = now - _LATE_NS
        self._look(now, last=last)
        found = sorted(self._kept, key=itemgetter(0))
        due = len(found) if last else bisect_right(found, until, key=itemgetter(0))
        self._kept = found[due:]
        epoch = self._epoch(offset, found[:due])
        for ns, content in found[:due]:
            if not last and time.monotonic() - self._looked > _PATIENCE and len(self._kept) < _MOST_KEPT:
                self._look(self._now()[0])
            if (seen := self._seen(ns + epoch, content)) is not None:
                yield seen

    def _epoch(self, offset: int, due: Sequence[tuple[int, bytes]]) -> int:
        """What must be added to the trace's clock: as much as keeps the order, unless the time of day was set back."""
        if due:
            least = self._newest - due[0][0]
            epoch = least if offset < least < offset + _INEXACT_NS else offset
            self._newest = due[-1][0] + epoch
            return epoch
        return offset

    def _look(self, now: int, *, last: bool = False) -> None:
        """Take what is in the buffers; if too many calls began, fetch less from now on, or all again.

        That is decided while more comes in: a loop may fill the buffers faster than they are read.
        """
        for _ in range(_CHUNKS_AT_ONCE):
            known = len(self._kept)
            more = [self._drain(fd, self._kept) for fd in self._fds]
            begins = [ns for ns, content in self._kept[known:] if self._number(content) in self._begins]
            before = self._load.is_high
            if not last and self._load.add(now, begins, behind=any(more)) is not before:
                self._shed(light=not before)
            if not any(more):
                break
            now = self._now()[0]
        self._looked = time.monotonic()

    def _number(self, content: bytes) -> int:
        return int.from_bytes(content[:2], "little" if self._order == "<" else "big")

    def _now(self) -> tuple[int, int]:
        """The trace's clock now, and what must be added to it for the time of day (ns)."""
        text = self._instance.tracefs.read(self._instance.path(f"per_cpu/{self._cpus[0]}/stats"))
        today = time.time_ns()
        found = re.search(r"^now ts: +(\d+)\.(\d{6})$", text, re.MULTILINE)
        now = int(found[1]) * 1_000_000_000 + int(found[2]) * 1000 if found else 0
        return now, today - now

    def _drain(self, fd: int, found: list[tuple[int, bytes]]) -> bool:
        """Take a chunk of pages; whether there may be more."""
        for _ in range(_CHUNK):
            try:
                page = os.read(fd, self._page.size)
            except OSError as error:
                if error.errno in _NOTHING:
                    return False
                raise
            if not page:
                return False
            found += parse_page(page, self._page)[0]
        return True

    def _seen(self, ns: int, content: bytes) -> Seen | None:
        if len(content) < 8:
            return None
        known = self._formats.get(self._number(content))
        if known is None:
            return None
        name, layout = known
        fields = layout.decode(content)
        return Seen(ns, fields["common_pid"], name, fields)

    def lost(self) -> Lost:
        """What was lost until now."""
        instance = self._instance
        counts = 0
        for cpu in self._cpus:
            text = instance.tracefs.read(instance.path(f"per_cpu/{cpu}/stats"))
            counts += sum(int(number) for name, number in _numbers(text) if name in _COUNTS)
        return Lost(counts, self._missed(instance.tracefs.read("kprobe_profile")))

    def _missed(self, profile: str) -> int:
        """Hits that probes missed, without those that older kernels count where a value's page was not in memory.

        These are counted at all probes of a function alike; the ends of calls that were missed, at its return alone.
        """
        words = (line.split() for line in profile.splitlines())
        counts = {one[0]: int(one[2]) for one in words if len(one) == 3 and one[2].isdigit()}
        missed = {event: counts.get(self._instance.own_name(event.name), 0) for event in self._events}
        faults = {event.place.function: count for event, count in missed.items() if event.place.value}
        return sum(max(0, count - faults.get(event.place.function, 0)) for event, count in missed.items())


def _clock(offered: str) -> str:
    """``local``, the cheapest, unless the kernel found its CPUs' clocks to differ (tracing_set_default_clock)."""
    return "global" if "[global]" in offered else "local"


def _polled(fds: Sequence[int]) -> list[int]:
    """Without those of CPUs that are not there: the kernel says at once that they are broken, again and again."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    broken = {fd for fd, state in poll.poll(0) if state & select.POLLERR}
    return [fd for fd in fds if fd not in broken]


def _numbers(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, number = line.partition(":")
        if number.strip().isdigit():
            yield name, number


def _last_error(log: str) -> str:
    """What the kernel said last: ``trace_kprobe: error: Failed to parse``."""
    found = re.findall(r"error: (.*)$", log, re.MULTILINE)
    return found[-1] if found else ""
