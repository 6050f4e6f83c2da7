# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs that scripts/vm itself runs, installed where they are missing."""

from __future__ import annotations

import os
import re
import shutil

from . import process, store
from .apt import Apt, codename
from .errors import VmError

TOOLS = {  # command → package, for what scripts/vm itself runs
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "busybox": "busybox-static",
    "depmod": "kmod",
}
OLDEST_QEMU = 8  # 7.2 corrupts the memory of 6.12 guests under TCG (lab notes)


def _which(command: str) -> bool:
    return shutil.which(command, path=process.PATH) is not None


def qemu_major() -> int:
    """Major version of the installed QEMU, 0 if there is none."""
    if not _which("qemu-system-x86_64"):
        return 0
    words = process.run(["qemu-system-x86_64", "--version"]).stdout
    match = re.search(r"version (\d+)\.", words)
    return int(match[1]) if match else 0


def _static_busybox() -> bool:
    words = process.run(["dpkg-query", "-W", "-f", "${Status}", "busybox-static"], check=False).stdout
    return "install ok installed" in words


def missing_tools() -> list[str]:
    """Packages that scripts/vm needs and this machine lacks."""
    missing = [package for command, package in TOOLS.items() if not _which(command)]
    if qemu_major() < OLDEST_QEMU:
        missing.append("qemu-system-x86")
    if not _static_busybox():
        missing.append("busybox-static")
    return sorted(set(missing))


def install(apt: Apt, *packages: str, suite: str = "") -> None:
    """Install packages without their recommendations, saying so."""
    store.say(f"installing {' '.join(packages)}{' from ' + suite if suite else ''}")
    target = ["-t", suite] if suite else []
    apt.command("apt-get", "-y", "-q", "--no-install-recommends", *target, "install", *packages, bound=False)


def machine_apt() -> Apt:
    """The suites of the machine's own release, backports included."""
    release = codename()
    apt = Apt("tools", [release, f"{release}-updates", f"{release}-security", f"{release}-backports"])
    apt.update()
    return apt


def ensure_tools() -> None:
    """Install what is missing, saying so; QEMU from backports where the release's own is too old."""
    if not missing_tools():
        return
    with store.locked("tools"):
        missing = missing_tools()
        if not missing:
            return
        if os.geteuid():
            raise VmError(
                f"scripts/vm needs these packages and is not root to install them: {' '.join(missing)}"
            )
        apt = machine_apt()
        others = [package for package in missing if package != "qemu-system-x86"]
        if others:
            install(apt, *others)
        if "qemu-system-x86" in missing:
            offered = apt.versions(["qemu-system-x86"]).get("qemu-system-x86", [])
            majors = [int(match[1]) for v in offered if (match := re.match(r"(?:\d+:)?(\d+)\.", v))]
            if max(majors, default=0) < OLDEST_QEMU:
                raise VmError(
                    f"no qemu-system-x86 of version {OLDEST_QEMU} or newer in {' '.join(apt.suites)}"
                )
            backports = f"{codename()}-backports"
            install(apt, "qemu-system-x86", suite=backports if backports in apt.suites else "")
