# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every socket has, from raw members: names of numbers, and why something is not there."""

from __future__ import annotations

from sockcrash.kernel import uapi
from sockcrash.model import Absent, Reason

__all__ = ("NOT_WANTED", "NO_INODE", "cookie_of", "name_in", "protocols_of", "v6only_of")

NOT_WANTED = Absent(Reason.NOT_APPLICABLE, "not read")
NO_INODE = Absent(Reason.NOT_APPLICABLE, "no struct socket: orphaned, or not accepted yet")
_NO_COOKIE = Absent(Reason.NOT_ASSIGNED, "nobody has asked for it yet")
_NOT_V6 = Absent(Reason.NOT_APPLICABLE, "no IPv6 socket")
_INET = (uapi.AF_INET, uapi.AF_INET6)


def name_in(names: dict[int, str], number: int | Absent) -> str | Absent:
    """The name of a number."""
    if number in names:
        return names[number]
    return number if isinstance(number, Absent) else uapi.name_of(names, number)


def protocols_of(family: int) -> dict[int, str]:
    """The names of a family's protocols."""
    if family in _INET:
        return uapi.PROTOCOLS
    return uapi.NETLINK_PROTOCOLS if family == uapi.AF_NETLINK else {}


def cookie_of(cookie: int | Absent) -> int | Absent:
    """A cookie of 0 is none."""
    return _NO_COOKIE if cookie == 0 else cookie


def v6only_of(family: int | Absent, bit: int | Absent) -> bool | Absent:
    """IPV6_V6ONLY of an IPv6 socket."""
    if family != uapi.AF_INET6:
        return family if isinstance(family, Absent) else _NOT_V6
    return bit if isinstance(bit, Absent) else bool(bit)
