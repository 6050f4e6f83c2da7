# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which sockets a process has open: ``fd:PID/FD`` and ``pid:PID``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.errors import NotASocketError
from sockcrash.kernel.files import descriptors_of, find_task, socket_of_file
from sockcrash.locate.address import NOT_IN_SNAPSHOT, Handle, by_socket, handle_at

if TYPE_CHECKING:
    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.selection import Index
    from sockcrash.kernel.view import Kernel

__all__ = ("sockets_of_process",)


def sockets_of_process(
    kernel: Kernel, pid: int, fd: int | None, how: str, complain: Complain
) -> list[Handle]:
    """The sockets of a process, or that of one descriptor, each once; NotASocketError says why there is none."""
    if kernel.index is not None:
        return _in_index(kernel, kernel.index, pid, fd, how)
    task = find_task(kernel, pid)
    if task is None:
        raise NotASocketError(how, f"{how}: no process {pid}, or it has no files any more")
    found: dict[int, Handle] = {}
    for number, file in descriptors_of(kernel, task, complain):
        if fd not in (None, number):
            continue
        socket = socket_of_file(kernel, file)
        if socket is None and fd is not None:
            raise NotASocketError(how, f"{how}: descriptor {fd} of {task.comm} is no socket")
        handle = by_socket(kernel, socket, how) if socket else None
        if handle is not None:
            found.setdefault(handle.address, handle)
    if not found:
        what = "no such descriptor" if fd is not None else "it has no sockets open"
        raise NotASocketError(how, f"{how}: {task.comm} is there, but {what}")
    return list(found.values())


def _in_index(kernel: Kernel, index: Index, pid: int, fd: int | None, how: str) -> list[Handle]:
    found = [
        handle_at(kernel, entry.address, how, proved=entry.proved, note=entry.note)
        for entry in index.values()
        if any(
            owner.kind == "fd" and owner.pid == pid and fd in (None, owner.fd) for owner in entry.known_owners
        )
    ]
    if not found:
        raise NotASocketError(how, f"{how}: the snapshot doesn't hold such a socket", hint=NOT_IN_SNAPSHOT)
    return found
