# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which kernel stands for a series, and its files: image, modules, vmlinux, System.map."""

from __future__ import annotations

import functools
import lzma
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import process, store
from .apt import Apt
from .errors import FileGone, NotCarried, VmError
from .tools import ensure_tools

SERIES = ("5.10", "6.1", "6.12", "newest")
SUITES = [
    "bullseye", "bullseye-security", "bookworm", "bookworm-security", "bookworm-backports",
    "trixie", "trixie-security", "sid",
]  # fmt: skip
NEWEST_FROM = (7, 0)  # a series from here on that is not found is replaced by the newest there is
FLAVOUR = "cloud-amd64"
DEBUG_MODULES = [  # those that a socket touches
    "tls", "tcp_bbr", "tcp_dctcp", "tcp_vegas", "tcp_illinois", "tcp_westwood", "tcp_nv", "vsock", "vsock_loopback",
    "vmw_vsock_virtio_transport_common", "sunrpc", "nfs", "nfsd", "mptcp_diag", "inet_diag", "tcp_diag", "udp_diag",
    "unix_diag",
]  # fmt: skip
BOOT_MODULES = [
    "virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "crc32c_intel", "ext4", "qemu_fw_cfg",
]  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """One fetched kernel."""

    series: str
    release: str
    version: str
    directory: Path

    @property
    def vmlinuz(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def modules(self) -> Path:
        """An ext4 image to be mounted at /lib/modules."""
        return self.directory / "modules.img"

    @property
    def boot_modules(self) -> Path:
        """Directory of the modules the initramfs loads, named in the order of loading."""
        return self.directory / "boot-modules"

    @property
    def vmlinux(self) -> Path:
        return self.directory / "vmlinux"

    @property
    def system_map(self) -> Path:
        return self.directory / "System.map"

    @property
    def debug_modules(self) -> Path:
        """Directory of module files with debugging information."""
        return self.directory / "modules-debug"


def _newer(left: str, right: str) -> int:
    """Compare two Debian versions, for sorting."""
    if left == right:
        return 0
    return -1 if process.run(["dpkg", "--compare-versions", left, "gt", right], check=False).returncode else 1


def series_of(version: str) -> str:
    """`6.1.192-2` → `6.1`."""
    match = re.match(r"(?:\d+:)?(\d+\.\d+)", version)
    return match[1] if match else ""


def candidates(offers: dict[str, list[str]], series: str) -> list[tuple[str, str]]:
    """The (release, version) of `series` that have their debug package too, newest first.

    `offers`: package name → versions carried. Series `newest` is the highest of all.
    """
    found: dict[str, str] = {}
    for name, versions in offers.items():
        match = re.fullmatch(rf"linux-image-(\d+\.\d+\.\d[^-]*(?:-[^-]+)?-{FLAVOUR})", name)
        if not match:
            continue
        debug = set(offers.get(name + "-dbg", []))
        for version in versions:
            if version in debug and series in ("newest", series_of(version)):
                found[version] = match[1]
    if not found:
        raise NotCarried(f"no suite carries a kernel {series} with its debug package any more")
    ordered = sorted(found, key=functools.cmp_to_key(_newer), reverse=True)
    newest = series_of(ordered[0])
    return [(found[version], version) for version in ordered if series_of(version) == newest]


def _extract(package: Path, members: list[str], directory: Path) -> None:
    """Unpack only the members that match the tar patterns."""
    with subprocess.Popen(
        [*process.BOUND, "dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as source:
        unpacked = process.run(
            ["tar", "-x", "-C", str(directory), "--wildcards", "--no-same-owner", *members],
            stdin=source.stdout,
            check=False,
        )
    harmless = ("Not found in archive", "Exiting with failure status due to previous errors")
    trouble = [line for line in unpacked.stderr.splitlines() if not line.endswith(harmless)]
    if source.returncode or trouble:
        raise VmError(f"cannot unpack {package.name}: {' '.join(trouble)}")


def _only(directory: Path, *patterns: str) -> Path:
    """The one regular file below `directory` that a pattern matches, the first pattern that does."""
    for pattern in patterns:
        for path in sorted(directory.glob(pattern)):
            if path.is_file() and not path.is_symlink():
                return path
    raise VmError(f"the kernel packages hold no {' or '.join(patterns)}")


def _open_module(path: Path) -> IO[bytes]:
    return lzma.open(path) if path.suffix == ".xz" else path.open("rb")


def order_modules(dependencies: str, wanted: list[str]) -> list[str]:
    """Paths of the wanted modules and all they need, in the order of loading.

    `dependencies`: text of modules.dep. A name it does not have is built in or not there at all.
    """
    needs = {}
    for line in dependencies.splitlines():
        module, _, rest = line.partition(":")
        needs[module] = rest.split()
    by_name = {re.sub(r"\.ko(\.\w+)?$", "", Path(path).name).replace("-", "_"): path for path in needs}
    ordered: list[str] = []
    for name in wanted:
        path = by_name.get(name)
        if path:
            for one in [*reversed(needs[path]), path]:
                if one not in ordered:
                    ordered.append(one)
    return ordered


def _make_boot_modules(tree: Path, target: Path) -> None:
    """Copy the modules the initramfs loads, decompressed and numbered."""
    target.mkdir()
    for number, name in enumerate(order_modules((tree / "modules.dep").read_text(), BOOT_MODULES)):
        plain = re.sub(r"\.ko(\.\w+)?$", ".ko", Path(name).name)
        with _open_module(tree / name) as source, (target / f"{number:02}-{plain}").open("wb") as out:
            shutil.copyfileobj(source, out)


def make_image(tree: Path, image: Path, spare_mb: int) -> None:
    """An ext4 image of a directory, without mounting anything."""
    used = sum(path.lstat().st_size + 4096 for path in tree.rglob("*")) >> 20
    size = used * 5 // 4 + 24 + spare_mb
    process.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^metadata_csum_seed,^orphan_file",
         "-E", "root_owner=0:0", "-d", str(tree), str(image), f"{size}M"],
    )  # fmt: skip


def _unpack(packages: list[Path], directory: Path) -> None:
    """Fill `directory` from the packages of one kernel."""
    tree = directory / "tree"
    tree.mkdir()
    debug = [f"*/{name}.ko" for name in DEBUG_MODULES]
    for package in packages:
        wanted = ["*/System.map*", "*/vmlinux*", *debug] if "-dbg_" in package.name else [
            "*/vmlinuz*", "*/modules.builtin*", "*/modules.order", "*.ko", "*.ko.xz"
        ]  # fmt: skip
        _extract(package, wanted, tree)
    found = [*tree.glob("lib/modules/*/kernel"), *tree.glob("usr/lib/modules/*/kernel")]
    if len(found) != 1:
        raise VmError(f"{packages[0].name} and its like hold modules of {len(found)} kernels, not of one")
    modules = found[0].parent
    release = modules.name
    _only(tree, "boot/vmlinuz-*", f"usr/lib/modules/{release}/vmlinuz").rename(directory / "vmlinuz")
    deep = f"usr/lib/debug/lib/modules/{release}"
    _only(tree, "usr/lib/debug/boot/vmlinux-*", f"{deep}/vmlinux").rename(directory / "vmlinux")
    _only(tree, "usr/lib/debug/boot/System.map-*", f"{deep}/System.map").rename(directory / "System.map")
    (directory / "modules-debug").mkdir()
    for path in (tree / deep).rglob("*.ko"):
        path.rename(directory / "modules-debug" / path.name)
    base = directory / "base"
    shutil.copytree(modules, base / "lib/modules" / release)
    process.run(["depmod", "-b", str(base), release])
    _make_boot_modules(base / "lib/modules" / release, directory / "boot-modules")
    make_image(base / "lib/modules", directory / "modules.img", 0)
    shutil.rmtree(base)
    shutil.rmtree(tree)


def _fetch(apt: Apt, release: str, version: str, directory: Path) -> dict[str, Any]:
    """Download and unpack one kernel into an empty directory."""
    names = [f"linux-image-{release}-dbg", f"linux-image-{release}"]
    split = [f"linux-binary-{release}", f"linux-modules-{release}"]
    carried = apt.versions(split)
    names += [name for name in split if version in carried.get(name, [])]
    downloads = directory / "downloads"
    downloads.mkdir()
    with store.timed(f"downloading {', '.join(names)} {version}"):
        packages = apt.download([f"{name}={version}" for name in names], downloads)
    with store.timed(f"unpacking {release}"):
        _unpack(packages, directory)
    shutil.rmtree(downloads)
    return {"release": release, "version": version, "series": series_of(version)}


def _from_stamp(directory: Path, stamp: dict[str, Any]) -> Kernel:
    facts = stamp["facts"]
    return Kernel(facts["series"], facts["release"], facts["version"], directory)


def fetched(series: str) -> Kernel | None:
    """The kernel of a series, if it stands in the cache."""
    directory = store.vm_dir() / "kernels" / series
    stamp = store.read_stamp(directory.resolve())
    return _from_stamp(directory.resolve(), stamp) if stamp else None


@functools.cache
def _archive() -> tuple[Apt, dict[str, list[str]]]:
    """The archive's lists, read once per process, and the kernel packages in them."""
    apt = Apt("kernels", list(SUITES))
    with store.timed("reading the package lists"):
        apt.update()
    if apt.gone:
        store.say(f"suites that the mirror no longer carries: {' '.join(apt.gone)}")
    names = [name for name in apt.names("linux-image-") if FLAVOUR in name]
    return apt, apt.versions(names)


def _choose(offers: dict[str, list[str]], series: str) -> list[tuple[str, str]]:
    """candidates(), but a series newer than all fixed ones gives way to whatever is newest."""
    try:
        return candidates(offers, series)
    except NotCarried:
        if tuple(int(part) for part in series.split(".")) < NEWEST_FROM:
            raise
        found = candidates(offers, "newest")
        store.say(f"no suite carries {series}: using {series_of(found[0][1])} in its place")
        return found


def _fetch_first(apt: Apt, choices: list[tuple[str, str]]) -> tuple[Path, dict[str, Any]]:
    """Fetch the first of `choices`; one whose file is gone from the archive gives way to the next, with a note."""
    for release, version in choices:
        directory = store.vm_dir() / "kernels" / series_of(version)
        inputs = {"release": release, "version": version, "debug": DEBUG_MODULES, "boot": BOOT_MODULES}
        try:
            return directory, store.ensure(
                directory, inputs, functools.partial(_fetch, apt, release, version)
            )
        except FileGone as error:
            store.say(
                f"the archive lists {release} {version} without holding it, trying an older one: {error}"
            )
    raise VmError(f"the archive lists kernels of {series_of(choices[0][1])} and holds none of them")


def fetch(series: str, update: bool = False) -> Kernel:
    """Have the newest kernel of a series in the cache; with `update`, look whether the archive has a newer one.

    Raises NotCarried where no suite has the series any more.
    """
    if series != "newest" and not re.fullmatch(r"\d+\.\d+", series):
        raise VmError(f"{series} is no kernel series: one of {' '.join(SERIES)}, or a number like 6.1")
    kernel = fetched(series)
    if kernel and not update:
        return kernel
    ensure_tools()
    with store.locked("apt-kernels"):
        apt, offers = _archive()
        directory, stamp = _fetch_first(apt, _choose(offers, series))
        if series != directory.name:
            link = directory.with_name(series)
            temporary = directory.with_name(f".{series}.link")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(directory.name)
            temporary.rename(link)
    return _from_stamp(directory, stamp)
