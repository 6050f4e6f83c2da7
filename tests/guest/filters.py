# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs attached to sockets: classic and extended BPF that let everything through."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

from .names import SOL_SOCKET

if TYPE_CHECKING:
    from .registry import Registry

SYS_BPF, PROG_LOAD, OBJ_GET_INFO, SOCKET_FILTER = 321, 5, 15, 1
NAME = b"let_all_through"
CLASSIC = struct.pack("HHI", 6, 0, 0xFFFFFFFF)  # BPF_RET | BPF_K
EXTENDED = struct.pack("BBhi", 0xB7, 0, 0, -1) + struct.pack("BBhi", 0x95, 0, 0, 0)  # r0 = -1; exit
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 144)
    result: int = _libc.syscall(SYS_BPF, command, buffer, 144)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result


def classic(reg: Registry, label: str) -> None:
    """SO_ATTACH_FILTER."""
    code = ctypes.create_string_buffer(CLASSIC)
    reg.apply(label, "SO_ATTACH_FILTER", SOL_SOCKET, 26, struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))


def extended(reg: Registry, label: str) -> None:
    """SO_ATTACH_BPF; what `set` records of it is the program's name and id, not the descriptor."""
    code, licence = ctypes.create_string_buffer(EXTENDED), ctypes.create_string_buffer(b"GPL")
    load = struct.pack("IIQQ", SOCKET_FILTER, 2, ctypes.addressof(code), ctypes.addressof(licence))
    program = _bpf(PROG_LOAD, load + bytes(24) + NAME.ljust(16, b"\0"))
    about = ctypes.create_string_buffer(256)
    _bpf(OBJ_GET_INFO, struct.pack("IIQ", program, 256, ctypes.addressof(about)))
    reg.apply(label, "SO_ATTACH_BPF", SOL_SOCKET, 50, program)
    reg.held[label].set[-1].update(program=NAME.decode(), id=struct.unpack_from("I", about.raw, 4)[0])
    os.close(program)
