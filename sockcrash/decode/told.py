# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers of sock_diag as records, and who holds them by /proc: what can be told without the kernel's memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.decode.common import NO_INODE
from sockcrash.model import Absent, Owner, Reason, SocketRecord, quick

if TYPE_CHECKING:
    from sockcrash.locate.answer import Answer

__all__ = ("NOT_TOLD", "held_by_processes", "record_of_answer")

NOT_TOLD = Absent(Reason.UNREADABLE, "only the kernel's memory tells")
_NOBODY_SEEN = Absent(Reason.UNREADABLE, "no descriptor in /proc that may be read here leads to it")
_MINI = {"tcp-timewait": (Owner("timewait"),), "tcp-request": (Owner("request"),)}
_LINK = re.compile(r"socket:\[(\d+)\]")


class _Told(SocketRecord):
    """Recv-Q and Send-Q are as they were told."""

    recv_q = NOT_TOLD
    send_q = NOT_TOLD


def record_of_answer(answer: Answer, owners: dict[int, list[Owner]], netns: int) -> SocketRecord:
    """The record of one socket of the reader's network namespace; ``owners`` are those of all, by inode."""
    known = {
        "kind": answer.kind,
        "how": "sock_diag",
        "family": answer.family,
        "type": NOT_TOLD if answer.type is None else answer.type,
        "protocol": NOT_TOLD if answer.protocol is None else answer.protocol,
        "state": answer.state,
        "local": answer.local,
        "peer": answer.peer,
        "inode": answer.inode or NO_INODE,
        "cookie": answer.cookie,
        "netns": netns,
        "uid": NOT_TOLD if answer.uid is None else answer.uid,
        "ifindex": NOT_TOLD if answer.ifindex is None else answer.ifindex,
        "recv_q": NOT_TOLD if answer.recv_q is None else answer.recv_q,
        "send_q": NOT_TOLD if answer.send_q is None else answer.send_q,
        "owners": _MINI.get(answer.kind) or tuple(owners.get(answer.inode, ())) or _NOBODY_SEEN,
    }
    others = dict.fromkeys(("cgroup", "device", "mark", "v6only"), NOT_TOLD)
    return quick(_Told, {"address": NOT_TOLD, **others, **known})


def held_by_processes(proc: Path = Path("/proc")) -> dict[int, list[Owner]]:
    """The processes with a descriptor of each socket, by its inode, as far as their directories may be read."""
    owners: dict[int, list[Owner]] = {}
    for process in proc.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            comm = (process / "comm").read_text(errors="backslashreplace").rstrip("\n")
            links = list(_links(process / "fd"))
        except OSError:
            continue
        for fd, inode in links:
            owners.setdefault(inode, []).append(Owner("fd", pid=int(process.name), comm=comm, fd=fd))
    return owners


def _links(directory: Path) -> Iterator[tuple[int, int]]:
    for entry in os.scandir(directory):
        try:
            found = _LINK.fullmatch(os.readlink(entry))  # noqa: PTH115
        except OSError:
            continue
        if found:
            yield int(entry.name), int(found[1])
