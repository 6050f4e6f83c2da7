# SPDX-License-Identifier: LGPL-2.1-or-later
"""Did a call take effect? The option read back from the socket's memory, and compared with what was given."""

from __future__ import annotations

import dataclasses
import os
import socket
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.options import socket_options
from sockcrash.errors import NotASocketError
from sockcrash.kernel.fields import FULL, IDENTITY
from sockcrash.kernel.options import option_group
from sockcrash.kernel.options.given import HELD_AS
from sockcrash.locate import locate
from sockcrash.locate.address import prove
from sockcrash.locate.spec import parse_spec
from sockcrash.model import Absent, OptionValue, Reason
from sockcrash.trace.call import Call, Held, Traced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("checked", "compared", "prepare", "read_back")

_GONE = Absent(Reason.UNREADABLE, "the socket was gone before it could be read")
_AGAIN = Absent(Reason.NOT_APPLICABLE, "it was set again before it could be read")
_NOT_HELD = Absent(Reason.NOT_APPLICABLE, "no member of the socket tells")


def prepare(kernel: Kernel) -> None:
    """Bind and compile what reading back needs, by a look at a socket of our own: calls don't wait for that."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        for one in (stream, datagram):
            spec = parse_spec(f"fd:{os.getpid()}/{one.fileno()}")
            for located in locate(kernel, [spec], lambda _: None):
                for handle in located.handles:
                    _options(kernel, handle.address, os.fstat(one.fileno()).st_ino)


def checked(kernel: Kernel, calls: list[Call]) -> Iterator[Call]:
    """Calls in their order with what the socket holds now; of those that set the same, the last."""
    last = {_key(call): call for call in calls if call.result is not None and call.result >= 0}
    for call in calls:
        newest = last.get(_key(call))
        stale = newest is not None and newest is not call and call.result is not None and call.result >= 0
        yield dataclasses.replace(call, check=_AGAIN if stale else read_back(kernel, call))


def _key(call: Call) -> tuple[int, int, int]:
    return (call.socket.address if isinstance(call.socket, Traced) else 0, call.level_number, call.number)


def read_back(kernel: Kernel, call: Call) -> Held | Absent | None:
    """What the socket holds now; None of a call that failed or had no socket."""
    if call.result is None or call.result < 0 or not isinstance(call.socket, Traced):
        return None
    name = HELD_AS.get(call.name, (call.name, 1))[0]
    try:
        options = _options(kernel, call.socket.address, call.socket.inode)
    except (drgn.FaultError, NotASocketError):
        return _GONE
    if options is None:
        return _GONE
    for option in options:
        if (option.level, option.name) == (call.level, name):
            if isinstance(option.value, Absent):
                return option.value
            return Held(option.value, option.text, compared(call, option))
    return _NOT_HELD


def _options(kernel: Kernel, address: int, inode: int) -> list[OptionValue] | None:
    """The options of the socket, None if another one lies there now."""
    handle = prove(kernel, address, f"{address:#x}")
    if handle.address != address or not handle.kind.full:
        return None
    if _inode(kernel, address) not in (0, inode):
        return None
    identity, section = kernel.reader(IDENTITY, option_group(handle.kind.name)).sections(address)
    return socket_options(kernel, handle.kind.name, address, identity, section, facts=True)


def _inode(kernel: Kernel, address: int) -> int:
    (full,) = kernel.reader(FULL).sections(address)
    inode = full["inode"]
    return inode if isinstance(inode, int) else 0


def compared(call: Call, option: OptionValue) -> str | None:
    """``same``, ``lowered``, ``raised``, ``rounded``, ``ignored``; None if the two can't be compared."""
    given, held = call.value, option.value
    if isinstance(given, Absent):
        return None
    if call.switch is not None and isinstance(held, int):
        return "same" if bool(held) == call.switch else "ignored"
    if isinstance(given, int) and isinstance(held, int):
        return _numbers(given * HELD_AS.get(call.name, ("", 1))[1], held, option.default)
    if isinstance(held, list):
        return _in_list(given, held)
    if isinstance(given, dict) and isinstance(held, dict):
        return _members(given, held)
    return "same" if given == held else None


def _numbers(expected: int, held: int, default: Any) -> str:
    if held == expected:
        return "same"
    if held == default:
        return "ignored"
    return "lowered" if held < expected else "raised"


def _members(given: dict[str, Any], held: dict[str, Any]) -> str | None:
    both = given.keys() & held.keys()
    if not both:
        return None
    if all(given[name] == held[name] for name in both):
        return "same"
    return "rounded" if both == {"sec", "usec"} else None


def _in_list(given: Any, held: list[Any]) -> str | None:
    """Whether a group that was joined is among those that the socket has."""
    if not isinstance(given, dict) or "group" not in given:
        return None
    return (
        "same"
        if any(isinstance(one, dict) and one.get("group") == given["group"] for one in held)
        else "ignored"
    )
