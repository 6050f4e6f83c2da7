# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets held in every way there is: dup, fork, a thread's own files, another PID namespace, in flight, io_uring,
sockmap, a namespace without a process, nobody any more, the kernel."""

from __future__ import annotations

import array
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import traceback
from typing import TYPE_CHECKING, Any

from . import netns
from .netns import INIT
from .tcp import fill, listener, make, pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from .registry import Registry

PR_SET_PDEATHSIG, CLONE_FILES, CLONE_NEWPID = 1, 0x400, 0x20000000
BPF, IO_URING_SETUP, IO_URING_REGISTER = 321, 425, 427
REPORT, HIGHEST = 1000, 4096
ADDRESS = ("127.0.0.1", 17000)
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def _close_but(*kept: int) -> None:
    """Close every descriptor of this table but stderr and these."""
    start = 0
    for fd in [*sorted({2, *kept}), HIGHEST]:
        os.closerange(start, fd)
        start = fd + 1


def _child(work: Callable[[], dict[str, Any]], *kept: int) -> dict[str, Any]:
    """Fork a process that keeps only these descriptors, does `work`, reports what it returns and sleeps until we end.

    If `work` returns nothing, the process ends at once.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.dup2(writer, REPORT)
            _close_but(REPORT, *kept)
            report = work()
            os.write(REPORT, json.dumps(report).encode())
            os.close(REPORT)
            while report:
                signal.pause()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        facts: dict[str, Any] = json.loads(file.read())
    if not facts:
        os.waitpid(pid, 0)
    return {"pid": pid, **facts}


def _pair(reg: Registry, label: str) -> socket.socket:
    return pair(reg, label, reg.held["hold-listen"].socket, ADDRESS)[0]


def _release(reg: Registry, label: str) -> dict[str, Any]:
    """Forget and close a held socket that something else holds too; returns what to remember it by."""
    sock = reg.held.pop(label).socket
    facts = {
        "inode": os.fstat(sock.fileno()).st_ino,
        "local": list(sock.getsockname()[:2]),
        "peer": list(sock.getpeername()[:2]),
    }
    sock.close()
    return facts


def _inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def shared(reg: Registry) -> None:
    """Two descriptors of one process; one socket in two processes; one in a child only."""
    client = _pair(reg, "hold-dup")
    reg.hold("hold-dup", "fd", pid=os.getpid(), fd=os.dup(client.fileno()), inode=_inode(client.fileno()))
    client = _pair(reg, "hold-fork")
    fd, inode = client.fileno(), _inode(client.fileno())
    reg.hold("hold-fork", "fd", inode=inode, **_child(lambda: {"fd": fd}, fd))
    client = _pair(reg, "hold-child-only")
    fd, inode = client.fileno(), _inode(client.fileno())
    facts = _child(lambda: {"fd": fd}, fd)
    reg.hold("hold-child-only", "fd", **{**facts, **_release(reg, "hold-child-only")})


def elsewhere(reg: Registry) -> None:
    """In the private table of a thread, and in another PID namespace."""
    client = _pair(reg, "hold-pidns")
    fd = client.fileno()

    def in_namespace() -> dict[str, Any]:
        _checked(_libc.unshare(CLONE_NEWPID), "unshare")
        return {"keeper": _child(lambda: {"fd": fd, "pid_inside": os.getpid()}, fd)}

    keeper = _child(in_namespace, fd)
    reg.hold("hold-pidns", "fd", outer=keeper["pid"], **{**keeper["keeper"], **_release(reg, "hold-pidns")})
    facts: dict[str, Any] = {}
    ready = threading.Event()

    def alone() -> None:
        _checked(_libc.unshare(CLONE_FILES), "unshare")
        _close_but()
        fd = socket.socket().detach()
        facts.update(pid=os.getpid(), tid=threading.get_native_id(), fd=fd, inode=_inode(fd))
        ready.set()
        threading.Event().wait()

    threading.Thread(target=alone, daemon=True).start()
    ready.wait(20)
    reg.hold("hold-thread", "fd", **facts)


def _send(through: socket.socket, fd: int) -> None:
    through.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


