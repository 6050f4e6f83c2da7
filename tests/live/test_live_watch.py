# SPDX-License-Identifier: LGPL-2.1-or-later
"""``watch`` in a guest: a slow start, a loss, a recovery as they happen; ends, conditions, memory used again."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from conftest import COMMAND, LONG, SERIES, booted
from vmlib.guest import PROJECT_IN_GUEST, spawned

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmlib.guest import Guest, Spawned

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

WAIT = 400.0  # for what hangs: three watches start in two minutes where ten others want the processor
SCENARIO = f"{PROJECT_IN_GUEST}/tests/live/connection.py"
GROWN = 8  # times the first window: it doubles three times
Sample = dict[str, Any]


class Watched:
    """The connection, and the samples of a watch of it. It takes no step before the watch has shown the last one."""

    def __init__(self, guest: Guest, scenario: Spawned, name: str) -> None:
        self._guest = guest
        self._scenario = scenario
        self._name = name

    def samples(self) -> list[Sample]:
        lines = self._guest.get(f"/run/{self._name}").decode().splitlines(keepends=True)
        objects = (json.loads(line) for line in lines if line.endswith("\n"))
        return [one["watch"] for one in objects if "watch" in one]

    def step(self, name: str, shown: Callable[[Sample, dict[str, int]], bool]) -> tuple[dict[str, int], int]:
        """Take a step: what TCP_INFO said after it, and how many samples there were once one of it was shown."""
        before = len(self.samples())
        self._scenario.tell(name)
        told: dict[str, int] = json.loads(self._scenario.hear(WAIT))
        deadline = time.monotonic() + WAIT
        fields: list[Sample] = []
        while time.monotonic() < deadline:
            fields = [one["fields"] for one in self.samples()]
            if any(shown(one, told) for one in fields[before:]):
                return told, len(fields)
            time.sleep(0.5)
        raise AssertionError(f"{name}: {told}, but of {len(fields)} samples the last is {fields[-1:]}")


def begun(guest: Guest, name: str, *args: str) -> Spawned:
    """A watch whose lines go to a file, and its status behind them."""
    text = f'{" ".join(COMMAND)} watch "$@" > /run/{name} 2> /run/{name}.err; echo $? > /run/{name}.rc'
    return guest.spawn(["sh", "-c", text, "watch", *args], cwd=PROJECT_IN_GUEST)


def until(guest: Guest, name: str) -> str:
    """The content of a file of the guest, once there is any."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        text = guest.run(["sh", "-c", f"cat /run/{name} 2>/dev/null; true"]).stdout
        if text:
            return text
        time.sleep(0.3)
    raise AssertionError(f"nothing in {name}: " + guest.run(["sh", "-c", "cat /run/*.err"]).stdout)


def acknowledged(fields: Sample, told: dict[str, int]) -> bool:
    """All is acknowledged, the window is what TCP_INFO says."""
    names = ("snd_cwnd", "bytes_acked", "total_retrans")
    return (
        fields["packets_out"] == 0
        and fields["ca_state"] == "Open"
        and all(fields[name] == told[name] for name in names)
    )


def lost(fields: Sample, told: dict[str, int]) -> bool:
    """The line is dead: a time-out, a window of one segment, retransmissions."""
    return (
        fields["ca_state"] == "Loss"
        and fields["snd_cwnd"] < 3
        and fields["total_retrans"] > told["total_retrans"]
    )


@pytest.mark.parametrize("series", SERIES if LONG else SERIES[:1])
def test_a_slow_start_a_loss_and_a_recovery(series: str, figures: Callable[[str], None]) -> None:
    """What the sender's congestion control did, in its order; three watches look at once."""
    with booted(series, smp=2, mem=768) as guest:
        with spawned(guest, ["python3", SCENARIO], log="/run/scenario.log") as scenario:
            first = json.loads(scenario.hear(WAIT))
            tcp, other = f"ino:{first['tcp']}", f"ino:{first['listener']}"
            begun(guest, "all", tcp, "--interval", "0.1", "--json")
            begun(guest, "low", tcp, "--interval", "0.1", "--until", "snd_cwnd < 3")
            begun(guest, "gone", other, "--interval", "0.2", "--json", "--until", "state = established")
            for name in ("all", "low", "gone"):
                until(guest, name)
            watched = Watched(guest, scenario, "all")
            slow_start(watched, first, figures)
            loss_and_recovery(watched, guest)
            scenario.tell("close")
            again = json.loads(scenario.hear(WAIT))["used_again"]
            statuses = {name: int(until(guest, f"{name}.rc")) for name in ("gone", "low", "all")}
            scenario.tell("end")
        assert statuses == {"gone": 5, "low": 0, "all": 0}
        changed = {name for one in watched.samples() for name in one["changed"]}
        assert changed >= {"snd_cwnd", "snd_ssthresh", "ca_state", "bytes_acked", "total_retrans"}
        assert "watch_end" in json.loads(until(guest, "all").splitlines()[-1])
        (end,) = (
            json.loads(line)["watch_end"] for line in until(guest, "gone").splitlines() if "watch_end" in line
        )
        # The kernel alone decides whether another socket gets the memory, and whether a look falls between.
        figures(f"watch: memory of the closed socket used again: {again}; the end: {end['why']}")
        assert end["why"].startswith(
            ("it was closed", "its memory was freed", "another socket lies there now")
        )
        text = until(guest, "low")
        assert text.splitlines()[0].startswith("tcp  10.9.0.1:")
        assert "snd_cwnd " in text
        guest.check_console()


def slow_start(watched: Watched, first: dict[str, int], figures: Callable[[str], None]) -> None:
    """The window doubles again and again, as much as it lets through is sent each time; each window is seen."""
    told, seen = [first["snd_cwnd"]], 0
    while told[-1] < GROWN * told[0]:
        after, seen = watched.step("window", acknowledged)
        assert after["snd_cwnd"] > told[-1], (told, after)
        told.append(after["snd_cwnd"])
    samples = watched.samples()[:seen]
    windows = [one["fields"]["snd_cwnd"] for one in samples]
    figures(f"watch: {len(samples)} looks at a slow start; cwnd {sorted(set(windows))}, by TCP_INFO {told}")
    assert windows == sorted(windows)
    assert [told.index(window) for window in told if window in windows] == list(range(len(told)))
    assert told[0] <= 16
    assert len(told) >= 3
    # A rate is shown where more is acknowledged, and only there.
    counts = [one["fields"]["bytes_acked"] for one in samples]
    grew = [now > before for before, now in itertools.pairwise(counts)]
    assert [one["rates"]["bytes_acked"] > 0 for one in samples[1:]] == grew
    assert sum(grew) >= len(told) - 1


def loss_and_recovery(watched: Watched, guest: Guest) -> None:
    """The line is dead until both watches have seen it; and it comes back."""
    before = watched.samples()[-1]["fields"]
    watched.step("lose", lost)
    assert until(guest, "low.rc").strip() == "0"
    after, _ = watched.step("recover", acknowledged)
    assert after["bytes_acked"] > before["bytes_acked"]
    assert after["total_retrans"] > before["total_retrans"]
