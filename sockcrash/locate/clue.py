# SPDX-License-Identifier: LGPL-2.1-or-later
"""What somebody else's account says of a socket: a line of ss, of /proc/net, an answer of sock_diag, or a SPEC."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from sockcrash.locate.tuple import Ends

__all__ = ("Clue",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """It names the sockets of which all of it is true; it is looked for by the first of these that it has.

    ``address`` of the struct sock, ``cookie``, ``inode``, then ``ends`` or ``names``: keys that sockets of other
    families answer to, see ``search.py``. ``kinds`` are those it may be of, none if that is open. ``how`` names the account;
    ``said`` is how that wrote the ends. ``either_way``: ends that match nothing may be meant from the peer's side.
    """

    how: str
    kinds: tuple[str, ...] = ()
    address: int | None = None
    cookie: int | None = None
    inode: int | None = None
    ends: Ends | None = None
    names: frozenset[Hashable] = frozenset()
    said: str = ""
    either_way: bool = False

    @property
    def specific(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.address or self.cookie or self.inode or self.ends or self.names)
