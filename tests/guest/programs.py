# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of programs that nobody here wrote (nginx, redis-server, sshd), and of NFS mounted over loopback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .netns import INIT

if TYPE_CHECKING:
    from .registry import Registry

ROOM = Path("/run/programs")
NGINX = """daemon on; pid /run/programs/nginx.pid; error_log /dev/null; worker_processes 1;
events { worker_connections 64; }
http { access_log off; server { listen 127.0.0.1:8080; listen [::1]:8080; root /run/programs; } }
"""
ESTABLISHED, LISTEN = "01", "0A"  # as /proc/net/tcp has them
PORTS = {"nginx": 8080, "redis": 6390, "sshd": 2222}
COMMANDS = {
    "nginx": ["nginx", "-c", "/run/programs/nginx.conf"],
    "redis": ["redis-server", "--port", "6390", "--bind", "127.0.0.1", "--save", "", "--daemonize", "yes"],
    "sshd": ["/usr/sbin/sshd", "-p", "2222", "-o", "ListenAddress=127.0.0.1", "-o", "PidFile=none"],
}
GREETINGS = {"nginx": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "redis": b"PING\r\n", "sshd": b"SSH-2.0-test\r\n"}
NFS = (
    "modprobe nfsd", "mount -t nfsd nfsd /proc/fs/nfsd", "rpcbind -w", "mkdir -p /srv/share /mnt/share",
    "exportfs -o rw,no_root_squash,insecure,fsid=1 127.0.0.1:/srv/share", "rpc.nfsd --no-udp 2", "rpc.mountd",
    "mount -t nfs -o vers=3,proto=tcp,mountproto=tcp,nolock 127.0.0.1:/srv/share /mnt/share",
    "sh -c 'echo hello > /mnt/share/file'",
)  # fmt: skip


def _run(command: list[str] | str) -> None:
    """Run a command that daemonizes itself or ends; OSError with its words if it fails."""
    with (ROOM / "log").open("w+b") as log:
        done = subprocess.run(command, shell=isinstance(command, str), stdout=log, stderr=log, timeout=60)
        if done.returncode:
            raise OSError(done.returncode, f"{command}: {(ROOM / 'log').read_text()[-300:]}")


def _connect(port: int) -> socket.socket:
    """A connection to a server that is just starting."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _borrow(reg: Registry, comms: set[str]) -> None:
    """List every socket of the processes with these names."""
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            comm = (process / "comm").read_text().strip()
            links = {int(fd.name): os.readlink(fd) for fd in (process / "fd").iterdir()}  # noqa: PTH115
        except OSError:
            continue
        if comm in comms:
            for fd, target in sorted(links.items()):
                if re.fullmatch(r"socket:\[\d+\]", target):
                    reg.borrow(f"program-{comm}-{process.name}-{fd}", int(process.name), fd)


def nfs(reg: Registry) -> None:
    """NFSv3 over TCP to ourselves: the kernel's client and server sockets."""
    for command in NFS:
        _run(command)
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, peer = (int(part.split(":")[1], 16) for part in fields[1:3])
        if 2049 in (local, peer) and fields[3] in (ESTABLISHED, LISTEN):
            user = "nfs server" if local == 2049 else "nfs client"
            host = "127.0.0.1" if peer else "0.0.0.0"
            reg.gone(
                f"nfs-{local}-{peer}", "tcp", INIT, (host, local), (host, peer), holder="kernel", user=user
            )


def open_all(reg: Registry) -> None:
    """Start them, and hold a connection to each."""
    ROOM.mkdir(exist_ok=True)
    (ROOM / "nginx.conf").write_text(NGINX)
    Path("/run/sshd").mkdir(exist_ok=True)
    for name, command in COMMANDS.items():
        try:
            _run(command)
            client = reg.keep(f"client-of-{name}", _connect(PORTS[name]))
        except OSError as error:
            reg.refuse(name, error)
            continue
        client.sendall(GREETINGS[name])
        client.recv(4096)
    _borrow(reg, {"nginx", "redis-server", "sshd"})
    try:
        nfs(reg)
    except (OSError, subprocess.SubprocessError) as error:
        reg.refuse("nfs", error if isinstance(error, OSError) else OSError(110, str(error)))
