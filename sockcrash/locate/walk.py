# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every socket object of a kernel: in its tables, in files of tasks only, and MPTCP's subflows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.chains import Complain, Found
from sockcrash.kernel.files import Descriptor, open_files, socks_of
from sockcrash.kernel.mptcp import subflows
from sockcrash.kernel.tables import table_sockets
from sockcrash.locate.address import Handle, handle_at

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("all_sockets", "elsewhere", "handle_of", "in_tables")


def all_sockets(kernel: Kernel, complain: Complain, how: str = "") -> Iterator[Handle]:
    """Every socket of every namespace, once: the tables first, then what only files of tasks lead to."""
    seen: dict[int, bool] = {}
    for found in in_tables(kernel, complain, seen):
        handle = handle_of(kernel, found, complain, how)
        if handle is not None:
            yield handle
    for found in elsewhere(kernel, complain, seen):
        handle = handle_of(kernel, found, complain, how)
        if handle is not None:
            yield handle


def in_tables(kernel: Kernel, complain: Complain, seen: dict[int, bool]) -> Iterator[Found]:
    """What the tables hold (of a snapshot: what was selected); ``seen`` gathers it, True for MPTCP sockets."""
    if kernel.index is not None:
        yield from (Found(entry.address, entry.how, ()) for entry in kernel.index.values() if entry.selected)
        return
    yield from table_sockets(kernel, complain, seen)


def elsewhere(kernel: Kernel, complain: Complain, seen: dict[int, bool]) -> Iterator[Found]:
    """What the tables did not hold."""
    if kernel.index is not None:
        return
    for address, (task, fd) in _in_files(kernel, complain, seen):
        if address in seen:
            continue
        how = f"fd:{task.pid}/{fd}"
        try:
            kind = handle_at(kernel, address, how).kind.name
        except drgn.FaultError as error:
            complain(f"a socket at {address:#x} ({how}) is unreadable: {error}")
            continue
        seen[address] = kind == "mptcp"
        yield Found(address, how, (kind,))
    for address, how in _subflows(
        kernel, [address for address, multipath in seen.items() if multipath], complain
    ):
        if address not in seen:
            seen[address] = False
            yield Found(address, how, ("tcp",))


def handle_of(kernel: Kernel, found: Found, complain: Complain, how: str = "") -> Handle | None:
    """The handle of an object that a walk led to; None, and a complaint, if it is no socket of that table."""
    entry = None if kernel.index is None else kernel.index[found.address]
    try:
        if entry is not None:
            return handle_at(kernel, entry.address, how or entry.how, proved=entry.proved, note=entry.note)
        handle = handle_at(kernel, found.address, how or found.how, content=found.content)
    except drgn.FaultError as error:
        complain(f"a socket at {found.address:#x} ({found.how}) is unreadable: {error}")
        return None
    if handle.kind.name not in found.kinds:
        complain(f"what the table of {found.how} sockets leads to at {found.address:#x} is none: left out")
        return None
    return handle


def _subflows(kernel: Kernel, multipath: list[int], complain: Complain) -> Iterator[tuple[int, str]]:
    """The TCP sockets of MPTCP sockets: the first one of a fresh socket is in no table and has no file of its own."""
    for msk in multipath:
        try:
            for address in subflows(kernel, msk, complain):
                yield address, f"subflow of {msk:#x}"
        except drgn.FaultError as error:
            complain(f"the subflows of the MPTCP socket at {msk:#x} are unreadable: {error}")


def _in_files(kernel: Kernel, complain: Complain, seen: Collection[int]) -> list[tuple[int, Descriptor]]:
    """The ``struct sock *`` of every open file that is a socket not seen so far, and the first descriptor of it."""
    sockets = open_files(kernel, complain).sockets
    socks = socks_of(kernel, sockets)
    return [(sk, held[0]) for socket, held in sockets.items() if (sk := socks.get(socket)) and sk not in seen]
