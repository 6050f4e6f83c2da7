# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ends of an inet socket as people, ss and /proc/net write them, and whether a socket's ends are those.

Knows no kernel: addresses are packed bytes, ports numbers in the reader's order.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

__all__ = ("PROTOCOLS", "UNSPECIFIED", "End", "Ends", "Pair", "pairs_of", "parse_end", "parse_ends")

# What may stand before the colon of such a SPEC, and the kinds of socket that it means.
PROTOCOLS = {
    "tcp": ("tcp", "tcp-timewait", "tcp-request"),
    "udp": ("udp",),
    "udplite": ("udplite",),
    "raw": ("raw",),
    "mptcp": ("mptcp",),
}

Pair = tuple[bytes, int, bytes, int]
"""Local address and port, address and port of the peer."""

UNSPECIFIED = b""
"""The address that is all zeroes, of either family: ``*`` as ss prints it."""
_ZEROES = (bytes(4), bytes(16))
_MAPPED = bytes(10) + b"\xff\xff"
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%([^\]%]+))?\](?:%([^:%]+))?:([^:]+)")
_BARE = re.compile(r"([^:%\[\]]*)(?:%([^:%\[\]]+))?:([^:]+)")
_OLD_IPV6 = re.compile(r"([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?:%([^:%\[\]]+))?:([^:]+)")
_MAX_END = 160
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class End:
    """One end; None is one that was left open. ``scope`` is a device's name or index."""

    address: bytes | None
    port: int | None
    scope: str = ""

    def matches(self, address: bytes, port: int) -> bool:
        """Whether an end of a socket is this one; the scope is left to the caller, who knows the devices."""
        return self.port in (None, port) and (self.address is None or address in self.addresses())

    def __str__(self) -> str:
        """As SPECs are written."""
        scope = f"%{self.scope}" if self.scope.isprintable() and self.scope else ""
        port = "*" if self.port is None else self.port
        if not self.address:
            return f"{'*' if self.address == UNSPECIFIED else ''}{scope}:{port}"
        if len(self.address) == 16:
            return f"[{socket.inet_ntop(socket.AF_INET6, self.address)}{scope}]:{port}"
        return f"{socket.inet_ntop(socket.AF_INET, self.address)}{scope}:{port}"

    def addresses(self) -> tuple[bytes, ...]:
        """The addresses that it may be; none if that is open."""
        return _ZEROES if self.address == UNSPECIFIED else () if self.address is None else (self.address,)


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a socket, or (``peer`` None) one of which it isn't said whether it is the local one."""

    local: End
    peer: End | None = None

    def __str__(self) -> str:
        """As SPECs are written."""
        return f"{self.local}-{self.peer}" if self.peer else str(self.local)

    @property
    def scopes(self) -> set[str]:
        """The devices that were named."""
        return {end.scope for end in (self.local, self.peer) if end and end.scope}

    def reversed(self) -> Ends | None:
        """The same seen from the peer; None if that is no other thing."""
        return Ends(self.peer, self.local) if self.peer else None

    def pairs(self) -> Iterator[Pair]:
        """Every pair that it stands for, if nothing was left open."""
        if self.peer is None or self.local.port is None or self.peer.port is None:
            return
        for local, peer in product(self.local.addresses(), self.peer.addresses()):
            if len(local) == len(peer):
                yield local, self.local.port, peer, self.peer.port

    def matches(self, pair: Pair) -> bool:
        """Whether a socket's ends are these, scopes left aside."""
        here, there = pair[:2], pair[2:]
        if self.peer is None:
            return self.local.matches(*here) or self.local.matches(*there)
        return self.local.matches(*here) and self.peer.matches(*there)


def pairs_of(local: bytes, local_port: int, peer: bytes, peer_port: int) -> tuple[Pair, ...]:
    """The ends that a socket answers to: its own and, if they are v4-mapped IPv6 addresses, those of IPv4."""
    own = (local, local_port, peer, peer_port)
    four = [address[12:] for address in (local, peer) if len(address) == 16 and address.startswith(_MAPPED)]
    if len(four) == 2:
        return own, (four[0], local_port, four[1], peer_port)
    if local.startswith(_MAPPED) and peer == _ZEROES[1]:
        return own, (four[0], local_port, _ZEROES[0], peer_port)
    return (own,)


def parse_ends(text: str, protocol: str) -> Ends:
    """``LOCAL-PEER`` or ``END``, each ``ADDRESS:PORT``, either part open (empty or ``*``). ValueError says why not."""
    if len(text) > 2 * _MAX_END:
        raise ValueError("ends of a socket are never that long")
    for cut in (match.start() for match in re.finditer("-", text)):
        try:
            return Ends(parse_end(text[:cut], protocol), parse_end(text[cut + 1 :], protocol))
        except ValueError:
            continue
    end = parse_end(text, protocol)
    if end.address is None and end.port is None and not end.scope:
        raise ValueError("neither an address nor a port")
    return Ends(end)


def parse_end(text: str, protocol: str, *, star: bytes | None = None, old_ipv6: bool = False) -> End:
    """``127.0.0.1:80``, ``[fe80::1%eth0]:80``, ``[fe80::1]%eth0:80``, ``:nfs``; ValueError if it is none of them.

    ``star`` is what ``*`` means as an address. ``old_ipv6`` allows addresses without brackets, as ss printed them
    before iproute2 4.15.
    """
    if len(text) > _MAX_END:
        raise ValueError("an end of a socket is never that long")
    if found := _BRACKETED.fullmatch(text):
        address, inner, outer, port = found.groups()
        return End(_packed(socket.AF_INET6, address), _port(port, protocol), inner or outer or "")
    if found := _BARE.fullmatch(text):
        address, scope, port = found.groups()
        packed = (
            (star if address == "*" else None) if address in ("", "*") else _packed(socket.AF_INET, address)
        )
        return End(packed, _port(port, protocol), scope or "")
    if old_ipv6 and (found := _OLD_IPV6.fullmatch(text)):
        address, scope, port = found.groups()
        return End(_packed(socket.AF_INET6, address), _port(port, protocol), scope or "")
    raise ValueError(f"{text!r} is no ADDRESS:PORT (an IPv6 address stands in brackets)")


def _packed(family: socket.AddressFamily, address: str) -> bytes:
    try:
        return socket.inet_pton(family, address)
    except (OSError, ValueError):
        raise ValueError(f"{address!r} is no numeric IP address") from None


def _port(text: str, protocol: str) -> int | None:
    if text == "*":
        return None
    if re.fullmatch("[0-9]{1,5}", text) and int(text) < 1 << 16:
        return int(text)
    if not _SERVICE.fullmatch(text) or text.isdigit():
        raise ValueError(f"{text!r} is no port")
    try:
        return socket.getprotobyname(text) if protocol == "raw" else _service(text, protocol)
    except OSError:
        raise ValueError(f"{text!r} is no service that this machine knows") from None


def _service(name: str, protocol: str) -> int:
    transport = "tcp" if protocol in ("tcp", "mptcp") else "udp" if protocol else ""
    return socket.getservbyname(name, transport) if transport else socket.getservbyname(name)
