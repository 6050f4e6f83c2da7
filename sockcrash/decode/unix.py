# SPDX-License-Identifier: LGPL-2.1-or-later
"""UNIX sockets: names, peers, and what waits in their queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.computed import amend, pointer
from sockcrash.kernel import uapi
from sockcrash.kernel.fields import FULL
from sockcrash.kernel.fields_unix import UNIX, UNIX_ADDRESS
from sockcrash.kernel.unix_queue import Message, messages
from sockcrash.model import Absent, Endpoint, Reason

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields", "name_text")

_UNNAMED = Absent(Reason.NOT_ASSIGNED, "unnamed")
_UNCONNECTED = Absent(Reason.NOT_APPLICABLE, "not connected")
_NOT_ACCEPTED = Absent(Reason.NOT_APPLICABLE, "no struct socket: closed, or not accepted yet")
_NOT_LISTENING = Absent(Reason.NOT_APPLICABLE, "not listening")
_FAMILY_BYTES = 2  # sockaddr_un.sun_family, before sun_path
_MAX_NAME = 1 << 12


def fields(kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The unix section and its ends."""
    own = parts.own
    pointers = {name: pointer(own[name]) for name in ("peer", "listener", "oob_skb")}
    section = amend(own, {**pointers, **_queues(kernel, parts)}, ("addr",))
    return {
        "unix": section,
        "local": Endpoint(path=_name(kernel, own["addr"])),
        "peer": _peer(kernel, own["peer"]),
    }


def name_text(name: bytes) -> str:
    """A name as text that stands for just this name, whatever bytes it has.

    ``@`` begins an abstract name. UTF-8 that can be printed is kept; a backslash is doubled, and other bytes are
    written ``\\xNN``, so is the ``@`` that begins the path of a file.
    """
    if name[:1] == b"\0":
        return "@" + _escaped(name[1:])
    text = _escaped(name)
    return f"\\x40{text[1:]}" if text.startswith("@") else text


def _escaped(raw: bytes) -> str:
    text = raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in text)


def _name(kernel: Kernel, address: int | Absent) -> str | Absent:
    """The name behind a ``struct unix_address *``; a path ends with its NUL, an abstract name where its length says."""
    if isinstance(address, Absent):
        return address
    if not address:
        return _UNNAMED
    try:
        (section,) = kernel.reader(UNIX_ADDRESS).sections(address)
        start, length = kernel.offsets(UNIX_ADDRESS)["name"], section["len"]
        if not _FAMILY_BYTES <= length <= _MAX_NAME:
            return Absent(Reason.UNREADABLE, f"a name of {length} bytes can't be right")
        name = kernel.read(address + start, length)[_FAMILY_BYTES:]
    except drgn.FaultError as error:
        return kernel.unreadable(error)
    return name_text(name if name[:1] == b"\0" else name.split(b"\0", 1)[0])


def _peer(kernel: Kernel, peer: int | Absent) -> Endpoint | Absent:
    if isinstance(peer, Absent):
        return peer
    if not peer:
        return _UNCONNECTED
    try:
        full, own = kernel.reader(FULL, UNIX).sections(peer)
    except drgn.FaultError as error:
        return kernel.unreadable(error)
    return Endpoint(
        path=_name(kernel, own["addr"]), inode=full["inode"] if full["sk_socket"] else _NOT_ACCEPTED
    )


def _queues(kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """Recv-Q and Send-Q as ss prints them, and the inodes of clients that wait to be accepted."""
    sock = parts.sock
    waiting = _messages(kernel, parts.address)
    if parts.identity["skc_state"] == uapi.LISTEN:
        pending = waiting if isinstance(waiting, Absent) else _clients(kernel, waiting)
        queued, limit = sock["sk_receive_queue.qlen"], sock["sk_max_ack_backlog"]
        return {"recv_q": queued, "send_q": limit, "pending_inodes": pending}
    type_ = parts.full["sk_type"]
    if isinstance(type_, Absent):
        waiting = type_
    elif not isinstance(waiting, Absent) and type_ == uapi.SOCK_DGRAM:
        waiting = waiting[:1]
    received = waiting if isinstance(waiting, Absent) else sum(message.unread for message in waiting)
    return {"recv_q": received, "send_q": sock["wmem_alloc_bytes"], "pending_inodes": _NOT_LISTENING}


def _messages(kernel: Kernel, address: int) -> list[Message] | Absent:
    trouble: list[str] = []
    try:
        found = messages(kernel, address, trouble.append)
    except drgn.FaultError as error:
        return kernel.unreadable(error)
    return Absent(Reason.UNREADABLE, trouble[0]) if trouble else found


def _clients(kernel: Kernel, waiting: list[Message]) -> tuple[int, ...] | Absent:
    """The inodes of the clients that connected and still live: the other ends of the sockets to be accepted.

    None of them where one is unreadable: a list that lacks some would not say so.
    """
    found: list[int] = []
    for message in waiting:
        try:
            (own,) = kernel.reader(UNIX).sections(message.sk)
        except drgn.FaultError as error:
            return kernel.unreadable(error)
        peer = _peer(kernel, own["peer"])
        inode = peer.inode if isinstance(peer, Endpoint) else peer
        if isinstance(inode, int):
            found.append(inode)
        elif isinstance(inode, Absent) and inode.reason is not Reason.NOT_APPLICABLE:
            return inode
    return tuple(found)
