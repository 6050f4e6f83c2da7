# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can be asked of sock_diag, and what it answers: plain records."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from sockcrash.kernel import uapi

if TYPE_CHECKING:
    from sockcrash.model import Absent, Endpoint

__all__ = ("Answer", "Query", "state_bits")

_ALL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which sockets are asked for: those of which all of it is true; the kernel itself leaves out the others.

    ``kinds`` and ``states`` (names as in records) are all if empty. Ports and addresses are those of inet sockets: with
    them, other kinds have nothing to answer. ``port`` is either one. ``netns`` is the path of another network namespace
    than the reader's; ``timeout`` is in seconds, for all of it.
    """

    kinds: tuple[str, ...] = ()
    states: frozenset[str] = frozenset()
    sport: int | None = None
    dport: int | None = None
    port: int | None = None
    src: IPv4Network | IPv6Network | None = None
    dst: IPv4Network | IPv6Network | None = None
    netns: str | None = None
    timeout: float = 5.0

    @property
    def of_inet(self) -> bool:
        """Whether only inet sockets can be meant."""
        return any(one is not None for one in (self.sport, self.dport, self.port, self.src, self.dst))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One socket as the kernel tells of it; names and units are those of records.

    ``recv_q`` and ``send_q`` are what ss prints there, in bytes; ``uid`` and ``protocol``, too, are None where nothing
    is told of them. An ``inode`` of 0 is none: an orphan, not accepted yet, a mini socket, one of the kernel.
    """

    kind: str
    family: str
    type: str | None
    state: str
    local: Endpoint
    peer: Endpoint | Absent
    inode: int
    cookie: int
    protocol: str | None = None
    uid: int | None = None
    ifindex: int | None = None
    recv_q: int | None = None
    send_q: int | None = None

    @property
    def spec(self) -> str:
        """The SPEC that names this socket."""
        return f"sk:{self.cookie:x}"


def state_bits(states: frozenset[str]) -> int:
    """The bits of states by name, all of them if none is given."""
    if not states:
        return _ALL
    bits = sum(1 << number for number, name in uapi.TCP_STATES.items() if name in states)
    # a request is told of as SYN_RECV
    return bits | 1 << 3 if "NEW_SYN_RECV" in states else bits
