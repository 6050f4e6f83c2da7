# SPDX-License-Identifier: LGPL-2.1-or-later
"""SO_PEERNAME: the address of the peer as getpeername(2) of each family writes it."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.layout import Field, Place, resolve
from sockcrash.kernel.options.codecs import BLOB, with_text
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import INET_KINDS, Option, absent, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.options.context import Context

__all__ = ("PEERNAME_ROWS",)

_CONNECTED = 3  # SS_CONNECTED
_NOT_CONNECTED = absent("ENOTCONN: not connected")
_NO_PEERS = absent("ENOTCONN: this family has no peers")


def _row(
    text: Callable[[str], str], value: Any, *fields: Field, kinds: tuple[str, ...], **more: Any
) -> Option:
    """The value is the struct sockaddr in hexadecimal digits."""
    return Option(
        "SOL_SOCKET",
        "SO_PEERNAME",
        28,
        with_text(BLOB, text),
        fields,
        value,
        origin=kernel,
        kinds=kinds,
        **more,
    )


def _inet(
    context: Context, port: int, address: int, address6: bytes, sends_label: int, label: Any, ifindex: int
) -> Any:
    """inet_getname(), inet6_getname(): a connection that is being made counts."""
    if not port:
        return _NOT_CONNECTED
    order = context.kernel.byte_order
    if context.family == uapi.AF_INET:
        return struct.pack(order + "HHI8x", uapi.AF_INET, port, address).hex()
    scope = ifindex if ipaddress.IPv6Address(address6).is_link_local else 0
    flow = label if sends_label and isinstance(label, int) else 0
    return struct.pack(order + "HHI16sI", uapi.AF_INET6, port, flow, address6, scope).hex()


def _inet_text(value: str) -> str:
    raw = bytes.fromhex(value)
    if len(raw) == 16:
        return f"{socket.inet_ntop(socket.AF_INET, raw[4:8])}:{int.from_bytes(raw[2:4], 'big')}"
    return f"[{socket.inet_ntop(socket.AF_INET6, raw[8:24])}]:{int.from_bytes(raw[2:4], 'big')}"


def _unix(context: Context, address: Any, length: Any) -> Any:
    """unix_getname()"""
    if not isinstance(address, int):
        return _NOT_CONNECTED
    if not address:
        return struct.pack(context.kernel.byte_order + "H", uapi.AF_UNIX).hex()
    _, name, _ = resolve(context.kernel.prog, "struct unix_address", "name")
    try:
        return context.kernel.read(address + name.offset, min(length, 110)).hex()
    except drgn.FaultError as error:
        return context.kernel.unreadable(error)


def _unix_text(value: str) -> str:
    path = bytes.fromhex(value)[2:]
    text = path.rstrip(b"\0").decode("utf-8", "backslashreplace")
    return f"@{text[1:]}" if path[:1] == b"\0" else text or "unnamed"


def _netlink(context: Context, portid: int, group: int) -> str:
    """netlink_getname()"""
    mask = 1 << (group - 1) if 0 < group <= 32 else 0
    return struct.pack(context.kernel.byte_order + "HHII", uapi.AF_NETLINK, 0, portid, mask).hex()


def _netlink_text(value: str) -> str:
    return f"port {int.from_bytes(bytes.fromhex(value)[4:8], 'little')}"


def _vsock(_context: Context, state: Any, address: bytes) -> Any:
    """vsock_getname()"""
    return address.hex() if state == _CONNECTED else _NOT_CONNECTED


def _vsock_text(value: str) -> str:
    _, _, port, cid = struct.unpack("<HHII", bytes.fromhex(value)[:12])
    return f"{cid}:{port}"


def _sk(*paths: str, name: str = "") -> Field:
    return field("inet_sock", *(f"sk.__sk_common.{path}" for path in paths), name=name)


_SNDFLOW = Field(
    "sndflow",
    "struct inet_sock",
    (Place("inet_flags", bit="INET_FLAGS_SNDFLOW"), Place("pinet6->sndflow")),
)

PEERNAME_ROWS = (
    _row(
        _inet_text, _inet, _sk("skc_dport"), _sk("skc_daddr"), _sk("skc_v6_daddr"), _SNDFLOW,
        field("inet_sock", "pinet6->flow_label"), _sk("skc_bound_dev_if"), kinds=(*INET_KINDS, "mptcp"), lenient=True,
    ),
    _row(
        _unix_text, _unix, field("unix_sock", "peer-><struct unix_sock.sk>addr"),
        field("unix_sock", "peer-><struct unix_sock.sk>addr->len"), kinds=("unix",), lenient=True, fresh=True,
    ),
    _row(
        _netlink_text, _netlink, field("netlink_sock", "dst_portid"), field("netlink_sock", "dst_group"),
        kinds=("netlink",)
    ),
    _row(_vsock_text, _vsock, field("sock", "sk_socket->state"), field("vsock_sock", "remote_addr"),
        kinds=("vsock",)),
    _row(str, lambda _context: _NO_PEERS, kinds=("packet", "xdp", "other")),
)  # fmt: skip
