# SPDX-License-Identifier: LGPL-2.1-or-later
"""setsockopt through io_uring (Linux 6.7), by bare system calls."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

__all__ = ("setsockopt",)

_SETUP, _ENTER = 425, 426
_OP_URING_CMD, _SETSOCKOPT = 46, 3
_SQES = 0x10000000
_GETEVENTS = 1
_libc = ctypes.CDLL(None, use_errno=True)


def setsockopt(fd: int, level: int, number: int, value: bytes) -> int:
    """The result of the operation: 0, or a negative errno; of the setup, if there is no io_uring."""
    params = ctypes.create_string_buffer(120)
    ring = _libc.syscall(_SETUP, 2, params)
    if ring < 0:
        return -ctypes.get_errno()
    try:
        return _submit(ring, params.raw, fd, level, number, value)
    finally:
        os.close(ring)


def _submit(ring: int, params: bytes, fd: int, level: int, number: int, value: bytes) -> int:
    entries, more = struct.unpack_from("<II", params)
    _, tail, _, _, _, _, array = struct.unpack_from("<7I", params, 40)
    _, _, _, _, _, cqes = struct.unpack_from("<6I", params, 80)
    held = ctypes.create_string_buffer(value, len(value))
    with (
        mmap.mmap(ring, max(array + entries * 4, cqes + more * 16)) as rings,
        mmap.mmap(ring, entries * 64, offset=_SQES) as sqes,
    ):
        sqes[:64] = struct.pack(
            "<BBHiIIIIIIQHHIQQ",
            *(_OP_URING_CMD, 0, 0, fd, _SETSOCKOPT, 0, level, number, 0, 0, 7, 0, 0),
            *(len(value), ctypes.addressof(held), 0),
        )
        struct.pack_into("<I", rings, array, 0)
        struct.pack_into("<I", rings, tail, 1)
        if _libc.syscall(_ENTER, ring, 1, 1, _GETEVENTS, None, 0) < 0:
            return -ctypes.get_errno()
        return int(struct.unpack_from("<Qi", rings, cqes)[1])
