# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest's PID 1 and its agent, which does what the host asks over a virtio-serial port."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import wire

PORT_NAME = "sockcrash.agent"
MOUNTS = (
    ("tmpfs", "/run", "tmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("sysfs", "/sys", "sysfs"),
    ("devpts", "/dev/pts", "devpts"),
    ("tmpfs", "/dev/shm", "tmpfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
    ("bpf", "/sys/fs/bpf", "bpf"),
    ("debugfs", "/sys/kernel/debug", "debugfs"),
)
MODULES = (
    "qemu_fw_cfg", "inet_diag", "tcp_diag", "udp_diag", "unix_diag", "raw_diag", "netlink_diag", "af_packet_diag",
    "mptcp_diag", "tls", "tcp_bbr", "tcp_dctcp", "veth",
)  # fmt: skip
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}


class Port:
    """The byte channel to the host."""

    def __init__(self) -> None:
        self.fd = os.open(f"/dev/{self._device()}", os.O_RDWR)

    @staticmethod
    def _device() -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for path in Path("/sys/class/virtio-ports").glob("*/name"):
                if path.read_text().strip() == PORT_NAME:
                    return path.parent.name
            time.sleep(0.1)
        raise OSError("no virtio port for the agent")

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; waits for a host that is not connected yet."""
        parts = []
        while size:
            part = os.read(self.fd, min(size, wire.CHUNK))
            if not part:
                time.sleep(0.05)
                continue
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view[: wire.CHUNK]) :]

    def reply(self, header: dict[str, Any], *payload: bytes) -> None:
        self.write(wire.pack({**header, "size": sum(map(len, payload))}))
        for part in payload:
            self.write(part)


CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def environment(request: dict[str, Any]) -> dict[str, str]:
    return {**ENVIRONMENT, **request.get("env", {})}


def run(port: Port, request: dict[str, Any]) -> None:
    """Run a command to its end, or to its deadline."""
    stdin = port.read(request["size"])
    timed_out = False
    try:
        with subprocess.Popen(
            request["argv"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=request.get("cwd"),
            env=environment(request),
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(stdin, timeout=request["timeout"])
            except subprocess.TimeoutExpired:
                timed_out = True
                os.killpg(process.pid, 9)
                out, err = process.communicate()
        code = process.returncode
    except OSError as error:
        out, err, code = b"", f"{request['argv'][0]}: {error.strerror}\n".encode(), 127
    port.reply({"rc": code, "out": len(out), "err": len(err), "timed_out": timed_out}, out, err)


def put(port: Port, request: dict[str, Any]) -> None:
    """Store a file."""
    path = Path(request["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    left = request["size"]
    with path.open("wb") as file:
        while left:
            part = port.read(min(left, wire.CHUNK))
            file.write(part)
            left -= len(part)
    path.chmod(request["mode"])
    port.reply({})


def get(port: Port, request: dict[str, Any]) -> None:
    """Send a file."""
    with Path(request["path"]).open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        port.write(wire.pack({"size": left}))
        while left:
            part = file.read(min(left, wire.CHUNK)) or bytes(min(left, wire.CHUNK))
            port.write(part)
            left -= len(part)


def spawn(port: Port, request: dict[str, Any]) -> None:
    """Start a command that stays; its lines are asked for by `hear`, its stderr goes to a file."""
    with Path(request["log"]).open("wb") as log:
        process = subprocess.Popen(
            request["argv"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=request.get("cwd"),
            env=environment(request),
            start_new_session=True,
        )
    CHILDREN[process.pid] = process
    port.reply({"pid": process.pid})


def tell(port: Port, request: dict[str, Any]) -> None:
    """Write a line to a spawned command."""
    stdin = CHILDREN[request["pid"]].stdin
    assert stdin
    stdin.write(request["line"].encode() + b"\n")
    stdin.flush()
    port.reply({})


def hear(port: Port, request: dict[str, Any]) -> None:
    """The next line of a spawned command: {"line": text, or null at its end or after the deadline}."""
    stdout = CHILDREN[request["pid"]].stdout
    assert stdout
    line = b""
    deadline = time.monotonic() + request["timeout"]
    while not line.endswith(b"\n"):
        if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            break
        part = os.read(stdout.fileno(), 1)
        if not part:
            break
        line += part
    port.reply({"line": line.decode().rstrip("\n") if line.endswith(b"\n") else None})


def stop(port: Port, request: dict[str, Any]) -> None:
    """End a spawned command and all of its session's processes in its group."""
    process = CHILDREN.pop(request["pid"])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    port.reply({"rc": process.wait()})


ACTIONS = {"run": run, "put": put, "get": get, "spawn": spawn, "tell": tell, "hear": hear, "stop": stop}


def serve() -> None:
    """Answer the host until the guest ends."""
    port = Port()
    port.reply({"hello": os.uname().release, "seconds": time.monotonic()})
    while True:
        request = wire.unpack(port.read)
        try:
            ACTIONS[request["do"]](port, request)
        except (OSError, KeyError) as error:
            port.reply({"error": f"{request.get('do')}: {error!r}"})


def set_up() -> None:
    """Make of the bare kernel a machine that programs can live on."""
    for source, target, kind in MOUNTS:
        with contextlib.suppress(OSError):
            Path(target).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", kind, source, target], stderr=subprocess.DEVNULL)
    for link, target in (("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0")):
        with contextlib.suppress(OSError):
            os.symlink(target, link)  # noqa: PTH211
    subprocess.run(["modprobe", "-a", "-q", *MODULES])
    subprocess.run(["ip", "link", "set", "lo", "up"])
    Path("/proc/sys/kernel/hostname").write_text("guest")


def main() -> None:
    """PID 1: the agent in a child, so that orphans are reaped without disturbing it."""
    os.environ.update(ENVIRONMENT)
    set_up()
    agent = os.fork()
    if not agent:
        try:
            serve()
        finally:
            sys.stderr.flush()
            os._exit(1)
    while os.wait()[0] != agent:
        pass
    ctypes.CDLL(None).reboot(0x4321FEDC)


main()
