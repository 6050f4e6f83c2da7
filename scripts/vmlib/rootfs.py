# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a guest runs on: a Debian root image made once, and an initramfs that finds it."""

from __future__ import annotations

import functools
import gzip
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import apt, process, store
from .kernels import make_image
from .tools import ensure_tools, install, machine_apt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .kernels import Kernel

SUITE = "bookworm"
PYTHON = "3.11"  # of SUITE
PACKAGES = [
    "python3", "iproute2", "kmod", "procps", "util-linux",  # scenario and agent
    "kexec-tools", "makedumpfile",  # kdump cores
    "nginx-light", "redis-server", "openssh-server", "nfs-kernel-server", "nfs-common", "rpcbind",  # not ours
]  # fmt: skip
WHEELS = (
    "drgn>=0.3", "click>=8.1", "lark>=1.1", "orjson>=3.10", "tabulate>=0.9",
    "jsonschema>=4", "pytest>=8", "pytest-timeout>=2",
)  # fmt: skip
SITE = "/opt/site"
AGENT = ("__init__.py", "wire.py", "guest_agent.py")  # what the guest gets of this folder
PYTHONS = (sys.executable, "/usr/bin/python3")  # one of which may have pip
PRUNED = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists", "var/cache/apt",
)  # fmt: skip
SPARE_MB = 1024  # room for a kdump core; the image is sparse


def _sources(directory: Path) -> list[str]:
    mirrors = apt.machine_mirrors()
    return apt.source_lines(mirrors, [SUITE, f"{SUITE}-updates", f"{SUITE}-security"], directory)


def _pip(target: Path) -> None:
    """Put the wheels for the guest's Python into `target`."""
    pip = next(
        (p for p in PYTHONS if not process.run([p, "-m", "pip", "--version"], check=False).returncode), ""
    )
    if not pip:
        install(machine_apt(), "python3-pip")
        pip = "/usr/bin/python3"
    process.run(
        [pip, "-m", "pip", "install", "--quiet", "--target", str(target), "--python-version", PYTHON,
         "--only-binary=:all:", "--implementation", "cp", "--no-compile", *WHEELS], timeout=900,
    )  # fmt: skip


def _make(directory: Path) -> dict[str, Any]:
    """Fill `directory` with root.img."""
    tree = directory / "tree"
    with store.timed(f"building the guest root ({SUITE}, {len(PACKAGES)} packages)"):
        process.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--architectures=amd64",
             *(f"--dpkgopt=path-exclude=/{name}/*" for name in PRUNED if name.startswith("usr")),
             f"--include={','.join(PACKAGES)}", SUITE, str(tree), *_sources(directory)],
            timeout=1800, contained=True,
        )  # fmt: skip
    with store.timed("installing the guest's Python packages"):
        _pip(tree / SITE.lstrip("/"))
        compiled = f"{SITE} /usr/lib/python3".split()
        process.run(["chroot", str(tree), "python3", "-m", "compileall", "-q", *compiled], check=False)
    for name in PRUNED:
        shutil.rmtree(tree / name, ignore_errors=True)
    (tree / "etc/hosts").write_text("127.0.0.1 localhost guest\n::1 localhost\n")
    (tree / "lib/modules").mkdir(parents=True, exist_ok=True)
    make_image(tree, directory / "root.img", SPARE_MB)
    shutil.rmtree(tree)
    return {}


def root_image() -> Path:
    """The guest's root, built if need be."""
    directory = store.vm_dir() / "root"
    inputs = {
        "suite": SUITE,
        "packages": list(PACKAGES),
        "wheels": list(WHEELS),
        "python": PYTHON,
        "format": 2,
    }
    if (store.read_stamp(directory) or {}).get("inputs") != inputs:
        ensure_tools()
    store.ensure(directory, inputs, _make)
    return directory / "root.img"


def cpio(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A newc archive of (name, mode, data), as the kernel unpacks it."""
    parts = []
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
    return b"".join(parts)


INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do busybox insmod $module; done
tries=0
while [ ! -b /dev/vda -o ! -b /dev/vdb ]; do
    tries=$((tries + 1)); [ $tries -gt 300 ] && { busybox echo "vm: no root disk"; busybox poweroff -f; }
    busybox sleep 0.1
done
busybox mount -t ext4 -o noatime /dev/vda /root || busybox poweroff -f
busybox mount -t ext4 -o ro /dev/vdb /root/lib/modules || busybox poweroff -f
busybox cp -r /vmlib /root/opt/
busybox mount -o move /proc /root/proc
busybox mount -o move /dev /root/dev
export PYTHONPATH=/opt
exec busybox switch_root /root /usr/bin/python3 -m vmlib.guest_agent
"""


@functools.cache
def initramfs(kernel: Kernel) -> bytes:
    """An archive that loads what the disks need, mounts the root and starts the agent."""
    here = Path(__file__).parent
    folder, plain, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFREG | 0o755
    entries = [(name, folder, b"") for name in ("bin", "proc", "dev", "root", "modules", "vmlib")]
    entries.append(("bin/busybox", program, Path("/usr/bin/busybox").read_bytes()))
    entries.append(("init", program, INIT.encode()))
    entries += [(f"vmlib/{name}", plain, (here / name).read_bytes()) for name in AGENT]
    entries += [(f"modules/{p.name}", plain, p.read_bytes()) for p in sorted(kernel.boot_modules.iterdir())]
    return gzip.compress(cpio(entries), 1)
