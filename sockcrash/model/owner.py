# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who holds a socket, and the socket at the other end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockcrash.model import Absent

__all__ = ("OtherEnd", "Owner")


@dataclass(frozen=True)
class Owner:
    """Who holds a socket. ``kind`` is fd, accept-queue, scm-rights, io-uring, sockmap, kernel, orphan, ...

    ``listener`` and ``socket`` are addresses: of the listener of a request or of what waits to be accepted; of what
    an mptcp-subflow is a part of, and in whose queue it is in flight (scm-rights), ``depth`` queues deep. ``pid``,
    ``comm`` and ``fd`` are those of the socket's own descriptor, or of the io-uring or sockmap that holds it.
    ``user`` is a part of the kernel, known by ``callback`` of ``module``; of RPC with its ``program`` and the
    other side's address. ``map`` is the number of a BPF map.
    """

    kind: str
    pid: int | None = None
    comm: str | None = None
    fd: int | None = None
    listener: int | None = None
    socket: int | None = None
    user: str | None = None
    depth: int | None = None
    callback: str | None = None
    module: str | None = None
    program: str | None = None
    remote: str | None = None
    map: int | None = None


@dataclass(frozen=True)
class OtherEnd:
    """A socket of the same kernel whose ends are those of a record the other way round, and who holds it."""

    address: int
    kind: str
    netns: int | Absent
    owners: tuple[Owner, ...] | Absent
