# SPDX-License-Identifier: LGPL-2.1-or-later
"""The scenario of tests/guest in a guest: start it, let it observe before and after a point in time."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from . import store
from .guest import PROJECT_IN_GUEST, Guest, spawned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .guest import Spawned

TRUTH = "/run/sockcrash-truth.json"
SOURCES = store.PROJECT / "tests" / "guest"
PATIENCE = 240.0


def fingerprint() -> str:
    """A hash of the scenario's sources."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Scenario:
    """The scenario while it runs."""

    def __init__(self, process: Spawned) -> None:
        self._process = process

    def _command(self, line: str) -> None:
        self._process.tell(line)
        self._process.hear(PATIENCE)

    def before(self) -> None:
        """Let the guest record what its kernel says now: the last moment before the point of interest."""
        self._command("before")

    def after(self) -> None:
        """Likewise for the first moment after it."""
        self._command("after")

    def write(self) -> None:
        """Write what was recorded so far to the file TRUTH of the guest."""
        self._command(f"write {TRUTH}")

    def save(self, path: Path) -> None:
        """Likewise, and bring it to the host."""
        self.write()
        self._process.guest.get(TRUTH, path)


@contextlib.contextmanager
def started(guest: Guest, *arguments: str) -> Iterator[Scenario]:
    """The scenario with all its sockets open, for the length of a block. The project must be in the guest."""
    argv = ["python3", "-m", "tests.guest", *arguments]
    with store.timed("opening the scenario's sockets"), contextlib.ExitStack() as stack:
        process = stack.enter_context(spawned(guest, argv, cwd=PROJECT_IN_GUEST, log="/run/scenario.log"))
        store.say(f"the scenario is {process.hear(PATIENCE)}")
        later = stack.pop_all()
    with later:
        yield Scenario(process)
