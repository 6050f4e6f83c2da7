# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening the running kernel (/proc/kcore), or why it can't be read and what would make it readable."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from pathlib import Path

import drgn

from sockcrash.errors import TargetError

CAP_SYS_RAWIO = 17
WHOLE_USER_NAMESPACE = ["0", "0", "4294967295"]
CONTAINER_MARKS = ("run/.containerenv", ".dockerenv", "run/systemd/container")
ELSEWHERE = "or take a dump and open it with -c"


def is_kcore(path: str) -> bool:
    """Whether a path that was given as a dump is the running kernel's memory."""
    return Path(path).absolute() == Path("/proc/kcore")


def open_kcore(prog: drgn.Program) -> None:
    """Make the running kernel the program's memory. TargetError: why not, and what to do."""
    try:
        prog.set_kernel()
    except Exception as error:
        raise explain_kcore(error) from error
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise explain_kcore(ValueError("it is not the memory of a Linux kernel"))


def explain_kcore(error: Exception, root: Path = Path("/")) -> TargetError:
    """Why /proc/kcore could not be opened. ``error``: what drgn said; ``root``: where the system lies."""
    kcore = root / "proc/kcore"
    if not (root / "proc/self").exists():
        return TargetError(
            "/proc is not mounted, so the running kernel can't be read", hint="mount -t proc proc /proc"
        )
    try:
        status = kcore.stat()
    except OSError:
        return _missing(root)
    if not stat.S_ISREG(status.st_mode) or status.st_dev != (root / "proc").stat().st_dev:
        return _hidden(root)
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return _forbidden(error, root)
    return TargetError(
        f"drgn can't open /proc/kcore: {error}", hint=f"run with --log-level debug, {ELSEWHERE}"
    )


def _missing(root: Path) -> TargetError:
    if _kernel_config(root, "CONFIG_PROC_KCORE") is False:
        return TargetError(
            "this kernel is built without CONFIG_PROC_KCORE, so it has no /proc/kcore to read",
            hint=f"boot a kernel that has it, {ELSEWHERE}",
        )
    if _in_container(root):
        return TargetError(
            "there is no /proc/kcore in this container",
            hint="run sockcrash on the host, where it sees all containers",
        )
    return TargetError(
        "there is no /proc/kcore: the kernel is built without CONFIG_PROC_KCORE, or it is hidden here "
        "(container, /proc mounted with subset=pid)",
        hint=f"run on the host itself, with a kernel that has CONFIG_PROC_KCORE, {ELSEWHERE}",
    )


def _hidden(root: Path) -> TargetError:
    rows = (line.split() for line in _text(root / "proc/self/mountinfo").splitlines())
    sources = [row[3] for row in rows if len(row) > 4 and row[4] == "/proc/kcore"]
    if any("systemd/inaccessible" in source for source in sources):
        return TargetError(
            "systemd hides /proc/kcore from this service",
            hint="set ProtectKernelTunables=no (and no InaccessiblePaths= for it), or run outside it",
        )
    return TargetError(
        "something is mounted over /proc/kcore, as container runtimes do to hide it",
        hint="run sockcrash on the host, or in a privileged container",
    )


def _forbidden(error: OSError, root: Path) -> TargetError:
    if "[confidentiality]" in _text(root / "sys/kernel/security/lockdown"):
        return TargetError(
            "the kernel is locked down (confidentiality), and then not even root may read /proc/kcore",
            hint=f"boot without lockdown=confidentiality (lockdown=integrity will do), {ELSEWHERE}",
        )
    if not _has_capability(root, CAP_SYS_RAWIO):
        if os.geteuid() != 0:
            return TargetError(
                "only root may read the running kernel's memory", hint=f"run it with sudo, {ELSEWHERE}"
            )
        return TargetError(
            "this root has no CAP_SYS_RAWIO, which reading /proc/kcore takes",
            hint="give the capability (docker, podman: --cap-add SYS_RAWIO; systemd: AmbientCapabilities=), "
            "or run on the host",
        )
    if _text(root / "proc/self/uid_map").split() != WHOLE_USER_NAMESPACE:
        return TargetError(
            "this root is one of a user namespace only (a rootless container), and may not read /proc/kcore",
            hint="run as root of the host",
        )
    return TargetError(
        f"/proc/kcore: {error.strerror}; SELinux, AppArmor or a seccomp filter forbids it",
        hint="look into the audit log (ausearch -m avc, journalctl -k), or run outside of what confines it",
    )


def _has_capability(root: Path, number: int) -> bool:
    for line in _text(root / "proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _in_container(root: Path) -> bool:
    return any((root / mark).exists() for mark in CONTAINER_MARKS)


def _kernel_config(root: Path, name: str) -> bool | None:
    """Whether the running kernel was built with an option; None if its configuration can't be found."""
    text = ""
    try:
        text = gzip.decompress((root / "proc/config.gz").read_bytes()).decode()
    except (OSError, EOFError, ValueError):
        text = _text(root / f"boot/config-{os.uname().release}")
    return f"\n{name}=y\n" in text if text else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
