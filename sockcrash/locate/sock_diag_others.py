# SPDX-License-Identifier: LGPL-2.1-or-later
"""Questions about UNIX, PACKET, NETLINK and VSOCK sockets to sock_diag (include/uapi/linux/*_diag.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sockcrash.kernel import uapi
from sockcrash.locate.answer import Answer, Query, state_bits
from sockcrash.locate.netlink import DiagError, attributes
from sockcrash.model import Absent, Endpoint, Reason

__all__ = (
    "netlink_answer", "netlink_requests", "packet_answer", "packet_requests", "unix_answer", "unix_requests",
    "vsock_answer", "vsock_requests",
)  # fmt: skip

_ANY = 0xFFFFFFFF
_NO_PEER = Absent(Reason.NOT_APPLICABLE, "not connected")
_UNNAMED = Absent(Reason.NOT_ASSIGNED, "unnamed")
_NOT_TOLD = Absent(Reason.NOT_APPLICABLE, "sock_diag doesn't tell it")
_U32 = struct.Struct("=I")

_UNIX_REQUEST = struct.Struct("=BBxxIIIII")
_UNIX_ANSWER = struct.Struct("=BBBxIII")
_SHOW_NAME, _SHOW_PEER, _SHOW_QUEUES, _SHOW_UID = 0x01, 0x04, 0x10, 0x40
_NAME, _PEER, _QUEUES, _UID = 0, 2, 4, 7


def unix_requests(query: Query) -> Iterator[bytes]:
    """A struct unix_diag_req."""
    if not query.of_inet:
        show = _SHOW_NAME | _SHOW_PEER | _SHOW_QUEUES | _SHOW_UID
        yield _UNIX_REQUEST.pack(uapi.AF_UNIX, 0, state_bits(query.states), 0, show, _ANY, _ANY)


def unix_answer(body: bytes) -> Answer:
    """A struct unix_diag_msg."""
    _, kind, state, inode, low, high = _unpack(_UNIX_ANSWER, body)
    told = attributes(body, _UNIX_ANSWER.size)
    peer, queues = _number(told.get(_PEER)), told.get(_QUEUES, b"")
    recv_q, send_q = struct.unpack_from("=II", queues) if len(queues) >= 8 else (None, None)
    return Answer(
        kind="unix",
        family="AF_UNIX",
        type=uapi.name_of(uapi.TYPES, kind),
        state=uapi.name_of(uapi.TCP_STATES, state),
        local=Endpoint(path=_path(told.get(_NAME))),
        peer=_NO_PEER if peer is None else Endpoint(path=_NOT_TOLD, inode=peer),
        inode=inode,
        cookie=high << 32 | low,
        uid=_number(told.get(_UID)),
        recv_q=recv_q,
        send_q=send_q,
    )


def _path(name: bytes | None) -> str | Absent:
    """A name, ``@`` for the NUL that begins an abstract one."""
    if not name:
        return _UNNAMED
    raw = b"@" + name[1:] if name[:1] == b"\0" else name.split(b"\0", 1)[0]
    return raw.decode("utf-8", "backslashreplace")


def _number(raw: bytes | None) -> int | None:
    return _U32.unpack_from(raw)[0] if raw is not None and len(raw) >= 4 else None


_PACKET_REQUEST = struct.Struct("=BBxxIIII")
_PACKET_ANSWER = struct.Struct("=BBHIII")
_SHOW_INFO = 0x01
_PACKET_INFO, _PACKET_UID = 0, 5


def packet_requests(query: Query) -> Iterator[bytes]:
    """A struct packet_diag_req; PACKET sockets have no state to choose by."""
    if not query.of_inet and not query.states:
        yield _PACKET_REQUEST.pack(uapi.AF_PACKET, 0, 0, _SHOW_INFO, _ANY, _ANY)


def packet_answer(body: bytes) -> Answer:
    """A struct packet_diag_msg."""
    _, kind, protocol, inode, low, high = _unpack(_PACKET_ANSWER, body)
    told = attributes(body, _PACKET_ANSWER.size)
    ifindex = _number(told.get(_PACKET_INFO)) or 0
    return Answer(
        kind="packet",
        family="AF_PACKET",
        type=uapi.name_of(uapi.TYPES, kind),
        state="CLOSE",
        local=Endpoint(ifindex=ifindex, ethertype=protocol),
        peer=_NO_PEER,
        inode=inode,
        cookie=high << 32 | low,
        uid=_number(told.get(_PACKET_UID)),
        ifindex=ifindex,
    )


_NETLINK_REQUEST = struct.Struct("=BBxxIIII")
_NETLINK_ANSWER = struct.Struct("=BBBBIIIIII")
_ALL_PROTOCOLS = 0xFF


def netlink_requests(query: Query) -> Iterator[bytes]:
    """A struct netlink_diag_req; NETLINK sockets have no state to choose by either."""
    if not query.of_inet and not query.states:
        yield _NETLINK_REQUEST.pack(uapi.AF_NETLINK, _ALL_PROTOCOLS, 0, 0, _ANY, _ANY)


def netlink_answer(body: bytes) -> Answer:
    """A struct netlink_diag_msg."""
    _, kind, number, state, portid, peer, _, inode, low, high = _unpack(_NETLINK_ANSWER, body)
    protocol = uapi.name_of(uapi.NETLINK_PROTOCOLS, number)
    connected = state == uapi.NETLINK_CONNECTED
    return Answer(
        kind="netlink",
        family="AF_NETLINK",
        type=uapi.name_of(uapi.TYPES, kind),
        state=uapi.netlink_state(state),
        protocol=protocol,
        local=Endpoint(protocol=protocol, portid=portid),
        peer=Endpoint(protocol=protocol, portid=peer) if connected else _NO_PEER,
        inode=inode,
        cookie=high << 32 | low,
    )


_VSOCK_REQUEST = struct.Struct("=BBxxIIIII")
_VSOCK_ANSWER = struct.Struct("=BBBBIIIIIII")


def vsock_requests(query: Query) -> Iterator[bytes]:
    """A struct vsock_diag_req."""
    if not query.of_inet:
        yield _VSOCK_REQUEST.pack(uapi.AF_VSOCK, 0, state_bits(query.states), 0, 0, _ANY, _ANY)


def vsock_answer(body: bytes) -> Answer:
    """A struct vsock_diag_msg."""
    _, kind, state, _, cid, port, peer_cid, peer_port, inode, low, high = _unpack(_VSOCK_ANSWER, body)
    return Answer(
        kind="vsock",
        family="AF_VSOCK",
        type=uapi.name_of(uapi.TYPES, kind),
        state=uapi.name_of(uapi.TCP_STATES, state),
        local=Endpoint(cid=cid, port=port),
        peer=Endpoint(cid=peer_cid, port=peer_port),
        inode=inode,
        cookie=high << 32 | low,
    )


def _unpack(shape: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) < shape.size:
        raise DiagError("sock_diag: an answer is too short")
    return shape.unpack_from(body)
