# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clues → sockets, all of them in one walk of the tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.devices import device_name
from sockcrash.kernel.fields import FULL, IDENTITY
from sockcrash.kernel.fields_netlink import NETLINK
from sockcrash.kernel.fields_vsock import VSOCK
from sockcrash.locate.tuple import Ends, Pair, pairs_of
from sockcrash.locate.unix_name import name_of, spellings
from sockcrash.locate.walk import elsewhere, handles_of, in_tables

if TYPE_CHECKING:
    from sockcrash.kernel.chains import Complain, Found
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.locate.clue import Clue, Name
    from sockcrash.model import Section

__all__ = ("sockets_of_clues",)

Key = TypeVar("Key", bound=Hashable)

_OTHER_ENDS = (
    "its ends are others than there: it has been bound or connected since, or the text is of another boot"
)


@dataclass(slots=True)
class _Wanted:
    """Numbers of clues by what they are looked for: each by its strongest part, an inode by the ends as well."""

    addresses: dict[int, list[int]] = field(default_factory=dict)
    cookies: dict[int, list[int]] = field(default_factory=dict)
    inodes: dict[int, list[int]] = field(default_factory=dict)
    pairs: dict[Pair, list[int]] = field(default_factory=dict)
    names: dict[Name, list[int]] = field(default_factory=dict)
    loose: list[tuple[int, Ends]] = field(default_factory=list)
    families: set[Hashable] = field(default_factory=set)


# How well a socket fits a clue: the best that any does is what counts. Subflows of MPTCP share an inode, not ends.
_SURE, _BY_INODE_AND_ENDS, _BY_INODE, _BY_ENDS, _REVERSED = range(5)


def sockets_of_clues(
    kernel: Kernel, clues: Sequence[Clue], complain: Complain, netns: int | None = None
) -> list[list[Handle]]:
    """The sockets that each clue names, none if there are none; with ``netns`` only those of that namespace's inode."""
    wanted = _index(clues)
    hits: list[dict[int, list[Handle]]] = [{} for _ in clues]
    settled: set[int] = set()
    seen: dict[int, bool] = {}

    def look(walk: Iterable[Found]) -> None:
        for found in walk:
            try:
                for number, level, handle in _fitting(kernel, found, clues, wanted, netns, complain):
                    hits[number].setdefault(level, []).append(handle)
                    if level == _SURE and handle.kind.full:
                        settled.add(number)
            except drgn.FaultError as error:
                complain(f"a socket at {found.address:#x} ({found.how}) is unreadable: {error}")

    look(in_tables(kernel, complain, seen))
    if len(settled) < len(clues):
        look(elsewhere(kernel, complain, seen))
    return [_best(found) for found in hits]


def _best(found: dict[int, list[Handle]]) -> list[Handle]:
    """The best hits. A cookie may name a mini socket and its heir while one hands over to the other: the full one."""
    if not found:
        return []
    level = min(found)
    full = [handle for handle in found[level] if handle.kind.full]
    return full if level == _SURE and full else found[level]


def _index(clues: Sequence[Clue]) -> _Wanted:
    wanted = _Wanted()
    for number, clue in enumerate(clues):
        if clue.address or clue.cookie:
            # a number that might be an address is one before Linux 4.1, and a cookie since
            _note(wanted.addresses, clue.address, number)
            _note(wanted.cookies, clue.cookie, number)
            continue
        _note(wanted.inodes, clue.inode, number)
        for name in clue.names:
            _note(wanted.names, name, number)
            wanted.families.add(name[0])
        if clue.ends is not None:
            _index_ends(wanted, clue.ends, clue, number)
    return wanted


def _index_ends(wanted: _Wanted, ends: Ends, clue: Clue, number: int) -> None:
    exact = list(ends.pairs())
    for pair in exact:
        _note(wanted.pairs, pair, number)
        if clue.either_way:
            _note(wanted.pairs, (*pair[2:], *pair[:2]), number)
    if not exact:
        wanted.loose.append((number, ends))


def _note(table: dict[Key, list[int]], key: Key | None, number: int) -> None:
    if key:
        table.setdefault(key, []).append(number)


def _fitting(
    kernel: Kernel,
    found: Found,
    clues: Sequence[Clue],
    wanted: _Wanted,
    netns: int | None,
    complain: Complain,
) -> Iterator[tuple[int, int, Handle]]:
    """The numbers of the clues that name an object, how well they fit, and the object's handle."""
    (identity,) = kernel.reader(IDENTITY).sections(found.address)
    if netns is not None and identity["netns"] != netns:
        return
    levels: dict[int, int] = {}
    for number in (*wanted.addresses.get(found.address, ()), *wanted.cookies.get(identity["skc_cookie"], ())):
        levels[number] = _SURE
    if wanted.inodes:
        for number in wanted.inodes.get(_inode(kernel, found.address, identity), ()):
            levels.setdefault(number, _BY_INODE)
    pairs = _pairs(kernel, identity)
    for number, level in _by_ends(clues, wanted, pairs):
        levels.setdefault(number, level)
    for name in _names(kernel, found.address, identity, wanted.families):
        for number in wanted.names.get(name, ()):
            levels.setdefault(number, _BY_ENDS)
    if not levels:
        return
    handle = next(handles_of(kernel, [found], complain), None)
    if handle is None:
        return
    for number, level in levels.items():
        clue = clues[number]
        if not _agrees(kernel, clue, handle, identity):
            continue
        same_ends = clue.ends is not None and any(map(clue.ends.matches, pairs))
        how, note = _how(clue, level, found.address), handle.note
        if level in (_SURE, _BY_INODE) and clue.ends and pairs and not same_ends:
            note = "; ".join(filter(None, (note, _OTHER_ENDS)))
        fit = _BY_INODE_AND_ENDS if level == _BY_INODE and same_ends else level
        yield number, fit, handle._replace(how=how, note=note)


