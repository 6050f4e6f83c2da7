# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user's way of naming sockets → handles: the one dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import NotASocketError
from sockcrash.kernel.fields import FULL, IDENTITY
from sockcrash.kernel.files import descriptors, find_task, socket_of_file, tasks
from sockcrash.kernel.mptcp import subflows
from sockcrash.kernel.tables import table_sockets
from sockcrash.locate.address import KERNEL_SPACE, Handle, by_socket, handle_at, prove

if TYPE_CHECKING:
    from sockcrash.kernel.selection import Index
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.spec import Spec

__all__ = ("Handle", "all_sockets", "locate")

Complain = Callable[[str], None]


def locate(kernel: Kernel, spec: Spec, complain: Complain, *, force: bool = False) -> list[Handle]:
    """The sockets that a SPEC names, at least one; NotASocketError otherwise."""
    if spec.form == "address":
        return [prove(kernel, spec.number, spec.text, force=force)]
    if spec.form == "sk" and spec.number >= KERNEL_SPACE:
        # Before Linux 4.1 (33cf7c90fe2f, "net: add real socket cookies") ss printed the address itself.
        try:
            return [prove(kernel, spec.number, spec.text)]
        except NotASocketError:
            pass
    if spec.form in ("fd", "pid"):
        return _of_process(kernel, spec)
    wanted = {"cookie": _has_cookie, "sk": _has_cookie, "ino": _has_inode}[spec.form]
    found = [handle for handle in all_sockets(kernel, complain, spec.text) if wanted(kernel, handle, spec.number)]
    if not found:
        raise NotASocketError(spec.text, f"{spec.text}: no socket has it", hint=_why_none(kernel, spec))
    return found


def _why_none(kernel: Kernel, spec: Spec) -> str | None:
    if kernel.index is not None:
        return "the snapshot may not hold it: sockcrash info FILE shows what was selected when it was taken"
    if spec.form in ("cookie", "sk"):
        return "a cookie is 0 until someone asks for it (ss does), so one that was never printed can't be found"
    return None


def _has_cookie(kernel: Kernel, handle: Handle, number: int) -> bool:
    (identity,) = kernel.reader(IDENTITY).sections(handle.address)
    return bool(identity["skc_cookie"] == number)


def _has_inode(kernel: Kernel, handle: Handle, number: int) -> bool:
    if not handle.kind.full:
        return False
    (full,) = kernel.reader(FULL).sections(handle.address)
    return bool(full["inode"] == number)


def _of_process(kernel: Kernel, spec: Spec) -> list[Handle]:
    if kernel.index is not None:
        return _of_process_in_index(kernel, kernel.index, spec)
    task = find_task(kernel, spec.number)
    if task is None:
        raise NotASocketError(spec.text, f"{spec.text}: no process {spec.number}, or it has no files any more")
    found: list[Handle] = []
    seen: set[int] = set()
    for fd, file in descriptors(kernel, task.files):
        if spec.fd is not None and fd != spec.fd:
            continue
        socket = socket_of_file(kernel, file)
        if socket is None and spec.fd is not None:
            raise NotASocketError(spec.text, f"{spec.text}: descriptor {fd} of {task.comm} is no socket")
        handle = by_socket(kernel, socket, spec.text) if socket else None
        if handle is not None and handle.address not in seen:
            seen.add(handle.address)
            found.append(handle)
    if not found:
        what = "no such descriptor" if spec.fd is not None else "it has no sockets open"
        raise NotASocketError(spec.text, f"{spec.text}: {task.comm} is there, but {what}")
    return found


def _of_process_in_index(kernel: Kernel, index: Index, spec: Spec) -> list[Handle]:
    found = [
        handle_at(kernel, entry.address, spec.text, proved=entry.proved, note=entry.note)
        for entry in index.values()
        if any(owner.pid == spec.number and spec.fd in (None, owner.fd) for owner in entry.owners)
    ]
    if not found:
        raise NotASocketError(
            spec.text,
            f"{spec.text}: the snapshot doesn't hold such a socket",
            hint="sockcrash info FILE shows what was selected when it was taken",
        )
    return found


def all_sockets(kernel: Kernel, complain: Complain, how: str = "") -> Iterator[Handle]:
    """Every socket of every namespace, once: the tables first, then what only files of tasks lead to."""
    if kernel.index is not None:
        for entry in kernel.index.values():
            if entry.selected:
                yield handle_at(kernel, entry.address, how or entry.how, proved=entry.proved, note=entry.note)
        return
    seen: set[int] = set()
    multipath: list[int] = []
    for handle in chain(_in_tables(kernel, complain, how), _in_files(kernel, complain, how)):
        if handle.address not in seen:
            seen.add(handle.address)
            if handle.kind.name == "mptcp":
                multipath.append(handle.address)
            yield handle
    for handle in _subflows(kernel, multipath, complain, how):
        if handle.address not in seen:
            seen.add(handle.address)
            yield handle


def _in_tables(kernel: Kernel, complain: Complain, how: str) -> Iterator[Handle]:
    for found in table_sockets(kernel, complain):
        try:
            handle = handle_at(kernel, found.address, how or found.how)
        except drgn.FaultError as error:
            complain(f"a socket at {found.address:#x} ({found.how}) is unreadable: {error}")
            continue
        if handle.kind.name in found.kinds:
            yield handle
        else:
            complain(f"what the table of {found.how} sockets leads to at {found.address:#x} is none: left out")


def _subflows(kernel: Kernel, multipath: list[int], complain: Complain, how: str) -> Iterator[Handle]:
    """The TCP sockets of MPTCP sockets: the first one of a fresh socket is in no table and has no file of its own."""
    for msk in multipath:
        try:
            for address in subflows(kernel, msk, complain):
                yield handle_at(kernel, address, how or f"subflow of {msk:#x}")
        except drgn.FaultError as error:
            complain(f"the subflows of the MPTCP socket at {msk:#x} are unreadable: {error}")


def _in_files(kernel: Kernel, complain: Complain, how: str) -> Iterator[Handle]:
    files_seen: set[int] = set()
    tables_seen: set[int] = set()
    for task in tasks(kernel, complain):
        if task.files in tables_seen:
            continue
        tables_seen.add(task.files)
        try:
            entries = descriptors(kernel, task.files)
        except drgn.FaultError as error:
            complain(f"the descriptors of {task.comm} ({task.pid}) are unreadable: {error}")
            continue
        for fd, file in entries:
            if file in files_seen:
                continue
            files_seen.add(file)
            try:
                socket = socket_of_file(kernel, file)
                handle = by_socket(kernel, socket, how or f"fd:{task.pid}/{fd}") if socket else None
            except drgn.FaultError as error:
                complain(f"descriptor {fd} of {task.comm} ({task.pid}) is unreadable: {error}")
                continue
            if handle is not None:
                yield handle
