# SPDX-License-Identifier: LGPL-2.1-or-later
"""Asking the running kernel over netlink (sock_diag(7)): one dump request, and what comes back. Standard library only.

It never waits beyond its deadline, and takes nothing for granted of what it receives.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sockcrash.errors import TargetError

__all__ = ("DiagError", "Dump", "attributes", "collect", "dump")

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_MULTI_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_NOOP, _ERROR, _DONE, _OVERRUN = 1, 2, 3, 4
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER = 1 << 18
_MAX_ANSWERS = 1 << 24
_CLONE_NEWNET = 0x40000000


class DiagError(TargetError):
    """The kernel doesn't answer, or not this question. ``number`` is the errno that it gave, 0 if none."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class Dump:
    """The bodies of the answers; ``interrupted`` if the tables changed meanwhile, so that some may be missing."""

    bodies: tuple[bytes, ...]
    interrupted: bool


def dump(request: bytes, *, timeout: float, netns: str | None = None) -> Dump:
    """Send one dump request and gather its answers. ``netns`` is a path, such as /run/netns/blue. DiagError."""
    deadline = time.monotonic() + timeout
    number = int.from_bytes(os.urandom(4), "little")
    message = (
        _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, number, 0) + request
    )
    try:
        with _socket_in(netns) as sock:
            sock.settimeout(max(timeout, 0.001))
            sock.sendto(message, (0, 0))
            return collect(_datagrams(sock, deadline), number)
    except TimeoutError:
        raise DiagError(f"the kernel didn't answer sock_diag within {timeout:g} s") from None
    except OSError as error:
        raise DiagError(f"sock_diag: {error.strerror or error}", error.errno or 0) from None


def _datagrams(sock: socket.socket, deadline: float) -> Iterator[bytes]:
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        data, _, flags, sender = sock.recvmsg(_BUFFER)
        if sender[0] != 0:  # not from the kernel
            continue
        if flags & socket.MSG_TRUNC:
            raise DiagError("sock_diag: an answer was cut off")
        yield data


def collect(datagrams: Iterable[bytes], number: int) -> Dump:
    """The answers to request ``number`` out of datagrams, up to the last one's end. DiagError for what is damaged."""
    bodies: list[bytes] = []
    interrupted = False
    for data in datagrams:
        for kind, flags, answered, body in _messages(data):
            if answered != number or kind == _NOOP:
                continue
            interrupted = interrupted or bool(flags & _MULTI_INTERRUPTED) or kind == _OVERRUN
            if kind in (_DONE, _ERROR):
                _check(kind, body)
                return Dump(tuple(bodies), interrupted)
            if kind == SOCK_DIAG_BY_FAMILY:
                bodies.append(body)
                if len(bodies) > _MAX_ANSWERS:
                    raise DiagError("sock_diag: there is no end to the answers")
    raise DiagError("sock_diag: the answers have no end")


def _check(kind: int, body: bytes) -> None:
    """Raise the error that an end of answers holds, if any: both begin with a negative errno or 0."""
    number = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if number > 0:
        raise DiagError(f"sock_diag: {os.strerror(number)}", number)
    if kind == _ERROR and len(body) < 4:
        raise DiagError("sock_diag: a damaged error")


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, number and body of each message of a datagram."""
    at = 0
    while len(data) - at >= _HEADER.size:
        length, kind, flags, number, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise DiagError("sock_diag: a damaged answer")
        yield kind, flags, number, data[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The attributes that follow the fixed part of an answer; the last of a type counts. DiagError."""
    found: dict[int, bytes] = {}
    at = start
    while len(body) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if not _ATTRIBUTE.size <= length <= len(body) - at:
            raise DiagError("sock_diag: a damaged attribute")
        found[kind & 0x3FFF] = body[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def _socket_in(netns: str | None) -> socket.socket:
    """A sock_diag socket of a network namespace, for which a thread of its own goes there; OSError."""
    if netns is None:
        return _diag_socket()
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            _enter(netns)
            made.append(_diag_socket())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def _diag_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)


def _enter(netns: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, _CLONE_NEWNET):
            number = ctypes.get_errno() or errno.EPERM
            raise OSError(number, os.strerror(number), netns)
    finally:
        os.close(fd)
