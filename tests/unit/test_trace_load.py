# SPDX-License-Identifier: LGPL-2.1-or-later
"""When values are left out, and that a reader changes over without a moment in which no call would be seen."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from sockcrash.kernel.probes import Place
from sockcrash.trace import reader as reader_module
from sockcrash.trace.instance import Instance
from sockcrash.trace.load import MOST_CALLS, Load
from sockcrash.trace.probes import Wanted, events
from sockcrash.trace.reader import Reader
from sockcrash.trace.tracefs import Tracefs

MS = 1_000_000
TENTH = MOST_CALLS // 10
PLACES = (
    Place("enter", "f", ("level=$arg2:s32",), ("value=+0($arg4):x64[4]",)),
    Place("socket", "h", ("sk=$arg1:x64",), head=("head0=+0($arg1):x64[3]",)),
    Place("exit", "f", ("ret=$retval:s32",), returns=True),
)
LIGHT, FULL, ALWAYS = ("light", "light_socket"), ("enter", "hidden", "socket"), ("exit",)


def told(*calls: int, period: int = 100 * MS) -> list[bool]:
    """What is said of periods in which so many calls were made, evenly; calls are told in no order."""
    load = Load()
    found = []
    for at, number in enumerate(calls):
        times = [period * at + period * one // number for one in range(number)]
        found.append(load.add(period * (at + 1), times[::-1]))
    return found


def test_values_are_left_out_above_a_rate() -> None:
    assert told(TENTH, TENTH + 20, TENTH) == [False, True, True]


def test_a_burst_that_is_over_when_it_is_told_is_let_be() -> None:
    """A program that sets thousands of options in ten milliseconds and is content."""
    load = Load()
    assert load.add(200 * MS, [10 * MS + at for at in range(10 * TENTH)]) is False
    assert load.add(300 * MS, [290 * MS] * 10) is False
    assert load.add(400 * MS, [390 * MS + at for at in range(TENTH + 1)]) is True


def test_short_periods_are_added_up() -> None:
    assert told(*[TENTH // 4] * 5, period=20 * MS) == [False] * 4 + [True]


def test_values_are_fetched_again_after_a_second_of_less_than_a_quarter() -> None:
    few = TENTH // 4 - 20
    assert told(2 * TENTH, *[few] * 12)[-4:] == [True, True, False, False]
    assert told(2 * TENTH, *[few] * 9, TENTH // 2, *[few] * 12)[-5:] == [True, True, True, False, False]


def test_a_reader_that_comes_late_counts_by_the_times_of_calls() -> None:
    assert Load().add(5_000 * MS, [at * 2 * 100 * MS // TENTH for at in range(25 * TENTH)]) is False
    assert Load().add(5_000 * MS, [4_000 * MS + at * 90 * MS // TENTH for at in range(11 * TENTH)]) is True


def test_a_reader_that_is_behind_takes_it_that_a_loop_goes_on() -> None:
    load = Load()
    loop = [at * 90 * MS // TENTH for at in range(11 * TENTH)]
    assert load.add(5_000 * MS, loop, behind=True) is True
    assert load.add(9_000 * MS, [2_000 * MS], behind=True) is True
    assert load.add(9_000 * MS, [8_990 * MS]) is False


def test_where_ends_of_sockets_are_asked_for_they_are_fetched_at_any_rate() -> None:
    made = {event.name: event for event in events(PLACES, Wanted(ports=(80,)))}
    assert set(made) == {*LIGHT, *FULL, *ALWAYS} - {"light_socket"}
    assert made["socket"].light is None
    assert "head0=" in made["socket"].definition


class Written(Tracefs):
    """A tracefs that notes what was enabled; its clock is ``now``, its buffers are empty."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.enabled: list[tuple[str, str]] = []
        self.now = 0
        self.numbers: dict[str, int] = {}

    def read(self, name: str) -> str:
        if name.endswith("stats"):
            return f"now ts: {self.now // 10**9:5}.{self.now // 1000 % 10**6:06}\n"
        if name.endswith("format"):
            return f"name: x\nID: {self.numbers.setdefault(name, len(self.numbers))}\nformat:\n"
        return ""

    def write(self, name: str, text: str, *, append: bool = False) -> None:
        if name.endswith("/enable") and "/events/sockcrash" in name:
            self.enabled.append((name.split("/")[-2].removesuffix("_1_0"), text))


