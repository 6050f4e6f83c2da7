# SPDX-License-Identifier: LGPL-2.1-or-later
"""``watch`` in a guest: a slow start, a loss, a recovery as they happen; ends, conditions, memory used again."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from conftest import COMMAND, SERIES
from vmlib.errors import NotCarried
from vmlib.guest import PROJECT_IN_GUEST, Guest, spawned

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmlib.guest import Spawned

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

WAIT = 120.0
SCENARIO = f"{PROJECT_IN_GUEST}/tests/live/connection.py"
Line = dict[str, Any]


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


@pytest.mark.skipif(
    not os.environ.get("SOCKCRASH_LONG_TESTS"),
    reason="how often a busy emulated machine looks decides: --full runs it",
)
@pytest.mark.parametrize("series", SERIES[:1])
def test_a_slow_start_a_loss_and_a_recovery(series: str, figures: Callable[[str], None]) -> None:
    """What the sender's congestion control did, in its order; three watches look at once."""
    try:
        booted = Guest.boot(series, smp=2, mem=768)
    except NotCarried as error:
        pytest.skip(f"{series}: {error}")
    with booted as guest:
        guest.put_project()
        with spawned(guest, ["python3", SCENARIO], log="/run/scenario.log") as scenario:
            names = json.loads(scenario.hear(WAIT))
            tcp, other = f"ino:{names['tcp']}", f"ino:{names['listener']}"
            begun(guest, "all", tcp, "--interval", "0.1", "--json")
            begun(guest, "low", tcp, "--interval", "0.05", "--until", "snd_cwnd < 3")
            begun(guest, "gone", other, "--interval", "0.2", "--json", "--until", "state = established")
            for name in ("all", "low", "gone"):
                until(guest, name)
            scenario.tell("go")
            marks = [(json.loads(scenario.hear(WAIT))["phase"], clock(guest)) for _ in range(3)]
            again = json.loads(scenario.hear(WAIT))["used_again"]
            statuses = {name: int(until(guest, f"{name}.rc")) for name in ("gone", "low", "all")}
            scenario.tell("end")
        lines = [json.loads(line) for line in until(guest, "all").splitlines()]
        shown(lines, marks, figures)
        assert statuses == {"gone": 5, "low": 0, "all": 0}
        (end,) = (
            json.loads(line)["watch_end"] for line in until(guest, "gone").splitlines() if "watch_end" in line
        )
        # The kernel alone decides whether another socket gets the memory, and whether a look falls between.
        figures(f"watch: memory of the closed socket used again: {again}; the end: {end['why']}")
        assert end["why"] in ("its memory was freed", "another socket lies there now: its inode differs")
        text = until(guest, "low")
        assert text.splitlines()[0].startswith("tcp  10.9.0.1:")
        assert "snd_cwnd " in text
        guest.check_console()


def clock(guest: Guest) -> float:
    return float(guest.run(["date", "+%s.%N"]).check().stdout)


def shown(lines: list[Line], marks: list[tuple[str, float]], figures: Callable[[str], None]) -> None:
    samples = [one["watch"] for one in lines if "watch" in one]
    assert "watch_end" in lines[-1]
    assert [name for name, _ in marks] == ["started", "lost", "recovered"]
    begin, lost = ([one for one in samples if one["time"] < at] for _, at in marks[:2])
    middle = [one["fields"] for one in lost[len(begin) :]]
    after = [one["fields"] for one in samples if marks[1][1] < one["time"] < marks[2][1]]
    windows = [one["fields"]["snd_cwnd"] for one in begin]
    figures(f"watch: cwnd {sorted(set(windows))}, then {sorted({one['snd_cwnd'] for one in middle})}")
    # Slow start: the window doubles again and again, and the rate of what is acknowledged goes up with it.
    assert windows == sorted(windows)
    assert windows[0] <= 16
    assert windows[-1] >= 4 * windows[0]
    assert len(set(windows)) >= 2  # a busy machine looks seldom
    assert max(one["rates"].get("bytes_acked", 0) for one in begin) > 100_000
    # The line is dead: a time-out, a window of one segment, retransmissions.
    assert "Loss" in {one["ca_state"] for one in middle}
    assert min(one["snd_cwnd"] for one in middle) < 3
    assert middle[-1]["total_retrans"] > begin[-1]["fields"]["total_retrans"]
    # And it comes back.
    assert after[-1]["ca_state"] == "Open"
    assert after[-1]["bytes_acked"] >= 660_000
    assert after[-1]["packets_out"] == 0
    changed = {name for one in samples for name in one["changed"]}
    assert changed >= {"snd_cwnd", "snd_ssthresh", "ca_state", "bytes_acked", "total_retrans"}
