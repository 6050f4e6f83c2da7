# SPDX-License-Identifier: LGPL-2.1-or-later
"""A running guest: boot it, run things in it, move files, dump its memory, end it.

`with Guest.boot("6.1") as guest: guest.run(["uname", "-r"]); guest.dump(Path("vmcore"))`
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import process, qmp, rootfs, store, wire
from .errors import GuestError
from .kernels import fetch
from .tools import ensure_tools

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from .kernels import Kernel

GRACE = 60.0  # seconds beyond the guest's own deadline before the host gives the guest up
BOOT_TIMEOUT = 150.0
PROJECT_IN_GUEST = "/opt/sockcrash"
GUEST_ENVIRONMENT = {"PYTHONPATH": f"{PROJECT_IN_GUEST}:{rootfs.SITE}", "PYTHONDONTWRITEBYTECODE": "1"}
CRASHED = re.compile(
    r"Kernel panic|Oops:|general protection fault|(?<!watchdog: )BUG: (?!soft lockup)|kernel BUG at"
)
TEMPORARY = "sockcrash-vm-"


@dataclass(frozen=True)
class Done:
    """How a command in the guest ended."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str

    def check(self) -> Done:
        """Itself, or GuestError if the command failed."""
        if self.rc:
            words = (self.stderr or self.stdout)[-2000:]
            raise GuestError(f"in the guest: {' '.join(self.argv)[:200]} ended with {self.rc}:\n{words}")
        return self


def _sweep() -> None:
    """Remove what guests of killed processes left in the temporary directory."""
    for path in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        pid = path.name.removeprefix(TEMPORARY).split("-")[0]
        if not Path("/proc", pid).exists() and path.stat().st_uid == os.getuid():
            shutil.rmtree(path, ignore_errors=True)


def _command(
    kernel: Kernel, root: Path, directory: Path, smp: int, mem: int, append: str, disks: Sequence[Path]
) -> list[str]:
    thread = "single" if smp == 1 else "multi"
    media = ((root, "on", "off"), (kernel.modules, "off", "on"), *((disk, "off", "on") for disk in disks))
    drives = [
        part
        for number, (path, snapshot, read_only) in enumerate(media)
        for part in (
            "-drive", f"file={path},if=none,id=d{number},format=raw,snapshot={snapshot},readonly={read_only}",
            "-device", f"virtio-blk-pci,drive=d{number}",
        )
    ]  # fmt: skip
    return [
        *process.BOUND, "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35", "-cpu", "max", "-accel", f"tcg,thread={thread}", "-smp", str(smp), "-m", str(mem),
        "-kernel", str(kernel.vmlinuz), "-initrd", str(directory / "initramfs"),
        "-append", f"console=ttyS0 loglevel=5 panic=-1 random.trust_cpu=on {append}",
        "-serial", f"file:{directory / 'console.log'}",
        "-qmp", f"unix:{directory / 'qmp'},server=on,wait=off",
        "-device", "vmcoreinfo", *drives,
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,path={directory / 'agent'},server=on,wait=off",
        "-device", "virtserialport,chardev=agent,name=sockcrash.agent",
    ]  # fmt: skip