def in_flight(reg: Registry) -> None:
    """In the queue of a UNIX socket, and in the queue of one that is itself in flight."""
    one, two = socket.socketpair()
    reg.keep("hold-flight-sender", one)
    reg.keep("hold-flight-receiver", two)
    _send(one, _pair(reg, "hold-flight").fileno())
    facts = _release(reg, "hold-flight")
    reg.hold("hold-flight", "scm-rights", through=_inode(two.fileno()), depth=1, **facts)
    three, four = socket.socketpair()
    reg.keep("hold-flight-inner-sender", three)
    _send(three, _pair(reg, "hold-flight-deep").fileno())
    facts = _release(reg, "hold-flight-deep")
    reg.hold("hold-flight-deep", "scm-rights", through=_inode(four.fileno()), depth=2, **facts)
    reg.hold(
        "hold-flight-inner", "scm-rights", through=_inode(two.fileno()), depth=1, inode=_inode(four.fileno())
    )
    _send(one, four.fileno())
    four.close()


def io_uring(reg: Registry) -> None:
    """A fixed file of an io_uring, without a descriptor."""
    parameters = ctypes.create_string_buffer(120)
    ring = _checked(_libc.syscall(IO_URING_SETUP, 4, parameters), "io_uring_setup")
    client = _pair(reg, "hold-io-uring")
    files = (ctypes.c_int * 1)(client.fileno())
    _checked(_libc.syscall(IO_URING_REGISTER, ring, 2, files, 1), "io_uring_register")
    reg.hold("hold-io-uring", "io-uring", pid=os.getpid(), fd=ring, **_release(reg, "hold-io-uring"))


def sockmap(reg: Registry) -> None:
    """In a BPF sockmap, which replaces its protocol's operations; the descriptor stays."""
    create = ctypes.create_string_buffer(struct.pack("IIIII", 15, 4, 4, 4, 0), 128)
    table = _checked(_libc.syscall(BPF, 0, create, 128), "bpf map create")
    client = _pair(reg, "hold-sockmap")
    key, value = ctypes.c_uint(0), ctypes.c_uint(client.fileno())
    update = struct.pack("IxxxxQQQ", table, ctypes.addressof(key), ctypes.addressof(value), 0)
    element = ctypes.create_string_buffer(update, 128)
    _checked(_libc.syscall(BPF, 2, element, 128), "bpf map update")
    reg.hold("hold-sockmap", "sockmap", pid=os.getpid(), fd=table, inode=_inode(client.fileno()))


def orphan(reg: Registry) -> None:
    """A connection whose process died with data unsent."""
    server = reg.held["listen-small"].socket
    address = server.getsockname()

    def work() -> dict[str, Any]:
        client = socket.create_connection(address, timeout=20)
        fill(client)
        return {}

    _child(work)
    child, peer = server.accept()
    reg.keep("hold-orphan-child", child, inherited_from="listen-small")
    reg.gone("hold-orphan", "tcp", INIT, peer, child.getsockname(), holder="orphan")


def ghost(reg: Registry) -> None:
    """In a namespace that has neither a name nor a process any more."""
    netns.add("ghost", {})
    server = listener(reg, "hold-ghost", ("127.0.0.1", 17001), netns="ghost")
    reg.hold("hold-ghost", "fd", pid=os.getpid(), fd=server.fileno(), inode=_inode(server.fileno()))
    netns.ip("netns del ghost")


def kernel(reg: Registry) -> None:
    """A UDP socket of the kernel's own, made for a tunnel device."""
    try:
        netns.ip("link add tunnel type vxlan id 77 dstport 4799 dev lo")
    except subprocess.CalledProcessError:
        reg.refuse("hold-kernel", OSError(95, "vxlan"))
        return
    netns.ip("link set tunnel up")
    reg.gone("hold-kernel", "udp", INIT, ("0.0.0.0", 4799), ("0.0.0.0", 0), holder="kernel", user="vxlan")


def secret(reg: Registry) -> None:
    """A process that holds one socket and a secret in its memory."""
    sock = reg.keep("hold-secret", make())
    value = reg.secret("memory of the process of hold-secret, which no test selects")
    fd = sock.fileno()
    reg.hold("hold-secret", "fd", inode=_inode(fd), **_child(lambda: {"fd": fd, "kept": len(value)}, fd))


def open_all(reg: Registry) -> None:
    """Each of them; what this kernel refuses is noted."""
    listener(reg, "hold-listen", ADDRESS)
    for step in (shared, elsewhere, in_flight, io_uring, sockmap, orphan, ghost, kernel, secret):
        try:
            step(reg)
        except OSError as error:
            reg.refuse(f"holders: {step.__name__}", error)
