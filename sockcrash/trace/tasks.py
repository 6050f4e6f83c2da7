# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which process a thread belongs to and what it is called, also of threads that lived for a moment only.

From the events task_newtask and task_rename of the trace itself, and /proc for threads that are older than it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ("EVENTS", "Tasks", "threads_of")

EVENTS = ("task_newtask", "task_rename")
_CLONE_THREAD = 0x10000
_MOST = 65536
_NOBODY = "?"


class Tasks:
    """Process and name of threads, by their TIDs."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._known: dict[int, tuple[int | None, str]] = {}

    def born(self, tid: int, event: dict[str, Any]) -> None:
        """task_newtask, an event of the parent ``tid``."""
        child, shared = event["pid"], bool(event["clone_flags"] & _CLONE_THREAD)
        self._keep(child, self.of(tid)[0] if shared else child, _text(event["comm"]))

    def renamed(self, tid: int, event: dict[str, Any]) -> None:
        """task_rename, by exec or prctl, of the thread ``pid``; on the first sight of it /proc knows its process."""
        renamed = event.get("pid", tid)
        self._keep(renamed, self.of(renamed)[0], _text(event["newcomm"]))

    def of(self, tid: int) -> tuple[int | None, str]:
        """The PID of a thread's process (None if it ended before anybody looked) and the thread's name."""
        if tid not in self._known:
            self._keep(tid, *self._look(tid))
        return self._known[tid]

    def _keep(self, tid: int, pid: int | None, comm: str) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[tid] = (pid, comm)

    def _look(self, tid: int) -> tuple[int | None, str]:
        try:
            lines = (self._proc / str(tid) / "status").read_text(errors="backslashreplace").splitlines()
            (pid,) = (int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
            comm = (self._proc / str(tid) / "comm").read_text(errors="backslashreplace")
        except (OSError, ValueError):
            return None, _NOBODY
        return pid, comm.removesuffix("\n")


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode(errors="backslashreplace")


def threads_of(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """The TIDs of a process that runs; none if there is none."""
    try:
        return [int(path.name) for path in (proc / str(pid) / "task").iterdir()]
    except OSError:
        return []
