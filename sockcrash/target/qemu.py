# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a QEMU guest over QMP, never waiting for long, or the reason why it can't be opened."""

from __future__ import annotations

import errno
import json
import re
import socket
import stat
import struct
import time
from pathlib import Path

import drgn

from sockcrash.errors import TargetError

TIMEOUT_SECONDS = 10
GREETING_LIMIT = 1 << 16
HOST_PORT = re.compile(r"(?P<host>[^/.].*|):(?P<port>[0-9]{1,5})")
OPTION = "-qmp unix:PATH,server=on,wait=off"


def open_guest(address: str, platform: drgn.Platform | None, vmcoreinfo: bytes | None) -> drgn.Program:
    """A program over the memory of the guest behind ``address``. TargetError: why not, and what to do.

    ``platform`` and ``vmcoreinfo`` are what the user said of the guest, None where QEMU is to be asked.
    """
    prog = drgn.Program(platform)
    connection = connect(address)
    try:
        prog.set_qemu_qmp(connection.detach())
        if vmcoreinfo is not None:
            return _as_linux(prog, vmcoreinfo)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EAGAIN:
            raise _busy(address) from error
        raise TargetError(f"--qemu {address}: {error}", hint="--log-level debug shows more") from error
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise TargetError(
            f"--qemu {address}: the guest does not say what kernel it runs (no VMCOREINFO)",
            hint="run QEMU with -device vmcoreinfo, load qemu_fw_cfg in the guest and use its Unix socket, "
            "or give the kernel's VMCOREINFO text with --vmcoreinfo FILE",
        )
    return prog


def _as_linux(guest: drgn.Program, vmcoreinfo: bytes) -> drgn.Program:
    """``guest`` as a Linux kernel: set_qemu_qmp (drgn 0.3) takes no notice of VMCOREINFO that it is given."""
    prog = drgn.Program(guest.platform)

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:  # noqa: ARG001
        data: bytes = guest.read(address, count, physical=True)
        return data

    prog.add_memory_segment(0, 0xFFFFFFFFFFFFFFFF, read, physical=True)
    prog.set_linux_kernel_custom(vmcoreinfo, True)
    return prog


def connect(address: str) -> socket.socket:
    """Connect to ``address`` (socket path, or host:port) and see that QMP greets there; nothing is consumed.

    Each later read or write on the socket fails after TIMEOUT_SECONDS rather than hang.
    """
    match = HOST_PORT.fullmatch(address)
    if match and 1 <= int(match["port"]) <= 65535:
        connection = _connect_tcp(address, match["host"] or "localhost", int(match["port"]))
    else:
        connection = _connect_unix(address)
    try:
        _expect_greeting(connection, address)
        connection.settimeout(None)
        deadline = struct.pack("ll", TIMEOUT_SECONDS, 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_tcp(address: str, host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host.strip("[]"), port), timeout=TIMEOUT_SECONDS)
    except socket.gaierror as error:
        raise TargetError(
            f"--qemu {address}: {error.strerror}",
            hint="give HOST:PORT, or a socket's path that begins with / or .",
        ) from None
    except (OSError, UnicodeError) as error:
        raise TargetError(
            f"--qemu {address}: {error}",
            hint=f"is QEMU running there with -qmp tcp:{address},server=on,wait=off?",
        ) from None


def _connect_unix(path: str) -> socket.socket:
    try:
        is_socket = stat.S_ISSOCK(Path(path).stat().st_mode)
    except FileNotFoundError:
        raise TargetError(f"--qemu {path}: no such socket", hint=f"start QEMU with {OPTION}") from None
    except (OSError, ValueError) as error:
        raise TargetError(f"--qemu {path}: {error}", hint="give the path of QEMU's QMP socket") from None
    if not is_socket:
        raise TargetError(
            f"--qemu {path}: this is not a socket",
            hint=f"start QEMU with {OPTION}; for a dump file use -c {path}",
        )
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_SECONDS)
    try:
        connection.connect(path)
    except ConnectionRefusedError:
        connection.close()
        raise TargetError(f"--qemu {path}: nobody listens there", hint="has that QEMU ended?") from None
    except PermissionError:
        connection.close()
        raise TargetError(
            f"--qemu {path}: permission denied", hint="run as the user who runs QEMU, or as root"
        ) from None
    except (BlockingIOError, TimeoutError):
        connection.close()
        raise _busy(path) from None
    except OSError as error:
        connection.close()
        raise TargetError(f"--qemu {path}: {error}", hint="give the path of QEMU's QMP socket") from None
    return connection


def _busy(address: str) -> TargetError:
    return TargetError(
        f"--qemu {address}: no answer within {TIMEOUT_SECONDS} seconds",
        hint="a QMP socket serves one client at a time: close the other one (libvirt, a script), "
        "or start QEMU with a second -qmp socket",
    )


def _expect_greeting(connection: socket.socket, address: str) -> None:
    """Look at, but do not take, what the other side says first."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    said = b""
    while b"\n" not in said and len(said) < GREETING_LIMIT and time.monotonic() < deadline:
        try:
            now = connection.recv(GREETING_LIMIT, socket.MSG_PEEK)
        except TimeoutError:
            break
        except OSError as error:
            raise TargetError(f"--qemu {address}: {error}", hint="has that QEMU ended?") from None
        if now == said:
            if not now:
                raise TargetError(
                    f"--qemu {address}: the connection was closed at once", hint="is this QEMU's QMP socket?"
                )
            time.sleep(0.01)
        said = now
    if not said:
        raise _busy(address)
    try:
        is_qmp = "QMP" in json.loads(said.split(b"\n", 1)[0])
    except (ValueError, TypeError, RecursionError):
        is_qmp = False
    if not is_qmp:
        hint = f"start QEMU with {OPTION}"
        if b"(qemu)" in said or b"monitor" in said:
            hint = f"this is QEMU's monitor for people; {hint} beside it"
        raise TargetError(f"--qemu {address}: what answers there is not QMP", hint=hint)
