# SPDX-License-Identifier: LGPL-2.1-or-later
"""Comparing on the running kernel: sockets of our own, and those of other processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import drgn

from sockcrash.decode import decode
from sockcrash.decode.inheritance import OptionReader
from sockcrash.errors import NotASocketError, TargetError
from sockcrash.kernel import uapi
from sockcrash.kernel.files import descriptors, find_task, socket_of_file
from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.locate.address import Handle, by_socket
from sockcrash.verify.ask import COOKIE, KNOWN, UNSAFE, answers, foreign_answers
from sockcrash.verify.compare import Answers, Key, Ledger, key_of
from sockcrash.verify.spread import spread

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Account, OptionValue

__all__ = ("verify_own", "verify_processes")

Complain = Callable[[str], None]
# What memory says of a socket, what the kernel answered before, and after.
_Look: TypeAlias = "tuple[tuple[OptionValue, ...], Answers, Answers]"

_EVERY_NUMBER = tuple(
    (level, number) for level in LEVELS.values() for number in range(256) if (level, number) not in UNSAFE
)
_SECONDS, _SECONDS_EACH = 5.0, 0.5
_PEERCRED = key_of("SO_PEERCRED")
_LOOKS = 3  # at a socket before what differs counts: a value may go and come back while hundreds are asked


def verify_own(kernel: Kernel, seed: int, complain: Complain) -> Account:
    """Sockets of every family, opened here with options by ``seed``: every option that memory gives."""
    ledger = Ledger()
    reader = OptionReader(kernel, complain, every=True)
    with spread(seed) as sockets:
        handles = _sockets_of(kernel, os.getpid(), complain)
        for label, sock in sockets.items():
            # Every number of every level is tried once for each kind: an answer without a row is a find.
            keys = _EVERY_NUMBER if label.endswith("-0") else KNOWN
            before = answers(sock.fileno(), keys)
            handle = handles.get(sock.fileno())
            found = _read(kernel, handle, reader, complain)
            if found is None:
                ledger.not_compared(label)
                continue
            ledger.compare(label, found, _seen_from_here(before), answers(sock.fileno(), KNOWN))
    return ledger.account()


def verify_processes(kernel: Kernel, pids: Iterable[int], complain: Complain) -> Account:
    """Sockets of running processes, by options whose reading has no side effect."""
    ledger = Ledger()
    reader = OptionReader(kernel, complain, every=True)
    for pid in pids:
        waiting = _sockets_of(kernel, pid, complain)
        for left in reversed(range(_LOOKS)):
            looks = _looks(kernel, pid, waiting, reader, complain)
            again = {fd for fd, look in looks.items() if left and look is not None and not _agrees(look)}
            _enter(ledger, pid, {fd: look for fd, look in looks.items() if fd not in again})
            waiting = {fd: waiting[fd] for fd in again}
            if not waiting:
                break
    return ledger.account()


def _looks(
    kernel: Kernel, pid: int, handles: Mapping[int, Handle], reader: OptionReader, complain: Complain
) -> dict[int, _Look | None]:
    """By descriptor what memory says, and what the kernel answered before and after; None where either is missing."""
    wanted = {fd: _keys(handle.kind.name) for fd, handle in handles.items()}
    seconds = _SECONDS + _SECONDS_EACH * len(wanted)
    before = _asked(pid, wanted, seconds)
    options = {fd: _read(kernel, handle, reader, complain) for fd, handle in handles.items()}
    after = _asked(pid, wanted, seconds)
    return {
        fd: None
        if found is None or fd not in before or fd not in after
        else (found, _seen_from_here(before[fd]), after[fd])
        for fd, found in options.items()
    }


def _agrees(look: _Look) -> bool:
    trial = Ledger()
    trial.compare("", *look)
    return not trial.account().disagreements


def _enter(ledger: Ledger, pid: int, looks: Mapping[int, _Look | None]) -> None:
    for fd, look in looks.items():
        if look is None:
            ledger.not_compared(f"fd:{pid}/{fd}")
        else:
            ledger.compare(f"fd:{pid}/{fd}", *look)


def _keys(kind: str) -> list[Key]:
    """The options of the levels that are known of a kind of socket."""
    levels = {LEVELS[row.level] for row in ROWS if kind in row.kinds}
    return [key for key in KNOWN if key[0] in levels and key != COOKIE]


def _asked(pid: int, wanted: Mapping[int, list[Key]], seconds: float) -> dict[int, Answers]:
    try:
        return foreign_answers(pid, wanted, seconds)
    except PermissionError:
        raise TargetError(
            f"the sockets of process {pid} can't be had", hint="that needs the right to trace it: run as root"
        ) from None


def _sockets_of(kernel: Kernel, pid: int, complain: Complain) -> dict[int, Handle]:
    """The sockets of a process by descriptor."""
    task = find_task(kernel, pid)
    if task is None:
        raise NotASocketError(str(pid), f"no process {pid}, or it has no files any more")
    found: dict[int, Handle] = {}
    for fd, file in descriptors(kernel, task.files):
        try:
            socket = socket_of_file(kernel, file)
            handle = by_socket(kernel, socket, f"fd:{pid}/{fd}") if socket else None
        except drgn.FaultError as error:
            complain(f"descriptor {fd} of process {pid} is unreadable: {error}")
            continue
        if handle is not None:
            found[fd] = handle
    return found


def _read(
    kernel: Kernel, handle: Handle | None, reader: OptionReader, complain: Complain
) -> tuple[OptionValue, ...] | None:
    if handle is None:
        return None
    try:
        options = decode(kernel, handle, None, reader).options
    except drgn.FaultError as error:
        complain(f"the socket at {handle.address:#x} is unreadable: {error}")
        return None
    return options if isinstance(options, tuple) else None


def _seen_from_here(before: Answers) -> Answers:
    """Answers without those that depend on who asks: process numbers of another PID namespace."""
    if Path("/proc/self/ns/pid").stat().st_ino == uapi.PROC_PID_INIT_INO:
        return before
    return {key: answer for key, answer in before.items() if key != _PEERCRED}