class Guest:
    """One running guest. QEMU ends with close(), the `with` block, or the thread that booted it."""

    def __init__(self, kernel: Kernel, smp: int, mem: int, append: str, disks: Sequence[Path]) -> None:
        self.kernel = kernel
        _sweep()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-"))
        self.expect_crash = False
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            root = rootfs.root_image()
            (self.directory / "initramfs").write_bytes(rootfs.initramfs(kernel))
            with (self.directory / "qemu.log").open("wb") as log:
                self._process = subprocess.Popen(
                    _command(kernel, root, self.directory, smp, mem, append, disks),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": process.PATH, "TMPDIR": str(store.vm_dir())},
                )
            self._connect()
            self.release = str(self.wait_hello(BOOT_TIMEOUT)["hello"])
        except BaseException:
            self.close()
            raise

    @classmethod
    def boot(
        cls, series: str, smp: int = 1, mem: int = 512, append: str = "", disks: Sequence[Path] = ()
    ) -> Guest:
        """Boot a kernel of `series` with `mem` MB; a boot that fails is tried once more, with a note.

        The images `disks` are /dev/vdc and on, for reading.
        """
        ensure_tools()
        kernel = fetch(series)
        start = time.monotonic()
        try:
            guest = cls(kernel, smp, mem, append, disks)
        except GuestError as error:
            store.say(f"the first boot of {kernel.release} failed, booting once more. {error}")
            guest = cls(kernel, smp, mem, append, disks)
        store.say(f"{kernel.release} is up: {time.monotonic() - start:.1f} s")
        return guest

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End QEMU and remove the temporary files. May be called twice."""
        if self._channel:
            self._channel.close()
            self._channel = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def qmp_address(self) -> str:
        """Path of QEMU's monitor socket, for `sockcrash --qemu`."""
        return str(self.directory / "qmp")

    def console(self) -> str:
        """All that the kernel said on its console."""
        with contextlib.suppress(OSError):
            return (self.directory / "console.log").read_text(errors="replace")
        return ""

    def _trouble(self, what: str) -> GuestError:
        tail = "\n".join(self.console().splitlines()[-25:])
        log = self.directory / "qemu.log"
        words = log.read_text(errors="replace")[-500:] if log.exists() else ""
        return GuestError(f"{what}\n{words}--- console of {self.kernel.release} ends with:\n{tail}")

    def check_console(self) -> None:
        """Raise if the kernel oopsed, even if it went on."""
        match = None if self.expect_crash else CRASHED.search(self.console())
        if match:
            raise self._trouble(f"the kernel crashed: {match[0]}")

    def _alive(self) -> None:
        if not self._process or self._process.poll() is not None:
            raise self._trouble("the guest has ended")

    def _connect(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            self._alive()
            channel = socket.socket(socket.AF_UNIX)
            try:
                channel.connect(str(self.directory / "agent"))
            except OSError:
                channel.close()
                if time.monotonic() > deadline:
                    raise self._trouble("QEMU does not open the agent's socket") from None
                time.sleep(0.02)
            else:
                self._channel = channel
                return

    def _read(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            assert self._channel
            self._channel.settimeout(1.0)
            try:
                part = self._channel.recv(min(size, 1 << 20))
            except TimeoutError:
                self._alive()
                self.check_console()
                if time.monotonic() > deadline:
                    raise self._trouble("the guest does not answer") from None
                continue
            if not part:
                raise self._trouble("the guest hung up")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _header(self, deadline: float) -> dict[str, Any]:
        try:
            return wire.unpack(lambda size: self._read(size, deadline))
        except ValueError as error:
            raise self._trouble(str(error)) from error

    def wait_hello(self, timeout: float) -> dict[str, Any]:
        """Wait for an agent that has just started (at boot, and in a crash kernel)."""
        return self._header(time.monotonic() + timeout)

    def _ask(self, limit: float, payload: bytes = b"", **request: Any) -> tuple[dict[str, Any], float]:
        """Send a request that takes `limit` seconds at most; the answer's header, and the deadline for the rest."""
        if not self._channel:
            raise GuestError("the guest is closed")
        deadline = time.monotonic() + limit + GRACE
        self._channel.settimeout(limit + GRACE)
        try:
            self._channel.sendall(wire.pack({**request, "size": len(payload)}))
            self._channel.sendall(payload)
        except OSError as error:
            raise self._trouble(f"the guest takes no request: {error}") from error
        header = self._header(deadline)
        if "error" in header:
            raise GuestError(f"in the guest: {header['error']}")
        return header, deadline

    def run(
        self,
        argv: Sequence[str],
        timeout: float = 120,
        stdin: bytes = b"",
        env: dict[str, str] | None = None,
        cwd: str = "/",
    ) -> Done:
        """Run a command; PYTHONPATH names the project and its dependencies. A timeout is a GuestError."""
        environment = {**GUEST_ENVIRONMENT, **(env or {})}
        header, deadline = self._ask(
            timeout, stdin, do="run", argv=list(argv), timeout=timeout, env=environment, cwd=cwd
        )
        out = self._read(header["out"], deadline).decode(errors="replace")
        err = self._read(header["err"], deadline).decode(errors="replace")
        self.check_console()
        if header["timed_out"]:
            what = " ".join(argv)[:200]
            raise GuestError(f"in the guest: {what} did not end in {timeout:.0f} s:\n{err[-2000:]}")
        return Done(tuple(argv), header["rc"], out, err)

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Store a file in the guest."""
        self._ask(120, data, do="put", path=path, mode=mode)

    def get(self, path: str, target: Path | None = None, timeout: float = 600) -> bytes:
        """A file of the guest: its bytes, or, with `target`, written there (and b"" returned)."""
        header, deadline = self._ask(timeout, do="get", path=path)
        left = header["size"]
        with contextlib.ExitStack() as stack:
            out: Any = stack.enter_context(target.open("wb")) if target else io.BytesIO()
            while left:
                part = self._read(min(left, 1 << 20), deadline)
                out.write(part)
                left -= len(part)
            return b"" if target else out.getvalue()

    def spawn(self, argv: Sequence[str], log: str = "/run/spawned.log", cwd: str = "/") -> Spawned:
        """Start a command that stays; its stderr goes to the file `log` of the guest."""
        header, _ = self._ask(30, do="spawn", argv=list(argv), log=log, cwd=cwd, env=GUEST_ENVIRONMENT)
        return Spawned(self, header["pid"], log)

    def put_project(self, *names: str) -> None:
        """Copy the project's sources (or only the `names` in it) to /opt/sockcrash."""
        with io.BytesIO() as buffer:
            with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
                for name in names or ("sockcrash", "tests", "pyproject.toml"):
                    archive.add(store.PROJECT / name, name, filter=_no_caches)
            data = buffer.getvalue()
        self.run(["mkdir", "-p", PROJECT_IN_GUEST]).check()
        self.run(["tar", "-x", "--no-same-owner", "-C", PROJECT_IN_GUEST], stdin=data).check()

    def crash(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Panic the kernel by sysrq, and wait for the agent of the crash kernel that was loaded."""
        self.expect_crash = True
        self._ask(
            30, do="spawn", argv=["sh", "-c", "sleep 0.3; echo c > /proc/sysrq-trigger"], log="/dev/null"
        )
        self.wait_hello(timeout)

    def dump(self, path: Path) -> None:
        """Write the guest's memory as an ELF vmcore, which bears its name once whole. The guest goes on."""
        temporary = path.with_name(path.name + ".part")
        arguments = {"paging": False, "protocol": f"file:{temporary.absolute()}"}
        try:
            qmp.execute(Path(self.qmp_address), "dump-guest-memory", timeout=600, **arguments)
            temporary.chmod(0o600)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


def _no_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name == "__pycache__" else entry


class Spawned:
    """A command that stays in the guest and talks in lines."""

    def __init__(self, guest: Guest, pid: int, log: str) -> None:
        self.guest = guest
        self.pid = pid
        self.log = log

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        self.guest._ask(30, do="tell", pid=self.pid, line=line)

    def hear(self, timeout: float = 120) -> str:
        """The next line of its stdout; GuestError with its stderr if there is none in time."""
        header, _ = self.guest._ask(timeout, do="hear", pid=self.pid, timeout=timeout)
        self.guest.check_console()
        if header["line"] is None:
            words = self.guest.get(self.log).decode(errors="replace")[-3000:]
            raise GuestError(
                f"in the guest: process {self.pid} ended, or was silent for {timeout:.0f} s:\n{words}"
            )
        return str(header["line"])

    def stop(self) -> None:
        """End it, unless it perished in a crash."""
        if not self.guest.expect_crash:
            self.guest._ask(30, do="stop", pid=self.pid)


@contextlib.contextmanager
def spawned(guest: Guest, argv: Sequence[str], **options: str) -> Iterator[Spawned]:
    """A spawned command for the length of a block."""
    process = guest.spawn(argv, **options)
    try:
        yield process
    finally:
        process.stop()
