# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ends of sockets as ss takes them: ``10.0.0.0/8``, ``[::1]:443``, ``:ssh``, ``unix:/run/*`` (parse_hostcond).

Names of hosts are not looked up: a filter for a dump must not ask the network.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from fnmatch import fnmatch
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from sockcrash.model import Absent, Endpoint, SocketRecord

__all__ = ("end_test", "port_number")

# True, False, or None where an end has nothing to compare with.
Test = Callable[[SocketRecord], bool | None]
_FAMILIES = {"inet": 4, "inet6": 6}


def end_test(end: str, text: str) -> Test:
    """A test of one end (``local`` or ``peer``) of a record; ValueError says what is wrong with the text."""
    family, colon, rest = text.partition(":")
    if colon and family == "unix":
        return lambda record: _unix(getattr(record, end), rest)
    if colon and family in _NUMBERED:
        return _numbered(end, family, rest)
    version = _FAMILIES.get(family, 0) if colon else 0
    address, port = _split(rest if version else text)
    network = _network(address, version) if address not in ("", "*") else None
    number = port_number(port) if port not in ("", "*") else None
    return lambda record: _inet(getattr(record, end), network, number, version)


def port_number(text: str) -> int:
    """A port as a number or the name of a service, perhaps with ss's colon before it; ValueError otherwise."""
    name = text.removeprefix(":")
    if name.isascii() and name.isdigit():
        if int(name) > 0xFFFF:
            raise ValueError(f"{name} is no port: they end with 65535")
        return int(name)
    try:
        return socket.getservbyname(name)
    except (OSError, ValueError):
        raise ValueError(f"{name!r} is neither a port nor a service of /etc/services") from None


def _split(text: str) -> tuple[str, str]:
    """Address and port; a bare IPv6 address has colons of its own."""
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(f"{text!r} is no address: [ADDRESS]:PORT")
        return address, port[1:]
    if text.count(":") > 1:
        return text, ""
    address, _, port = text.partition(":")
    return address, port


def _network(text: str, version: int) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address or prefix (names of hosts are not looked up)") from None
    if version and network.version != version:
        raise ValueError(f"{text} is no IPv{version} address")
    return network


def _inet(
    end: Endpoint | Absent, network: IPv4Network | IPv6Network | None, port: int | None, version: int
) -> bool | None:
    """An IPv4 prefix takes v4-mapped IPv6 addresses too; an IPv6 prefix takes IPv6 addresses only."""
    if isinstance(end, Absent) or end.address is None:
        return None
    if port is not None and end.port != port:
        return False
    if network is None:
        return not version or (":" in end.address) == (version == 6)
    return _inside(end.address, network)


@lru_cache(maxsize=4096)
def _inside(text: str, network: IPv4Network | IPv6Network) -> bool:
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address) and network.version == 4:
        address = address.ipv4_mapped or address
    return address in network


def _unix(end: Endpoint | Absent, pattern: str) -> bool | None:
    if isinstance(end, Absent) or end.path is None:
        return None
    path = "" if isinstance(end.path, Absent) else end.path
    return not pattern or fnmatch(path.lower(), pattern.lower())


# The members of an end that ss writes before and behind the colon.
_NUMBERED = {"vsock": ("cid", "port"), "netlink": (None, "portid"), "link": ("ethertype", "ifindex")}


def _numbered(end: str, family: str, text: str) -> Test:
    """``vsock:CID:PORT``, ``netlink:*:PORTID``, ``link:ETHERTYPE:INDEX or device``."""
    first, _, second = text.partition(":")
    before, behind = _NUMBERED[family]
    parts = [(name, part) for name, part in ((before, first), (behind, second)) if part not in ("", "*")]
    if any(name is None for name, _ in parts):
        raise ValueError(f"{text!r}: compare with the field protocol instead, and write netlink:*:PORTID")
    wanted = [(str(name), part, _number(part)) for name, part in parts]
    for name, part, number in wanted:
        if name != "ifindex" and number is None:
            raise ValueError(f"{part!r} is no {name}: {family}: takes numbers, or * for any")

    def test(record: SocketRecord) -> bool | None:
        found = getattr(record, end)
        if not isinstance(found, Endpoint) or getattr(found, behind) is None:
            return None
        return all(_same(found, *one) for one in wanted)

    return test


def _same(end: Endpoint, name: str, text: str, number: int | None) -> bool:
    if name == "ifindex" and end.device == text:
        return True
    return number is not None and bool(getattr(end, name) == number)


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
