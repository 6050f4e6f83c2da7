# SPDX-License-Identifier: LGPL-2.1-or-later
"""The socket at the other end, where that is on this kernel too: over loopback, between namespaces, of UNIX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.ends import MEMBERS, Ends, by_ends, ends_at, ends_of, reversed_ends, stays_inside
from sockcrash.kernel.fields import FULL, IDENTITY
from sockcrash.kernel.layout import Group
from sockcrash.kernel.mptcp import ULP
from sockcrash.kernel.sockets import kind_of, mini_kind
from sockcrash.locate.address import Handle
from sockcrash.model import Absent, OtherEnd, Reason, quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Owner, Section

__all__ = ("OtherEnds",)

# Of a full socket what its kind and its owners are told by.
_HELD = FULL.narrowed(("sk_type", "sk_protocol", "sk_socket", "sk_user_data", "sk_flags"))
_HELD_STREAM = Group("held stream", (*_HELD.fields, *ULP.fields))
_WHO = IDENTITY.narrowed(("skc_family", "skc_state", "netns"))
_PROTOCOLS = {
    "tcp": "tcp", "tcp-timewait": "tcp", "tcp-request": "tcp", "mptcp": "mptcp", "udp": "udp", "udplite": "udp",
}  # fmt: skip
_NOT_CONNECTED = Absent(Reason.NOT_APPLICABLE, "not connected")
_OTHER_KIND = Absent(Reason.NOT_APPLICABLE, "sockets of this kind are not joined")
_UNSURE = Absent(Reason.UNREADABLE, "the tables that it may be in have holes")
_ELSEWHERE = Absent(Reason.NOT_ASSIGNED, "no socket of this kernel")


class OtherEnds:
    """Finds the sockets at the other ends; ``holders`` says who holds one. The tables are walked once."""

    def __init__(
        self,
        kernel: Kernel,
        complain: Callable[[str], None],
        holders: Callable[[Handle, Section], tuple[Owner, ...] | Absent],
    ) -> None:
        self._kernel = kernel
        self._complain = complain
        self._holders = holders
        self._holes = False
        self._by_ends: dict[str, dict[Ends, int | tuple[int, ...]]] = {}
        self._met: dict[int, OtherEnd] = {}

    def of(
        self, handle: Handle, identity: Section, own: Section, owners: tuple[Owner, ...] | Absent | None
    ) -> tuple[OtherEnd, ...] | Absent:
        """Usually one. Several if the same addresses are in use in several namespaces; Absent if there is none.

        ``own`` is the section of the socket's kind, ``owners`` its own if they are known: of a dump they are kept for
        the socket that was found, which will ask for them.
        """
        asked_before = len(self._met)
        found = self._of(handle, identity, own)
        if owners is not None and found and len(self._met) == asked_before and not self._kernel.live:
            fields = {"address": handle.address, "kind": handle.kind.name, "netns": identity["netns"]}
            self._met[handle.address] = quick(OtherEnd, {**fields, "owners": owners})
        return found

    def _of(self, handle: Handle, identity: Section, own: Section) -> tuple[OtherEnd, ...] | Absent:
        index = self._kernel.index
        if index is not None:
            held = index[handle.address].other_end
            return _ELSEWHERE if held is None else held
        try:
            if handle.kind.name == "unix":
                peer = own["peer"]
                if isinstance(peer, Absent):
                    return peer
                return (self._at(peer, _HELD),) if peer else _NOT_CONNECTED
            protocol = _PROTOCOLS.get(handle.kind.name)
            return _OTHER_KIND if protocol is None else self._joined(handle.address, identity, protocol)
        except drgn.FaultError as error:
            return self._kernel.unreadable(error)

    def _joined(self, address: int, identity: Section, protocol: str) -> tuple[OtherEnd, ...] | Absent:
        members = identity.pick(MEMBERS)
        if Absent in map(type, members):
            return next(one for one in members if isinstance(one, Absent))
        ends = ends_of(self._kernel, *members)
        if ends is None:
            return _NOT_CONNECTED
        wanted = reversed_ends(ends)
        found = self._index(protocol).get(wanted, ())
        if protocol == "mptcp" and not found and not self._holes:  # it fell back: the other end is plain TCP
            found = self._index("tcp").get(wanted, ())
        addresses = found if isinstance(found, tuple) else (found,)
        rows = _HELD if protocol == "udp" else _HELD_STREAM  # of MPTCP too: it may have fallen back
        candidates = [self._at(one, rows) for one in addresses if self._still(one, wanted)]
        if len(candidates) > 1 and wanted == ends:
            candidates = [one for one in candidates if one.address == address]
        own, inside = identity["netns"], stays_inside(ends)
        if inside or len(candidates) > 1:  # then it matters in which namespace each is
            lost = [one for one in (own, *(one.netns for one in candidates)) if isinstance(one, Absent)]
            if lost and candidates:
                return lost[0]
        near = [one for one in candidates if one.netns == own]
        chosen = near if near or inside else candidates
        return tuple(chosen) or (_UNSURE if self._holes else _ELSEWHERE)

    def _index(self, protocol: str) -> dict[Ends, int | tuple[int, ...]]:
        if protocol not in self._by_ends:
            self._by_ends[protocol] = by_ends(self._kernel, protocol, self._trouble)
        return self._by_ends[protocol]

    def _trouble(self, message: str) -> None:
        """Where a table has holes, a socket that is not found may be in one."""
        self._holes = True
        self._complain(message)

    def _still(self, address: int, ends: Ends) -> bool:
        """Whether a socket has these ends: on a running kernel it may be gone since the tables were walked."""
        return not self._kernel.live or ends_at(self._kernel, address) == ends

    def _at(self, address: int, held: Group) -> OtherEnd:
        """The socket at an address; ``held`` are the rows that are needed of it if it is a full one."""
        known = self._met.pop(address, None)
        if known is not None:
            return known
        kernel = self._kernel
        content = self._ahead(address, kernel.reader(_WHO, held).size)
        (who,) = kernel.reader(_WHO).sections(address, content)
        kind = mini_kind(who["skc_family"], who["skc_state"])
        (rest,) = kernel.reader(held if kind is None else kind.groups[1]).sections(address, content)
        if kind is None:
            kind = kind_of(who["skc_family"], rest["sk_type"], rest["sk_protocol"])
        fields = {"address": address, "kind": kind.name, "netns": who["netns"]}
        handle = Handle(address, kind, "other end")
        return quick(OtherEnd, {**fields, "owners": self._holders(handle, rest)})

    def _ahead(self, address: int, size: int) -> bytes | None:
        """The bytes of an object of which it is not known yet what it is; None where more than it has can't be read."""
        try:
            return None if self._kernel.exact else self._kernel.read(address, size)
        except drgn.FaultError:
            return None
