# SPDX-License-Identifier: LGPL-2.1-or-later
"""One guest for each kernel, with the scenario open in it: every live check of a kernel runs in that one boot."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oracle.truth import Truth, of_raw

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "scripts"))
sys.path.append(str(PROJECT / "tests/vmcore"))  # comparisons with what the kernel says are the same here

from vmlib.errors import NotCarried  # noqa: E402
from vmlib.guest import PROJECT_IN_GUEST, Done, Guest  # noqa: E402
from vmlib.scenario import TRUTH, Scenario, started  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WANTED = (os.environ.get("SOCKCRASH_TEST_SERIES") or "5.10 6.1 6.12 newest").split()
LONG = bool(os.environ.get("SOCKCRASH_LONG_TESTS"))
EVERY = ("5.10", "6.1", "6.12", "newest") if LONG else ("6.1", "newest")
SERIES = tuple(series for series in EVERY if series in WANTED)
OLD_AND_NEW = tuple(series for series in ("5.10", "newest") if series in WANTED)
COMMAND = ("python3", "-m", "sockcrash")
PATIENCE = 300.0
Record = dict[str, Any]
on_6_1 = pytest.mark.skipif("6.1" not in WANTED, reason="6.1: SOCKCRASH_TEST_SERIES leaves it out")


@contextlib.contextmanager
def booted(series: str, **machine: Any) -> Iterator[Guest]:
    """A guest of that kernel with the project in it; skips where no suite carries the kernel any more."""
    try:
        guest = Guest.boot(series, **machine)
    except NotCarried as error:
        pytest.skip(f"{series}: {error}")
    with guest:
        guest.put_project()
        yield guest


def told_by(guest: Guest, script: str) -> Any:
    """What a script of tests/live prints in a guest whose loopback is up."""
    guest.run(["ip", "link", "set", "lo", "up"]).check()
    done = guest.run(["python3", f"tests/live/{script}"], timeout=PATIENCE, cwd=PROJECT_IN_GUEST).check()
    return json.loads(done.stdout)


@dataclass
class Live:
    """A running guest that holds the scenario."""

    series: str
    guest: Guest
    scenario: Scenario

    def run(self, *args: str) -> Done:
        """sockcrash in the guest, on its own kernel; it starts slowly there."""
        done = self.guest.run([*COMMAND, *args], timeout=PATIENCE, cwd=PROJECT_IN_GUEST)
        assert "Traceback" not in done.stderr, done.stderr
        assert "internal error" not in done.stderr, done.stderr
        return done

    def between(self, look: Callable[[], str]) -> tuple[list[Record], Truth]:
        """The jsonl of a look at all sockets, and what the kernel said just before and just after."""
        self.scenario.before()
        text = look()
        self.scenario.after()
        self.scenario.write()
        return [json.loads(line) for line in text.splitlines()], of_raw(json.loads(self.guest.get(TRUTH)))


@pytest.fixture(scope="session", params=SERIES)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """Each kernel in turn."""
    with booted(request.param) as guest:
        with started(guest) as scenario:
            yield Live(request.param, guest, scenario)
        guest.check_console()
