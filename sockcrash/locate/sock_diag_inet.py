# SPDX-License-Identifier: LGPL-2.1-or-later
"""Questions about inet sockets to sock_diag, with filters that run in the kernel (include/uapi/linux/inet_diag.h)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from sockcrash.kernel import uapi
from sockcrash.locate.answer import Answer, Query, state_bits
from sockcrash.locate.netlink import DiagError
from sockcrash.model import Endpoint

__all__ = ("PROTOCOLS", "answer", "bytecode", "requests")

PROTOCOLS = {
    "tcp": uapi.IPPROTO_TCP, "udp": uapi.IPPROTO_UDP, "udplite": uapi.IPPROTO_UDPLITE, "raw": 255,
    "mptcp": uapi.IPPROTO_MPTCP,
}  # fmt: skip
_TYPES = {
    "tcp": uapi.SOCK_STREAM, "mptcp": uapi.SOCK_STREAM, "udp": uapi.SOCK_DGRAM, "udplite": uapi.SOCK_DGRAM,
    "raw": uapi.SOCK_RAW,
}  # fmt: skip
_REQUEST = struct.Struct("=BBBxI")
_SOCKID = struct.Struct("!HH16s16s")
_INTERFACE_COOKIE = struct.Struct("=III")
_ANY_COOKIE = _SOCKID.pack(0, 0, bytes(16), bytes(16)) + _INTERFACE_COOKIE.pack(0, 0xFFFFFFFF, 0xFFFFFFFF)
_HEAD = struct.Struct("=BBBB")
_TAIL = struct.Struct("=IIIII")
_BYTECODE, _PROTOCOL = 1, 3
_JMP, _S_COND, _D_COND = 1, 7, 8
_OP = struct.Struct("=BBH")
_TIMER_REQUEST, _TIMER_TIMEWAIT = 1, 3

Condition = tuple[int, bytes]
"""An instruction of the kernel's filters and its operand."""


def requests(kind: str) -> Callable[[Query], Iterator[bytes]]:
    """What makes the requests for one kind, one per family."""

    def make(query: Query) -> Iterator[bytes]:
        program = bytecode(_conditions(query))
        number = PROTOCOLS[kind]
        more = _attribute(_BYTECODE, program) if program else b""
        if number > 0xFF:
            more += _attribute(_PROTOCOL, struct.pack("=I", number))
        for family in _families(query):
            yield _REQUEST.pack(family, number & 0xFF, 0, state_bits(query.states)) + _ANY_COOKIE + more

    return make


def _families(query: Query) -> Iterator[int]:
    """IPv6 sockets may have IPv4 ends; not the other way around."""
    if not any(isinstance(one, IPv6Network) for one in (query.src, query.dst)):
        yield uapi.AF_INET
    yield uapi.AF_INET6


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _conditions(query: Query) -> list[list[Condition]]:
    """All of these must hold, of each list one."""
    found: list[list[Condition]] = []
    for code, port, network in ((_S_COND, query.sport, query.src), (_D_COND, query.dport, query.dst)):
        if port is not None or network is not None:
            found.append([(code, _host(port, network))])
    if query.port is not None:
        found.append([(code, _host(query.port, None)) for code in (_S_COND, _D_COND)])
    return found


def _host(port: int | None, network: IPv4Network | IPv6Network | None) -> bytes:
    """A struct inet_diag_hostcond: family, length of the prefix, port or -1, address."""
    family, length, address = 0, 0, b""
    if network is not None:
        family = uapi.AF_INET if network.version == 4 else uapi.AF_INET6
        length, address = network.prefixlen, network.network_address.packed
    return struct.pack("=BBxxi", family, length, -1 if port is None else port) + address


def bytecode(groups: Sequence[Sequence[Condition]]) -> bytes:
    """A program that accepts a socket if of each group one condition holds.

    Every instruction jumps ``yes`` or ``no`` bytes forward; to the end of the program is to accept, four bytes beyond
    it to refuse. ``yes`` always leads to the next instruction, for the kernel checks programs along that way.
    """
    sizes = [
        sum(_OP.size + len(operand) for _, operand in group) + _OP.size * (len(group) - 1) for group in groups
    ]
    left = sum(sizes)
    program = b""
    for group, size in zip(groups, sizes, strict=True):
        end = left - size
        for code, operand in group[:-1]:
            length = _OP.size + len(operand)
            program += _OP.pack(code, length, length + _OP.size) + operand
            left -= length
            program += _OP.pack(_JMP, _OP.size, left - end)
            left -= _OP.size
        code, operand = group[-1]
        program += _OP.pack(code, _OP.size + len(operand), left + 4) + operand
        left = end
    return program


def answer(kind: str) -> Callable[[bytes], Answer]:
    """What reads one struct inet_diag_msg of a kind. DiagError if it is too short or of no such family."""
    size = _HEAD.size + _SOCKID.size + _INTERFACE_COOKIE.size + _TAIL.size

    def read(body: bytes) -> Answer:
        if len(body) < size:
            raise DiagError("sock_diag: an answer is too short")
        family, state, timer, _ = _HEAD.unpack_from(body)
        sport, dport, src, dst = _SOCKID.unpack_from(body, _HEAD.size)
        ifindex, low, high = _INTERFACE_COOKIE.unpack_from(body, _HEAD.size + _SOCKID.size)
        _, recv_q, send_q, uid, inode = _TAIL.unpack_from(body, size - _TAIL.size)
        if family not in (uapi.AF_INET, uapi.AF_INET6):
            raise DiagError(f"sock_diag: an answer about family {family}")
        return Answer(
            kind=_kind(kind, state, timer, inode),
            family=uapi.FAMILIES[family],
            type=uapi.TYPES[_TYPES[kind]],
            state=uapi.name_of(uapi.TCP_STATES, state),
            local=_endpoint(family, src, sport),
            peer=_endpoint(family, dst, dport),
            inode=inode,
            cookie=high << 32 | low,
            uid=uid,
            ifindex=ifindex,
            recv_q=recv_q,
            send_q=send_q,
        )

    return read


def _kind(kind: str, state: int, timer: int, inode: int) -> str:
    """Mini sockets have no inode, and timers that tell of them."""
    if kind != "tcp" or inode:
        return kind
    if timer == _TIMER_TIMEWAIT:
        return "tcp-timewait"
    return "tcp-request" if uapi.TCP_STATES.get(state) == "SYN_RECV" and timer == _TIMER_REQUEST else kind


def _endpoint(family: int, address: bytes, port: int) -> Endpoint:
    if family == uapi.AF_INET:
        return Endpoint(address=socket.inet_ntop(socket.AF_INET, address[:4]), port=port)
    return Endpoint(address=socket.inet_ntop(socket.AF_INET6, address), port=port)