def _by_ends(clues: Sequence[Clue], wanted: _Wanted, pairs: tuple[Pair, ...]) -> Iterator[tuple[int, int]]:
    for pair in pairs:
        for number in wanted.pairs.get(pair, ()):
            ends = clues[number].ends
            yield number, _BY_ENDS if ends and ends.matches(pair) else _REVERSED
        for number, ends in wanted.loose:
            if ends.matches(pair):
                yield number, _BY_ENDS
            elif clues[number].either_way and (other := ends.reversed()) and other.matches(pair):
                yield number, _REVERSED


def _how(clue: Clue, level: int, address: int) -> str:
    """How a socket was named: by whose account, and by what of it."""
    if clue.verbatim:
        return f"{clue.how}, reversed" if level == _REVERSED else clue.how
    if level == _SURE:
        return f"{clue.how}: " + (
            f"address {address:#x}" if clue.address == address else f"cookie sk:{clue.cookie:x}"
        )
    if level == _BY_INODE:
        return f"{clue.how}: inode ino:{clue.inode}"
    if clue.ends:
        return f"{clue.how}: ends {clue.ends}"
    family, *parts = next(iter(clue.names))
    return f"{clue.how}: {family} {':'.join(map(str, parts))}"


def _agrees(kernel: Kernel, clue: Clue, handle: Handle, identity: Section) -> bool:
    """Whether nothing that a clue says is wrong of a socket: its kind, inode and device.

    Ends may have changed since; a cookie and an inode stay as long as the socket is there.
    """
    if clue.kinds and handle.kind.name not in clue.kinds:
        return False
    inode = _inode(kernel, handle.address, identity) if clue.inode else 0
    if inode and inode != clue.inode:
        return False
    if clue.ends is None or clue.cookie or clue.address or (inode and inode == clue.inode):
        return True
    return all(_on_device(kernel, scope, identity) for scope in clue.ends.scopes)


def _on_device(kernel: Kernel, scope: str, identity: Section) -> bool:
    """Whether a socket is bound to a device, given by name or index (ss writes ifNUMBER for one without a name)."""
    index = identity["skc_bound_dev_if"]
    if not index:
        return False
    if scope in (str(index), f"if{index}"):
        return True
    name = device_name(kernel, identity["skc_net"], index)
    return name == scope if isinstance(name, str) else True


def _inode(kernel: Kernel, address: int, identity: Section) -> int:
    """The inode of a socket; 0 if it has none."""
    if identity["skc_family"] in _INET and identity["skc_state"] in (uapi.TIME_WAIT, uapi.NEW_SYN_RECV):
        return 0
    (full,) = kernel.reader(FULL).sections(address)
    inode = full["inode"]
    return inode if isinstance(inode, int) else 0


_INET = (uapi.AF_INET, uapi.AF_INET6)


def _pairs(kernel: Kernel, identity: Section) -> tuple[Pair, ...]:
    """The ends that an inet socket answers to; none of another one."""
    family = identity["skc_family"]
    if family not in _INET:
        return ()
    order = "little" if kernel.byte_order == "<" else "big"
    if family == uapi.AF_INET:
        local, peer = (identity[name].to_bytes(4, order) for name in ("skc_rcv_saddr", "skc_daddr"))
    else:
        local, peer = identity["skc_v6_rcv_saddr"], identity["skc_v6_daddr"]
        if not isinstance(local, bytes) or not isinstance(peer, bytes):
            return ()
    port = int.from_bytes(identity["skc_dport"].to_bytes(2, order), "big")
    return pairs_of(local, identity["skc_num"], peer, port)


def _names(kernel: Kernel, address: int, identity: Section, families: set[Hashable]) -> Iterator[Name]:
    """The names that a socket of another family answers to, if any clue has a name of that family."""
    family = _FAMILIES.get(identity["skc_family"])
    if family is None or family[0] not in families:
        return
    for name in family[1](kernel, address):
        yield (family[0], *name)


def _unix_names(kernel: Kernel, address: int) -> Iterator[Name]:
    name = name_of(kernel, address)
    yield from ((text,) for text in spellings(name)) if name else ()


def _netlink_names(kernel: Kernel, address: int) -> Iterator[Name]:
    full, own = kernel.reader(FULL, NETLINK).sections(address)
    yield full["sk_protocol"], own["portid"]


def _vsock_names(kernel: Kernel, address: int) -> Iterator[Name]:
    (own,) = kernel.reader(VSOCK).sections(address)
    yield tuple(own[f"{end}_addr.svm_{part}"] for end in ("local", "remote") for part in ("cid", "port"))


_FAMILIES: dict[int, tuple[str, Callable[[Kernel, int], Iterator[Name]]]] = {
    uapi.AF_UNIX: ("unix", _unix_names),
    uapi.AF_NETLINK: ("netlink", _netlink_names),
    uapi.AF_VSOCK: ("vsock", _vsock_names),
}
