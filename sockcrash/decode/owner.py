# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who holds a socket: the descriptors that lead to it, or what it is that has none; and who is around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.decode.holders import Beyond
from sockcrash.decode.other_end import OtherEnds
from sockcrash.kernel.fields import SOCKET
from sockcrash.kernel.files import Task, all_descriptors, open_files, references
from sockcrash.kernel.mptcp import owner_by_ulp, owner_of_subflow
from sockcrash.kernel.netns import paths, processes
from sockcrash.kernel.users import kernel_user
from sockcrash.model import Absent, OtherEnd, Owner, Reason, Section, quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle

__all__ = ("Owners", "mini_owner", "part_of")

_UNKNOWN = Absent(Reason.NOT_IN_SNAPSHOT)


class Owners:
    """Finds the holders of sockets: one scan of all tasks for many sockets, an early end for a few.

    ``many`` makes the index at once; otherwise each socket is searched for until as many descriptors are found as
    its struct file has references. What holds sockets without a descriptor is looked for when one lacks it.
    """

    def __init__(self, kernel: Kernel, complain: Callable[[str], None], *, many: bool) -> None:
        self._kernel = kernel
        self._complain = complain
        files = open_files(kernel, complain) if many and kernel.index is None else None
        self._index = None if files is None else files.sockets
        # What could not be read where holders are looked for: what has none found may have some there.
        self._trouble = [] if files is None else files.trouble[:1]
        self._beyond = Beyond(kernel, self._note)
        self._ends = OtherEnds(kernel, complain, self._of_other)
        self._spaces: tuple[dict[int, tuple[str, ...]], Callable[[int], int | Absent]] | None = None

    def of(self, handle: Handle, full: Section, part_of: int | Absent = 0) -> tuple[Owner, ...] | Absent:
        """The owners of a full socket; ``part_of`` is the MPTCP socket that it carries data for, or 0.

        What can be told is complained of if it may not be all; where it is nothing the owners are absent: they may
        be where something could not be read.
        """
        if self._kernel.index is not None:
            return self._kernel.index[handle.address].owners
        socket = full["sk_socket"]
        if isinstance(socket, Absent):
            return socket
        lost: list[Absent] = []
        found: list[Owner] = []
        if isinstance(part_of, Absent):
            lost.append(part_of)
        elif part_of:
            found.append(Owner("mptcp-subflow", socket=part_of))
        try:
            if not socket:
                found += self._without_socket(handle.address, full, lost)
            else:
                found += self._holders(handle, full, socket, lost, kernel_too=part_of == 0)
        except drgn.FaultError as error:
            return self._kernel.unreadable(error)
        if not found and self._trouble and not self._kernel.live:  # where tasks end while they are looked at
            lost.append(Absent(Reason.UNREADABLE, self._trouble[0]))
        if lost and not found:
            return lost[0]
        if lost:
            self._complain(f"the socket at {handle.address:#x} may have more owners: {lost[0]}")
        return tuple(found)

    def _note(self, message: str) -> None:
        self._trouble.append(message)
        self._complain(message)

    def _of_other(self, handle: Handle, rest: Section) -> tuple[Owner, ...] | Absent:
        """The owners of a socket at another end; ``rest``: its section after the identity. Raises drgn.FaultError."""
        if not handle.kind.full:
            return mini_owner(handle, rest)
        return self.of(handle, rest, owner_by_ulp(self._kernel, rest) if handle.kind.name == "tcp" else 0)

    def other_end(
        self,
        handle: Handle,
        identity: Section,
        own: Section,
        owners: tuple[Owner, ...] | Absent | None = None,
    ) -> tuple[OtherEnd, ...] | Absent:
        """The sockets at the other end, and who holds them.

        ``own`` is the section of the socket's kind, ``owners`` its own holders if they are known.
        """
        return self._ends.of(handle, identity, own, owners)

    def namespace(self, handle: Handle, netns: int | Absent) -> tuple[tuple[str, ...], int | Absent]:
        """Where the socket's namespace is mounted, and how many processes are in it."""
        if self._kernel.index is not None:
            entry = self._kernel.index[handle.address]
            return entry.netns_paths, _UNKNOWN if entry.netns_processes is None else entry.netns_processes
        if isinstance(netns, Absent):
            return (), netns
        if self._spaces is None:
            self._spaces = (paths(self._kernel, self._complain), processes(self._kernel, self._complain))
        names, inhabitants = self._spaces
        return names.get(netns, ()), inhabitants(netns)

    def _holders(
        self, handle: Handle, full: Section, socket: int, lost: list[Absent], *, kernel_too: bool
    ) -> list[Owner]:
        if self._index is not None:
            found = [_owner(task, fd) for task, fd in self._index.get(socket, ())]
            found += self._beyond.of_socket(socket)
        else:
            found = self._search(socket)
        user_data = full["sk_user_data"]
        if isinstance(user_data, Absent):
            lost.append(user_data)
        elif user_data:
            found += self._beyond.maps(handle.address, user_data)
        if not found and kernel_too and not lost:
            found += self._kernel_user(handle, socket)
        return found

    def _search(self, socket: int) -> list[Owner]:
        """The holders of one socket's file."""
        (row,) = self._kernel.reader(SOCKET).sections(socket)
        file = row["file"]
        if not file:
            return []
        wanted = references(self._kernel, file)
        found: list[Owner] = []
        for task, entries in all_descriptors(self._kernel, self._note):
            for fd in (fd for fd, held in entries if held == file):
                found.append(_owner(task, fd))
                if len(found) >= wanted:
                    return found
        return [*found, *self._beyond.of_socket(socket)]

    def _kernel_user(self, handle: Handle, socket: int) -> list[Owner]:
        """The kernel, if no process ever had the socket, or if a known part of the kernel took it over."""
        (row,) = self._kernel.reader(SOCKET).sections(socket)
        owner = kernel_user(self._kernel, handle.address, handle.kind.name)
        return [] if row["file"] and owner.user is None else [owner]

    def _without_socket(self, sk: int, full: Section, lost: list[Absent]) -> tuple[Owner, ...]:
        """No struct socket: closed by its process and finished by the kernel (SOCK_DEAD), or not accepted yet."""
        dead, flags = int(self._kernel.prog.constant("SOCK_DEAD")), full["sk_flags"]
        if isinstance(flags, Absent):
            lost.append(flags)
        elif flags >> dead & 1:
            return (Owner("orphan"),)
        listener = self._beyond.listener_of(sk)
        return () if listener is None else (Owner("accept-queue", listener=listener),)


def _owner(task: Task, fd: int) -> Owner:
    return quick(Owner, {"kind": "fd", "pid": task.pid, "comm": task.comm, "fd": fd})


def part_of(kernel: Kernel, handle: Handle, own: Section) -> int | Absent:
    """The MPTCP socket that a TCP socket carries data for, 0 if none."""
    if handle.kind.name != "tcp":
        return 0
    ulp = own["ulp"]
    if isinstance(ulp, Absent) and ulp.lost:
        return ulp
    if ulp != "mptcp":
        return 0
    try:
        return owner_of_subflow(kernel, handle.address)
    except drgn.FaultError as error:
        return kernel.unreadable(error)


def mini_owner(handle: Handle, mini: Section) -> tuple[Owner, ...]:
    """The owner of a mini socket: the kernel for TIME_WAIT, its listener for a request."""
    if handle.kind.name == "tcp-timewait":
        return (Owner("timewait"),)
    listener = mini["listener"]
    return (Owner("request", listener=listener if isinstance(listener, int) and listener else None),)
