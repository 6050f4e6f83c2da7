# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every socket object of a kernel: in its tables, in files of tasks only, and MPTCP's subflows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.chains import Complain, Found
from sockcrash.kernel.files import Descriptor, open_files, socks_of
from sockcrash.kernel.mptcp import subflows
from sockcrash.kernel.sockets import Kind, kind_at, kind_by_content
from sockcrash.kernel.tables import table_sockets
from sockcrash.locate.address import Handle, handle_at

if TYPE_CHECKING:
    from sockcrash.kernel.selection import Index
    from sockcrash.kernel.view import Kernel

__all__ = ("all_sockets", "elsewhere", "handles_of", "in_tables")


# Handle(*values): its constructor is a function in Python, and there may be very many.
_handle: Callable[[tuple[int, Kind, str, bool, str, bytes | None]], Handle] = partial(tuple.__new__, Handle)


def all_sockets(kernel: Kernel, complain: Complain, how: str = "") -> Iterator[Handle]:
    """Every socket of every namespace, once: the tables first, then what only files of tasks lead to."""
    seen: dict[int, bool] = {}
    yield from handles_of(kernel, in_tables(kernel, complain, seen), complain, how)
    yield from handles_of(kernel, elsewhere(kernel, complain, seen), complain, how)


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
            kind = kind_at(kernel, address).name
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


def handles_of(kernel: Kernel, walk: Iterable[Found], complain: Complain, how: str = "") -> Iterator[Handle]:
    """The handles of objects that a walk led to; a complaint instead, if one is no socket of that table."""
    if kernel.index is not None:
        yield from _of_snapshot(kernel, kernel.index, walk, complain, how)
        return
    by_content = kind_by_content(kernel)
    for address, table, kinds, content in walk:
        try:
            kind = kind_at(kernel, address, kinds) if content is None else by_content(content)
        except drgn.FaultError as error:
            complain(f"a socket at {address:#x} ({table}) is unreadable: {error}")
            continue
        if kind.name not in kinds:
            complain(f"what the table of {table} sockets leads to at {address:#x} is none: left out")
            continue
        yield _handle((address, kind, how or table, True, "", content))


def _of_snapshot(
    kernel: Kernel, index: Index, walk: Iterable[Found], complain: Complain, how: str
) -> Iterator[Handle]:
    for found in walk:
        entry = index[found.address]
        try:
            yield handle_at(kernel, entry.address, how or entry.how, proved=entry.proved, note=entry.note)
        except drgn.FaultError as error:
            complain(f"a socket at {found.address:#x} ({found.how}) is unreadable: {error}")


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
    socks = socks_of(kernel, sockets, complain)
    return [(sk, held[0]) for socket, held in sockets.items() if (sk := socks.get(socket)) and sk not in seen]
