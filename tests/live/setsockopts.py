# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs in the guest: calls of every type of value, that succeed and fail, from processes, threads, other ABIs.

Prints a JSON line for each call, as the caller knows it: thread, level, number, the bytes, the result.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tiny_elf
import uring

KEY = bytes.fromhex("5ec2e7f00dcafe5ec2e7f00dcafe1234")
THREADS, TIMES = 4, 40
CALLS32 = [
    (1, 2, struct.pack("<i", 1)),
    (1, 20, struct.pack("<ii", 4, 250000)),
    (6, 13, b"reno"),
    (6, 1, struct.pack("<i", 1)),
]
_libc = ctypes.CDLL(None, use_errno=True)
_lock = threading.Lock()


def tell(tid: int, level: int, number: int, value: bytes | None, result: int, via: str = "syscall") -> None:
    with _lock:
        print(
            json.dumps(
                {
                    "tid": tid,
                    "level": level,
                    "number": number,
                    "raw": None if value is None else value.hex(),
                    "result": result,
                    "via": via,
                }
            ),
            flush=True,
        )


def call(fd: int, level: int, number: int, value: bytes | None, length: int | None = None) -> None:
    """One setsockopt(2), by libc, which passes everything on."""
    held = None if value is None else ctypes.create_string_buffer(value, len(value))
    size = len(value or b"") if length is None else length
    result = _libc.setsockopt(fd, level, number, held, size)
    tell(threading.get_native_id(), level, number, value, -ctypes.get_errno() if result < 0 else result)


def sockaddr(address: str) -> bytes:
    if ":" in address:
        return struct.pack("=HHI16sI", 10, 0, 0, socket.inet_pton(10, address), 0).ljust(128, b"\0")
    return struct.pack("=HH4s", 2, 0, socket.inet_aton(address)).ljust(128, b"\0")


def every_type() -> None:
    tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
    six, unix = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    one, zero = struct.pack("i", 1), struct.pack("i", 0)
    aton = socket.inet_aton
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xFFFFFFFF))
    fprog = struct.pack("HxxxxxxQ", 1, ctypes.addressof(program))
    for fd, level, number, value in (
        (tcp, 6, 1, one), (tcp, 6, 1, zero), (tcp, 1, 13, struct.pack("ii", 1, 3)),
        (tcp, 1, 20, struct.pack("qq", 3, 500000)), (tcp, 6, 13, b"reno"), (tcp, 6, 13, b"no-such-cc"),
        (tcp, 1, 8, struct.pack("i", 1 << 30)), (tcp, 1, 47, struct.pack("Q", 1 << 40)), (tcp, 6, 33, KEY),
        (tcp, 6, 9, struct.pack("i", 5)), (tcp, 1, 25, b"lo\0"), (tcp, 1, 25, b"\0"), (tcp, 1, 26, fprog),
        (tcp, 1, 26, struct.pack("HxxxxxxQ", 0, 0)), (tcp, 6, 4, struct.pack("i", 0)), (tcp, 99, 1, one),
        (tcp, 6, 9999, one),
        (udp, 0, 2, b"\x20"), (udp, 0, 1, struct.pack("i", 0x10)), (udp, 0, 32, aton("127.0.0.1")),
        (udp, 0, 35, aton("224.1.2.3") + aton("127.0.0.1")),
        (udp, 0, 36, aton("224.1.2.3") + aton("127.0.0.1")),
        (udp, 0, 35, aton("224.1.2.4") + aton("0.0.0.0") + one),
        (udp, 0, 39, aton("232.9.9.9") + aton("127.0.0.1") + aton("10.9.9.9")),
        (udp, 0, 42, struct.pack("=I4x", 1) + sockaddr("224.1.2.5")),
        (udp, 0, 46, struct.pack("=I4x", 1) + sockaddr("232.1.1.1") + sockaddr("10.1.1.1")),
        (six, 41, 20, socket.inet_pton(10, "ff02::99") + one), (six, 41, 26, one),
        (six, 41, 67, struct.pack("i", 0x88)),
        (six, 41, 46, struct.pack("=I4x", 1) + sockaddr("ff32::1:2") + sockaddr("2001:db8::7")),
        (unix, 1, 16, one), (netlink, 270, 1, one), (packet, 263, 1, struct.pack("iHH8s", 1, 1, 0, b"")),
        (packet, 263, 5, struct.pack("IIII", 4096, 2, 2048, 4)),
    ):  # fmt: skip
        call(fd.fileno(), level, number, value)
    call(999, 1, 2, one)
    call(tcp.fileno(), 1, 2, None, 4)
    call(tcp.fileno(), 1, 2, one, 2)
    with Path("/dev/null").open() as no_socket:
        call(no_socket.fileno(), 1, 2, one)


def at_once() -> None:
    def work() -> None:
        with socket.socket() as mine:
            for number in range(TIMES):
                call(mine.fileno(), 6, 4, struct.pack("i", 1 + number))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    child = os.fork()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def narrow() -> None:
    program = Path("/tmp/narrow")
    program.write_bytes(tiny_elf.program32(CALLS32, socketcall=True))
    program.chmod(0o755)
    with subprocess.Popen([str(program)]) as process:
        process.wait()
    assert process.returncode == 0, process.returncode
    for level, number, value in CALLS32:
        tell(process.pid, level, number, value, 0, "narrow")


def through_uring() -> None:
    with socket.socket() as mine:
        for level, number, value in ((6, 4, struct.pack("i", 77)), (6, 13, b"no-such-cc"), (6, 33, KEY)):
            result = uring.setsockopt(mine.fileno(), level, number, value)
            tell(threading.get_native_id(), level, number, value, result, "io_uring")


if __name__ == "__main__":
    every_type()
    at_once()
    narrow()
    through_uring()
