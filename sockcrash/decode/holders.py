# SPDX-License-Identifier: LGPL-2.1-or-later
"""What holds sockets beyond descriptors: queues, io_uring, BPF maps; looked for once, when first asked about."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import FULL
from sockcrash.kernel.files import open_files, sockets_of_files
from sockcrash.kernel.fixed_files import fixed_files, own_socket
from sockcrash.kernel.in_flight import Queued, in_unix_queues
from sockcrash.kernel.sockmap import sockmaps_of
from sockcrash.kernel.waiting import waiting
from sockcrash.model import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.files import Held
    from sockcrash.kernel.view import Kernel

__all__ = ("Beyond",)

_DEEPEST = 32


class Beyond:
    """Holders without a descriptor, of the sockets of one kernel at one time."""

    def __init__(self, kernel: Kernel, complain: Callable[[str], None]) -> None:
        self._kernel = kernel
        self._complain = complain

    def listener_of(self, sk: int) -> int | None:
        """The listener in whose accept queue a socket waits."""
        return self._waiting.get(sk) or self._queued.clients.get(sk)

    def of_socket(self, socket: int) -> tuple[Owner, ...]:
        """The queues and io_urings that hold the file of a ``struct socket *``."""
        return self._by_socket.get(socket, ())

    def maps(self, sk: int, user_data: int) -> list[Owner]:
        """The sockmaps that a socket is in, each with the descriptors of the map, or without if it has none."""
        found: list[Owner] = []
        for one in sockmaps_of(self._kernel, sk, user_data, self._complain):
            held = open_files(self._kernel, self._complain).maps.get(one.address, ())
            user = one.name or None
            found += [Owner("sockmap", task.pid, task.comm, fd, user=user, map=one.id) for task, fd in held]
            if not held:
                found.append(Owner("sockmap", user=user, map=one.id))
        return found

    @cached_property
    def _waiting(self) -> dict[int, int]:
        return waiting(self._kernel, self._complain)

    @cached_property
    def _queued(self) -> Queued:
        return in_unix_queues(self._kernel, self._complain)

    @cached_property
    def _rings(self) -> Held:
        return open_files(self._kernel, self._complain).rings

    @cached_property
    def _by_socket(self) -> dict[int, tuple[Owner, ...]]:
        fixed, own = self._fixed()
        through = {
            file: [sk for sk in queues if sk not in own] for file, queues in self._queued.files.items()
        }
        sockets = sockets_of_files(self._kernel, fixed.keys() | through.keys(), self._complain)
        carriers = {sockets[file]: queues for file, queues in through.items() if file in sockets}
        found: dict[int, tuple[Owner, ...]] = {}
        for file, socket in sockets.items():
            flights = [
                Owner("scm-rights", socket=sk, depth=self._depth(sk, carriers))
                for sk in through.get(file, ())
            ]
            found[socket] = (*flights, *fixed.get(file, ()))
        return found

    def _fixed(self) -> tuple[dict[int, list[Owner]], set[int]]:
        """The io_urings that hold each ``struct file *``, and the UNIX sockets that rings have for themselves."""
        found: dict[int, list[Owner]] = {}
        own: set[int] = set()
        for ring, held in self._rings.items():
            try:
                own.add(own_socket(self._kernel, ring))
                files = fixed_files(self._kernel, ring, self._complain)
            except drgn.FaultError as error:
                self._complain(f"the files of the io_uring at {ring:#x} are unreadable: {error}")
                continue
            for file in files:
                found.setdefault(file, []).extend(Owner("io-uring", t.pid, t.comm, fd) for t, fd in held)
        return found, own

    def _depth(self, sk: int, carriers: dict[int, list[int]]) -> int | None:
        """How deep it is in queues, one inside the other, what is in that of ``sk``; None if that is unreadable."""
        depth = 1
        while depth <= _DEEPEST:
            try:
                (full,) = self._kernel.reader(FULL).sections(sk)
            except drgn.FaultError as error:
                self._complain(f"what holds the UNIX socket at {sk:#x} is unreadable: {error}")
                return None
            outer = carriers.get(full["sk_socket"])
            if not outer:
                return depth
            depth, sk = depth + 1, outer[0]
        return depth