@pytest.fixture
def tracefs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    (tmp_path / "instances").mkdir()
    page: Any = object()
    monkeypatch.setattr(reader_module, "parse_page_format", lambda *_: page)
    return Written(tmp_path)


def without_cpus(tracefs: Tracefs) -> Reader:
    instance = Instance(tracefs)
    (tracefs.root / instance.path("per_cpu")).mkdir(parents=True)
    return Reader(instance, "<", 64)


def test_a_reader_changes_over_without_a_gap(tracefs: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = Instance(tracefs)
    instance.name = "sockcrash_1_0"
    cpu = tracefs.root / instance.path("per_cpu/cpu0")
    cpu.mkdir(parents=True)
    (cpu / "trace_pipe_raw").touch()
    reader = Reader(instance, "<", 64)
    reader.define(events(PLACES, Wanted()))
    reader.start()
    names = [name for name, _ in tracefs.enabled]
    assert names == [*ALWAYS, *FULL]
    assert {text for _, text in tracefs.enabled} == {"1"}

    number = next(number for number, (name, _) in reader._formats.items() if name == "enter")
    calls = [(99 * MS, number.to_bytes(2, "little"))] * (TENTH + 1)  # that late, they are not yet due
    monkeypatch.setattr(Reader, "_drain", lambda _self, _fd, found: bool(found.extend(calls)))
    tracefs.enabled.clear()
    tracefs.now += 100 * MS
    assert list(reader.read()) == []
    assert tracefs.enabled == [*((name, "1") for name in LIGHT), *((name, "0") for name in FULL)]

    calls.clear()
    tracefs.enabled.clear()
    monkeypatch.setattr(Reader, "_seen", lambda *_: None)
    for _ in range(9):
        tracefs.now += 100 * MS
        list(reader.read())
        assert tracefs.enabled == []
    tracefs.now += 100 * MS
    list(reader.read())
    assert tracefs.enabled == [*((name, "1") for name in FULL), *((name, "0") for name in LIGHT)]
    reader.close()


def test_the_buffer_of_a_cpu_that_is_not_there_is_empty_and_wakes_nobody(
    tracefs: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel knows it, has no buffer for it yet, and says ENODEV. Other errors are none of these."""
    reader = without_cpus(tracefs)
    reader._page = SimpleNamespace(size=4096)  # type: ignore[assignment]
    for error, raises in ((errno.ENODEV, False), (errno.EAGAIN, False), (errno.EIO, True)):
        monkeypatch.setattr(os, "read", Mock(side_effect=OSError(error, "said")))
        with pytest.raises(OSError, match="said") if raises else contextlib.nullcontext():
            assert reader._drain(0, []) is False
    one, broken = os.pipe()
    other, writer = os.pipe()
    os.close(one)
    assert reader_module._polled([other, broken]) == [other]
    for fd in (other, writer, broken):
        os.close(fd)


def test_times_of_day_do_not_go_back_where_asking_for_it_was_inexact(
    tracefs: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But they do where the clock was set back."""
    reader = without_cpus(tracefs)
    monkeypatch.setattr(Reader, "_look", lambda *_, **__: None)
    monkeypatch.setattr(Reader, "_seen", lambda _self, ns, _content: ns)
    found: list[Any] = []
    for now, offset in ((100, 50_000), (200, 49_905), (300, 50_000), (400, -(10**12))):
        monkeypatch.setattr(Reader, "_now", lambda _self, now=now, offset=offset: (now * MS, offset * MS))
        reader._kept = [(now * MS - 20 * MS, b""), (now * MS - 10 * MS, b"")]
        found += reader.read()

    assert [ns // MS for ns in found] == [
        50_080, 50_090, 50_090, 50_100, 50_280, 50_290, 380 - 10**12, 390 - 10**12,
    ]  # fmt: skip
