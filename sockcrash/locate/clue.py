# SPDX-License-Identifier: LGPL-2.1-or-later
"""What somebody else's account says of a socket: a line of ss, of /proc/net, an answer of sock_diag, or a SPEC."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockcrash.locate.tuple import Ends

__all__ = ("Clue", "Name")


Name = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """It names the sockets of which all of it is true; they are looked for by the first of these that it has:

    ``address`` of the struct sock, ``cookie``, ``inode``, then ``ends`` of an inet socket, or ``names`` of others:
    ("unix", text), ("netlink", protocol, portid), ("vsock", cid, port, cid of the peer, port of the peer).
    ``kinds`` are those that it may be of, none where that is open. ``how`` says whose account it is.
    ``either_way``: ends that match nothing may be meant from the peer's side. ``verbatim``: the account is a SPEC,
    which needs no telling by what of it a socket was found.
    """

    how: str
    kinds: tuple[str, ...] = ()
    address: int | None = None
    cookie: int | None = None
    inode: int | None = None
    ends: Ends | None = None
    names: frozenset[Name] = frozenset()
    either_way: bool = False
    verbatim: bool = False

    @property
    def specific(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.address or self.cookie or self.inode or self.ends or self.names)
