# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where tracefs is, and why it can't be used; its files are read and written here and nowhere else."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from sockcrash.errors import TargetError

__all__ = ("Tracefs", "open_tracefs")

_MOUNTS = Path("/proc/self/mounts")
_FILESYSTEMS = Path("/proc/filesystems")
_LOCKDOWN = Path("/sys/kernel/security/lockdown")
_OTHERWISE = "`sockcrash trace --emit bpftrace` prints a script for bpftrace, which needs BPF instead"


class Tracefs:
    """tracefs at ``root``: small text files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> str:
        """The text of a file; bytes that are no UTF-8 are escaped. Raises OSError."""
        return (self.root / name).read_text(errors="backslashreplace")

    def write(self, name: str, text: str, *, append: bool = False) -> None:
        """One write(2) to a file, which is not emptied before if ``append``. Raises OSError."""
        fd = os.open(self.root / name, os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))
        try:
            os.write(fd, text.encode() + b"\n")
        finally:
            os.close(fd)


def open_tracefs() -> Tracefs:
    """tracefs, proved to take kprobe events; TargetError says why not, and what to do."""
    root = _mounted()
    if root is None:
        raise TargetError(
            "tracefs is not mounted" if _known() else "this kernel has no tracefs", hint=_mount_hint()
        )
    try:
        os.close(os.open(root / "kprobe_events", os.O_WRONLY | os.O_APPEND))
    except OSError as error:
        raise _refused(root, error) from None
    return Tracefs(root)


def _mounted() -> Path | None:
    places = [line.split()[1:3] for line in _MOUNTS.read_text(errors="replace").splitlines()]
    own = [Path(_unescaped(place)) for place, kind in places if kind == "tracefs"]
    inside = [Path(_unescaped(place), "tracing") for place, kind in places if kind == "debugfs"]
    return next((place for place in (*own, *inside) if _is_seen(place)), own[0] if own else None)


def _unescaped(place: str) -> str:
    """A mount point, in whose name spaces and the like are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)


def _is_seen(root: Path) -> bool:
    """Whether tracefs is what one sees there; False also for whoever may not look."""
    return os.path.isdir(root / "instances")  # noqa: PTH112 - Path.is_dir() raises PermissionError


def _known() -> bool:
    return "\ttracefs\n" in _FILESYSTEMS.read_text()


def _mount_hint() -> str:
    if not _known():
        return f"it was built without CONFIG_FTRACE; {_OTHERWISE}"
    return (
        f"mount -t tracefs tracefs /sys/kernel/tracing (a container may not; trace on the host); {_OTHERWISE}"
    )


def _refused(root: Path, error: OSError) -> TargetError:
    if _locked_down():
        return TargetError(
            "lockdown in confidentiality mode closes tracefs",
            hint="no tracer can read arguments there; `sockcrash options` can't either, but strace of a process can",
        )
    if error.errno == errno.ENOENT and not _is_seen(root):
        return TargetError(
            f"tracefs is mounted on {root}, but something else lies over it", hint=_mount_hint()
        )
    if error.errno == errno.ENOENT:
        return TargetError(
            f"{root} has no kprobe_events: this kernel was built without CONFIG_KPROBE_EVENTS",
            hint="strace -e trace=setsockopt -f -p PID shows the calls of one process without kprobes",
        )
    hint = (
        "trace needs root" if os.geteuid() else f"a security module or a container forbids it; {_OTHERWISE}"
    )
    return TargetError(f"{root}/kprobe_events can't be opened: {error.strerror}", hint=hint)


def _locked_down() -> bool:
    try:
        return "[confidentiality]" in _LOCKDOWN.read_text()
    except OSError:
        return False
