# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the running kernel says of the scenario's sockets: getsockopt's bytes, ss, /proc/net, each with its time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import netns
from .names import OPTIONS, SOL_TLS, STATES, UNSAFE, levels_of
from .registry import borrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .registry import Held, Registry

NUMBERS = range(128)
BUFFER = 8192
SETTLED = 5.0  # seconds until what was closed is certainly freed
TLS_INFO = 4  # version and cipher only
ABSENT = {errno.ENOPROTOOPT, errno.EOPNOTSUPP}
SS_CLOSE = (("ss", "-tanieOm"), ("ss", "-tanieOmH"))  # nearest to the point of the dump
SS_FAR = (
    ("ss", "-Maein"), ("ss", "-uaneOm"), ("ss", "-waneOm"), ("ss", "-xaneOm"), ("ss", "-0aneOm"),
    ("ss", "-f", "netlink", "-ane"), ("ss", "-f", "vsock", "-ane"), ("ss", "--xdp", "-aneOm"),
    ("ss", "-tanpe"), ("ss", "-s"),
)  # fmt: skip
FILES = (
    "tcp",
    "tcp6",
    "udp",
    "udp6",
    "udplite",
    "udplite6",
    "icmp",
    "icmp6",
    "raw",
    "raw6",
    "unix",
    "packet",
    "netlink",
    "sockstat",
    "sockstat6",
    "netstat",
    "snmp",
    "snmp6",
)

_libc = ctypes.CDLL(None, use_errno=True)
_buffer = ctypes.create_string_buffer(BUFFER)
_length = ctypes.c_uint()


def getsockopt(fd: int, level: int, number: int) -> bytes | int:
    """The bytes that the kernel copies out with a large buffer (TLS: without the keys), or the errno."""
    _length.value = TLS_INFO if level == SOL_TLS else BUFFER
    ctypes.memset(_buffer, 0, 256)
    if _libc.getsockopt(fd, level, number, _buffer, ctypes.byref(_length)):
        return ctypes.get_errno()
    return _buffer.raw[: _length.value]


def options(sock: socket.socket) -> dict[str, dict[str, Any]]:
    """{level: {number: hex, or the errno as a number}} of all that is safe to read; what is no option is left out."""
    fd = sock.fileno()
    found: dict[str, dict[str, Any]] = {}
    for level in levels_of(sock.family, sock.type, sock.proto):
        answers: dict[str, Any] = {}
        for number in NUMBERS:
            if number not in UNSAFE.get(level, ()):
                answer = getsockopt(fd, level, number)
                if isinstance(answer, bytes):
                    answers[str(number)] = answer.hex()
                elif answer not in ABSENT:
                    answers[str(number)] = answer
        found[str(level)] = answers
    return found


def _name(value: Any) -> Any:
    """A socket name as JSON: lists for tuples, text for bytes."""
    if isinstance(value, bytes):
        return (
            "@" + value[1:].decode("utf-8", "replace")
            if value[:1] == b"\0"
            else value.decode("utf-8", "replace")
        )
    return [_name(part) for part in value] if isinstance(value, tuple) else value


def _ask(call: Any) -> Any:
    try:
        return _name(call())
    except OSError:
        return None


@contextlib.contextmanager
def _at_hand(held: Held) -> Iterator[socket.socket]:
    """The socket itself, or for the length of a block a duplicate of a program's."""
    if held.owner:
        with borrowed(*held.owner) as sock:
            yield sock
    else:
        yield held.socket


def _describe(held: Held) -> dict[str, Any]:
    """Who a socket is."""
    with _at_hand(held) as sock:
        return _identity(held, sock)


def _identity(held: Held, sock: socket.socket) -> dict[str, Any]:
    pid, fd = held.owner or (os.getpid(), sock.fileno())
    cookie = getsockopt(sock.fileno(), *OPTIONS["SO_COOKIE"])
    state = None
    if sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6):
        info = getsockopt(sock.fileno(), *OPTIONS["TCP_INFO"])
        state = STATES[info[0]] if isinstance(info, bytes) and info else None
    return {
        "label": held.label,
        "pid": pid,
        "fd": fd,
        "family": int(sock.family),
        "type": int(sock.type),
        "protocol": sock.proto,
        "inode": os.fstat(sock.fileno()).st_ino,
        "cookie": int.from_bytes(cookie, "little") if isinstance(cookie, bytes) else None,
        "netns": held.netns,
        "local": _ask(sock.getsockname),
        "peer": _ask(sock.getpeername),
        "state": state,
        "inherited_from": held.inherited_from,
        "set": held.set,
    }


def _command(argv: tuple[str, ...], where: str) -> dict[str, Any]:
    start = time.monotonic()
    inside = ["nsenter", f"--net={netns.path_of(where)}", *argv]
    done = subprocess.run(inside, capture_output=True, text=True, errors="surrogateescape")
    end = time.monotonic()
    text = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
    return {
        "netns": netns.inode_of(where), "argv": list(argv), "rc": done.returncode, "start": start, "end": end,
        "stdout": text, "stderr": done.stderr,
    }  # fmt: skip


def _file(name: str, where: str) -> dict[str, Any]:
    with netns.inside(where):
        start = time.monotonic()
        try:
            text = Path("/proc/thread-self/net", name).read_text(errors="surrogateescape")
        except OSError:
            text = None
        return {
            "netns": netns.inode_of(where),
            "path": name,
            "start": start,
            "end": time.monotonic(),
            "text": text,
        }


def _answers(held: Held) -> dict[str, Any]:
    start = time.monotonic()
    with _at_hand(held) as sock:
        value = options(sock)
    return {"start": start, "end": time.monotonic(), "value": value}


def glance() -> dict[str, Any]:
    """What ss says of the TCP sockets of the initial namespace only."""
    start = time.monotonic()
    commands = [_command(SS_CLOSE[0], netns.INIT)]
    return {
        "start": start,
        "end": time.monotonic(),
        "commands": commands,
        "sockets": [],
        "options": {},
        "files": [],
    }


def _sockets_used(files: list[dict[str, Any]]) -> list[str]:
    """How many sockets each namespace counts, the first line of its sockstat."""
    return [str(one["text"]).partition("\n")[0] for one in files if one["path"] == "sockstat"]


def _settle(names: list[str], files: list[dict[str, Any]]) -> None:
    """Wait until our own ss are no more in the counts than they were in `files`: RCU frees netlink's sockets later."""
    deadline = time.monotonic() + SETTLED
    while _sockets_used([_file("sockstat", where) for where in names]) != _sockets_used(files):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)


def observe(reg: Registry, names: list[str], before: bool) -> dict[str, Any]:
    """Everything the kernel says now; `ss` for TCP last before the point of the dump, first after it."""
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("options", lambda: {label: _answers(held) for label, held in reg.held.items()}),
        ("sockets", lambda: [_describe(held) for held in reg.held.values()]),
        ("files", lambda: [_file(name, where) for where in names for name in FILES]),
        ("far", lambda: [_command(argv, where) for where in names for argv in SS_FAR]),
        ("close", lambda: [_command(argv, where) for where in names for argv in SS_CLOSE]),
    ]
    found: dict[str, Any] = {"start": time.monotonic()}
    for name, step in steps if before else reversed(steps):
        found[name] = step()
    if before:
        _settle(names, found["files"])
    found["end"] = time.monotonic()
    found["commands"] = found.pop("far") + found.pop("close")
    found["uptime"] = Path("/proc/uptime").read_text().split()[0]
    return found
