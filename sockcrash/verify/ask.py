# SPDX-License-Identifier: LGPL-2.1-or-later
"""getsockopt(2) of sockets of this or another process: all the bytes that an option can fill, and no side effect."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import select
import signal
import time
from typing import TYPE_CHECKING

from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.verify.compare import SO_GET_FILTER, Answers, Key, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ("COOKIE", "KNOWN", "UNSAFE", "answers", "ask", "foreign_answers")

_BUFFER = 65536
_SYS_PIDFD_GETFD = 438  # x86_64 and the architectures that use asm-generic/unistd.h
_INSTRUCTION = 8


# Reading these changes the socket, opens a descriptor, or hands out keys.
UNSAFE: frozenset[Key] = frozenset(map(key_of, (
    "SO_ERROR", "SO_PEERPIDFD", "TCP_SAVED_SYN", "TCP_ZEROCOPY_RECEIVE", "PACKET_STATISTICS", "TCP_FASTOPEN_KEY",
    "TCP_AO_GET_KEYS", "TLS_TX", "TLS_RX",
)))  # fmt: skip
KNOWN: tuple[Key, ...] = tuple(
    sorted({(LEVELS[level], row.number) for row in ROWS for level in (row.level, *row.also)} - UNSAFE)
)
_PEERNAME = key_of("SO_PEERNAME")
# Reading it makes one where there is none yet.
COOKIE = key_of("SO_COOKIE")
# The kernel refuses any other length.
_LENGTHS = {
    key_of("SO_NETNS_COOKIE"): (8,),
    key_of("TCP_REPAIR_WINDOW"): (20,),
    key_of("TLS_TX_ZEROCOPY_RO"): (4,),
    key_of("TCP_AO_INFO"): (48,),
}

_libc = ctypes.CDLL(None, use_errno=True)
_buffer = ctypes.create_string_buffer(_BUFFER)
_length = ctypes.c_uint()


def ask(fd: int, level: int, number: int) -> bytes | int:
    """What the kernel copies out, or the errno."""
    key = level, number
    if key == _PEERNAME:
        return _peername(fd)
    answer: bytes | int = errno.EINVAL
    for length in _LENGTHS.get(key, (_BUFFER,)):
        _length.value = length
        ctypes.memset(_buffer, 0, 256)
        if not _libc.getsockopt(fd, level, number, _buffer, ctypes.byref(_length)):
            size = _length.value * (_INSTRUCTION if key == SO_GET_FILTER else 1)
            return _buffer.raw[:size]
        answer = ctypes.get_errno()
        if answer != errno.EINVAL:
            break
    return answer


def _peername(fd: int) -> bytes | int:
    """SO_PEERNAME gives no more than is asked for and refuses to give less, so all lengths are tried."""
    for length in range(110, 1, -1):
        _length.value = length
        if not _libc.getsockopt(fd, *_PEERNAME, _buffer, ctypes.byref(_length)):
            return _buffer.raw[: _length.value]
        if ctypes.get_errno() != errno.EINVAL:
            break
    return ctypes.get_errno()


def answers(fd: int, keys: Iterable[Key]) -> dict[Key, bytes | int]:
    """Many options of one descriptor."""
    return {key: ask(fd, *key) for key in keys}


def foreign_answers(pid: int, wanted: Mapping[int, Iterable[Key]], seconds: float) -> dict[int, Answers]:
    """Answers for descriptors of another process, by descriptor; those that are gone or not to be had are left out.

    ``wanted``: which options of which descriptor.

    A child process asks, one descriptor at a time, each closed at once. What it has not answered in ``seconds`` is
    left out: getsockopt waits while something else holds the socket. PermissionError without ptrace rights.
    """

    def work(send: Callable[[object], None]) -> None:
        pidfd = os.pidfd_open(pid)
        for fd, keys in wanted.items():
            copy = _libc.syscall(_SYS_PIDFD_GETFD, pidfd, fd, 0)
            if copy < 0:
                send((fd, ctypes.get_errno()))
                continue
            try:
                send((fd, answers(copy, keys)))
            finally:
                os.close(copy)

    found: dict[int, Answers] = {}
    for fd, answer in _in_child(work, seconds):
        if isinstance(answer, int):
            if answer == errno.EPERM:
                raise PermissionError(answer, os.strerror(answer))
        else:
            found[fd] = answer
    return found


def _in_child(
    work: Callable[[Callable[[object], None]], None], seconds: float
) -> list[tuple[int, Answers | int]]:
    """What ``work`` sends from a child process before the deadline."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(work, reader, writer)
    os.close(writer)
    deadline = time.monotonic() + seconds
    content = bytearray()
    while (left := deadline - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        piece = os.read(reader, 1 << 20)
        if not piece:
            break
        content += piece
    os.close(reader)
    _end(child)
    return _unpack(bytes(content))


def _child(work: Callable[[Callable[[object], None]], None], reader: int, writer: int) -> None:
    """The child: never returns, and writes each answer as its length and a pickle."""
    status = 1
    try:
        os.close(reader)

        def send(answer: object) -> None:
            raw = pickle.dumps(answer)
            view = len(raw).to_bytes(4, "big") + raw
            while view:
                view = view[os.write(writer, view) :]

        work(send)
        status = 0
    finally:
        os._exit(status)


def _unpack(content: bytes) -> list[tuple[int, Answers | int]]:
    found = []
    while len(content) >= 4:
        size = int.from_bytes(content[:4], "big")
        if len(content) < 4 + size:
            break
        found.append(pickle.loads(content[4 : 4 + size]))
        content = content[4 + size :]
    return found


def _end(child: int) -> None:
    """End the child; one that hangs inside the kernel is left to it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    for _ in range(50):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.02)
