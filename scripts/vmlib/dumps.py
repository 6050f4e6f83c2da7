# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumps of the scenario with what its kernel said of it, made once: by QEMU from outside, by kdump from inside."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from . import rootfs, store
from .errors import VmError
from .guest import Guest
from .kernels import fetch
from .scenario import fingerprint, started

if TYPE_CHECKING:
    from pathlib import Path

    from .kernels import Kernel

FORMAT = 3  # raised when guests or dumps change in a way that the stamps cannot see
MEMORY = 512  # MB
MANY_BASE, MANY_PER_SOCKET = 768, 0.02  # MB for a guest that holds many sockets
KDUMP_MEMORY, CRASH_MEMORY = 1024, 320
KDUMP_FORMATS = {  # file name → what makedumpfile is asked for
    "vmcore.elf": ("-E", "-d", "31"),
    "vmcore": ("-c", "-d", "31"),
    "vmcore.lzo": ("-l", "-d", "31"),
    "vmcore.zstd": ("-z", "-d", "31"),
}
CRASH_APPEND = "console=ttyS0 loglevel=5 panic=-1 random.trust_cpu=on nr_cpus=1 reset_devices irqpoll"


def _link(directory: Path, kernel: Kernel) -> None:
    """Put the kernel's own files beside a dump."""
    for target in (kernel.vmlinux, kernel.system_map, kernel.debug_modules):
        (directory / target.name).symlink_to(target)


def _inputs(kernel: Kernel, **more: Any) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "release": kernel.release,
        "version": kernel.version,
        "root": [*rootfs.PACKAGES, *rootfs.WHEELS],
        "scenario": fingerprint(),
        "kernel": str(kernel.directory),
        **more,
    }


def _dump(kernel: Kernel, many: int, programs: bool, directory: Path) -> dict[str, Any]:
    mem = int(MANY_BASE + MANY_PER_SOCKET * many) if many else MEMORY
    arguments = [*(["--many", str(many)] if many else []), *(["--programs"] if programs else [])]
    with Guest.boot(kernel.series, mem=mem) as guest:
        guest.put_project("tests")
        with started(guest, *arguments) as scenario:
            with store.timed("asking the kernel before the dump"):
                scenario.before()
            with store.timed("dumping the guest"):
                guest.dump(directory / "vmcore")
            with store.timed("asking the kernel after the dump"):
                scenario.after()
            scenario.save(directory / "truth.json")
        guest.check_console()
        (directory / "console.log").write_text(guest.console())
    _link(directory, kernel)
    return {"release": kernel.release, "series": kernel.series}


def _crash_dump(kernel: Kernel, directory: Path) -> dict[str, Any]:
    refused = {}
    with Guest.boot(kernel.series, mem=KDUMP_MEMORY, append=f"crashkernel={CRASH_MEMORY}M") as guest:
        guest.put_project("tests")
        guest.put("/run/crash/vmlinuz", kernel.vmlinuz.read_bytes())
        guest.put("/run/crash/initramfs", rootfs.initramfs(kernel))
        guest.run(
            ["kexec", "-p", "/run/crash/vmlinuz", "--initrd=/run/crash/initramfs", f"--append={CRASH_APPEND}"]
        ).check()
        with started(guest) as scenario:
            scenario.before()
            scenario.save(directory / "truth.json")
            with store.timed("crashing into the second kernel"):
                guest.crash()
        for name, options in KDUMP_FORMATS.items():
            with store.timed(f"makedumpfile {' '.join(options)}"):
                done = guest.run(["makedumpfile", *options, "/proc/vmcore", f"/var/tmp/{name}"], timeout=900)
                if done.rc:
                    refused[name] = (done.stderr or done.stdout).strip()[-300:]
                    store.say(f"makedumpfile {' '.join(options)} is refused: {refused[name]}")
                    continue
                guest.get(f"/var/tmp/{name}", directory / name)
        (directory / "console.log").write_text(guest.console())
    if "vmcore" in refused or "vmcore.elf" in refused:
        raise VmError(f"makedumpfile wrote no dump of {kernel.release}")
    _link(directory, kernel)
    return {"release": kernel.release, "series": kernel.series, "refused": refused}


def _ready(directory: Path) -> Path:
    """The directory, unless it holds something that is not ours to replace."""
    if directory.is_dir() and any(directory.iterdir()) and not (directory / store.STAMP).is_file():
        raise VmError(f"{directory} holds files that scripts/vm did not make: name an empty or new directory")
    return directory


def dump(series: str, out: Path | None = None, many: int = 0, programs: bool = False) -> Path:
    """A directory with vmcore, truth.json, console.log, and links to vmlinux, System.map and modules-debug.

    With `many`, the guest holds that many TCP sockets instead of the scenario; with `programs`, also nginx, redis,
    sshd and NFS mounted over loopback.
    """
    kernel = fetch(series)
    name = kernel.series + (f"-many-{many}" if many else "") + ("-programs" if programs else "")
    directory = _ready(out or store.vm_dir() / "dumps" / name)
    rootfs.root_image()
    store.ensure(
        directory,
        _inputs(kernel, many=many, programs=programs),
        functools.partial(_dump, kernel, many, programs),
    )
    return directory


def kdump(series: str, out: Path | None = None) -> Path:
    """Likewise, made by kexec and makedumpfile in the guest: vmcore (zlib), vmcore.lzo, vmcore.zstd, vmcore.elf.

    truth.json holds only what was recorded before the crash.
    """
    kernel = fetch(series)
    directory = _ready(out or store.vm_dir() / "dumps" / f"{kernel.series}-kdump")
    rootfs.root_image()
    formats = {name: list(options) for name, options in KDUMP_FORMATS.items()}
    store.ensure(directory, _inputs(kernel, formats=formats), functools.partial(_crash_dump, kernel))
    return directory
