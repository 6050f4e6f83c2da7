# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers as people read them: times, sizes, rates, endpoints, and why a value is absent."""

from __future__ import annotations

from typing import Any

from sockcrash.model import Absent, Endpoint, Reason
from sockcrash.render.escape import printable

__all__ = (
    "count",
    "either",
    "end",
    "microseconds",
    "milliseconds",
    "nothing",
    "rate",
    "show",
    "size",
    "some",
)

_SHORT = {
    Reason.NOT_APPLICABLE: "n/a",
    Reason.NOT_IN_KERNEL: "not in this kernel",
    Reason.UNREADABLE: "unreadable",
    Reason.NO_TYPE_INFO: "no type info",
    Reason.NOT_IN_SNAPSHOT: "not in the snapshot",
    Reason.NOT_ASSIGNED: "none",
    Reason.UNLIMITED: "unlimited",
    Reason.SECRET: "secret",
}
_UNKNOWN = "?"


def show(value: Any) -> str:
    """Any value, or in parentheses why there is none."""
    if isinstance(value, Absent):
        detail = value.detail if value.reason in (Reason.NOT_ASSIGNED, Reason.UNREADABLE) else ""
        return f"({_SHORT[value.reason]}{': ' if detail else ''}{detail})"
    return printable(str(value))


def nothing(value: Absent) -> str:
    """The sign for an absent value where there is no room for words: there is none, or it can't be told."""
    return _UNKNOWN if value.lost else "-"


def milliseconds(value: int | Absent) -> str:
    """A duration in ms: ``180 ms``, ``3.2 s``, ``2 h 5 min``."""
    if isinstance(value, Absent):
        return show(value)
    if abs(value) < 1000:
        return f"{value} ms"
    seconds = value / 1000
    if abs(seconds) < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min {int(seconds % 60)} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 72 else f"{hours // 24} d {hours % 24} h"


def microseconds(value: int | Absent) -> str:
    """A duration in µs: ``488 µs``, ``12.3 ms``."""
    if isinstance(value, Absent):
        return show(value)
    if value < 1000:
        return f"{value} µs"
    return f"{value / 1000:.1f} ms" if value < 1_000_000 else f"{value / 1_000_000:.1f} s"


def size(value: int | Absent) -> str:
    """Bytes: ``512 B``, ``1.2 MB``."""
    return rate(value).removesuffix("/s")


def rate(value: int | Absent) -> str:
    """Bytes per second: ``1.2 MB/s``."""
    if isinstance(value, Absent):
        return show(value)
    amount = float(value)
    for unit in ("B/s", "kB/s", "MB/s", "GB/s"):
        if amount < 1000 or unit == "GB/s":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B/s" else f"{amount:.1f} {unit}"


def count(value: int | Absent, one: str, many: str | None = None) -> str:
    """``1 segment``, ``3 segments``."""
    if isinstance(value, Absent):
        return show(value)
    return f"{value} {one if value == 1 else many or one + 's'}"


def either(value: Any, yes: str, no: str) -> str:
    """One of two words, by whether a value is other than 0; why there is none."""
    return show(value) if isinstance(value, Absent) else yes if value else no


def some(value: Any) -> bool:
    """Whether a value is other than 0 or empty, or may be."""
    return value.lost if isinstance(value, Absent) else bool(value)


def end(value: Endpoint | Absent) -> str:
    """One end of any family: ``127.0.0.1:80``, ``[::1]:*``, ``@name``, ``route:4711``, ``0x0800:lo``; ``*``: none."""
    if isinstance(value, Absent):
        return nothing(value)
    if value.address is not None:
        address = value.address
        return f"[{address}]:{value.port or '*'}" if ":" in address else f"{address}:{value.port or '*'}"
    if value.path is not None:
        inode = f" ino:{value.inode}" if isinstance(value.inode, int) else ""
        return f"{_path(value.path)}{inode}"
    if value.portid is not None:
        return f"{_netlink(value.protocol)}:{value.portid}{_groups(value.groups)}"
    if value.ifindex is not None:
        return _device_end(value)
    return f"{_any32(value.cid)}:{_any32(value.port)}"


def _path(path: str | Absent) -> str:
    if isinstance(path, Absent):
        return _UNKNOWN if path.lost else "*"
    return printable(path)


def _netlink(protocol: str | Absent | None) -> str:
    """``route`` of NETLINK_ROUTE, which ss calls rtnl."""
    return printable(protocol).removeprefix("NETLINK_").lower() if isinstance(protocol, str) else _UNKNOWN


def _groups(groups: tuple[int, ...] | Absent | None) -> str:
    return " groups " + ",".join(map(str, groups)) if isinstance(groups, tuple) and groups else ""


def _device_end(value: Endpoint) -> str:
    """``0x0800:lo`` of a PACKET socket, ``lo:q0`` of an XDP socket."""
    device = value.device
    if isinstance(device, Absent):
        device = f"if{value.ifindex}" if value.ifindex else "*"
    if value.ethertype is None:
        return f"{printable(device or '')}:q{value.queue}"
    return f"{value.ethertype:#06x}:{printable(device or '')}"


def _any32(number: int | None) -> str:
    return "*" if number in (None, 0xFFFFFFFF) else str(number)
