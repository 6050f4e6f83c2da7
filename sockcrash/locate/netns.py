# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which network namespace a user means: by its name, by its inode, or as that of a process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import NotASocketError, UsageError
from sockcrash.kernel.files import find_task
from sockcrash.kernel.netns import inodes, namespace_of_task, paths
from sockcrash.model.netns import short_name

if TYPE_CHECKING:
    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.selection import Index
    from sockcrash.kernel.view import Kernel

__all__ = ("check_netns", "find_netns")

FORMS = "a namespace is named NAME (as ip netns does), a path it is mounted on, ino:N (as in /proc/PID/ns/net) or pid:N"


def check_netns(text: str) -> str:
    """The text itself if it can name a namespace; UsageError otherwise."""
    form, colon, rest = text.partition(":")
    if not text or (colon and form in ("ino", "pid") and not re.fullmatch("[0-9]{1,20}", rest)):
        raise UsageError(f"--netns {text!r} names no namespace", hint=FORMS)
    return text


def find_netns(kernel: Kernel, text: str, complain: Complain) -> int:
    """The inode of the namespace that a text names; NotASocketError (exit code 3) if there is none."""
    form, colon, rest = check_netns(text).partition(":")
    if colon and form == "ino":
        return _by_inode(kernel, int(rest), text, complain)
    if colon and form == "pid":
        return _by_pid(kernel, int(rest), text)
    known = paths(kernel, complain)
    found = {inode for inode, mounted in known.items() if text in {*mounted, *map(short_name, mounted)}}
    if len(found) != 1:
        what = f"{len(found)} namespaces are" if found else "no namespace is"
        names = ", ".join(sorted(path for mounted in known.values() for path in mounted))
        hint = f"mounted are: {names}" if names else "no namespace has a name here: name it by ino:N or pid:N"
        raise NotASocketError(text, f"--netns {text}: {what} called that", hint=hint)
    return found.pop()


def _by_inode(kernel: Kernel, inode: int, text: str, complain: Complain) -> int:
    known = inodes(kernel, complain) if kernel.index is None else paths(kernel, complain)
    if inode not in known:
        what = (
            "no network namespace has that inode"
            if kernel.index is None
            else "the snapshot holds no socket of it"
        )
        raise NotASocketError(text, f"--netns {text}: {what}", hint=FORMS)
    return inode


def _by_pid(kernel: Kernel, pid: int, text: str) -> int:
    inode = _of_process(kernel, pid, text) if kernel.index is None else _of_owner(kernel.index, pid)
    if inode is None:
        raise NotASocketError(
            text, f"--netns {text}: no process {pid} is known here, or it is in no namespace any more"
        )
    return inode


def _of_process(kernel: Kernel, pid: int, text: str) -> int | None:
    try:
        task = find_task(kernel, pid)
        return namespace_of_task(kernel, task) if task else None
    except drgn.FaultError as error:
        raise NotASocketError(text, f"--netns {text}: process {pid} is unreadable: {error}") from error


def _of_owner(index: Index, pid: int) -> int | None:
    owners = (
        pair for entry in index.values() for pair in zip(entry.known_owners, entry.owner_netns, strict=False)
    )
    return next((inode for owner, inode in owners if owner.pid == pid), None)
