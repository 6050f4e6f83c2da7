# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real command on real files and guests that it can't open: what it says, and how it ends."""

from __future__ import annotations

import gc
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import drgn
import pytest

from harness import dump_directory, kdump_directory

PROJECT = Path(__file__).resolve().parents[2]
KERNEL_MAP = 0xFFFFFFFF80000000  # __START_KERNEL_map
LARGEST_KERNEL = 64 << 20
sys.path.insert(0, str(PROJECT / "scripts"))

from vmlib import qmp  # noqa: E402
from vmlib.guest import Guest  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

RELEASE = "6.1."
ALL = ("--all", "--format", "jsonl")


@dataclass(frozen=True)
class Ended:
    """A run of sockcrash."""

    status: int
    lines: int
    said: str


def sockcrash(*args: str | Path, by: Sequence[str] = ()) -> Ended:
    done = subprocess.run(
        [*by, sys.executable, "-m", "sockcrash", *map(str, args)], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    return Ended(done.returncode, done.stdout.count("\n"), done.stderr)


def refused(*args: str | Path, status: int = 1) -> str:
    """What ``inspect`` said, which has shown nothing and given a hint."""
    ended = sockcrash("inspect", *args, *ALL)
    assert (ended.status, ended.lines) == (status, 0), ended.said
    assert re.search(r"^sockcrash: error: .+\nhint: .+", ended.said, re.MULTILINE)
    return ended.said


def dump() -> Path:
    """The directory of the dump that most of this is about."""
    return dump_directory("6.1")


def other_dump() -> Path:
    """One of another kernel."""
    return dump_directory("6.12")


def kdump() -> Path:
    """The directory of dumps that makedumpfile wrote."""
    return kdump_directory("6.1")


def build_id(vmlinux: Path) -> str:
    """As drgn reads it."""
    module = drgn.Program().extra_module(str(vmlinux), create=True)
    module.try_file(vmlinux)
    assert module.build_id
    return module.build_id.hex()


# Files


def test_vmlinux_as_dump() -> None:
    assert f"did you mean -s {dump() / 'vmlinux'}" in refused("-c", dump() / "vmlinux")


def test_boot_image_as_dump() -> None:
    assert "a boot image (vmlinuz)" in refused("-c", (dump() / "vmlinux").resolve().with_name("vmlinuz"))


def test_module_as_dump() -> None:
    module = next((dump() / "modules-debug").glob("*.ko"))
    assert "a kernel module, not a dump" in refused("-c", module)


def test_text_as_dump() -> None:
    assert "not a vmcore (text)" in refused("-c", dump() / "System.map")


def test_unreadable_dump() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "vmcore")
        shutil.copyfile(kdump() / "vmcore", path)
        path.chmod(0)
        as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
        ended = sockcrash("inspect", "-c", path, *ALL, by=as_nobody)
    assert (ended.status, ended.lines) == (1, 0)
    assert f"{path}: Permission denied" in ended.said


def test_dump_as_spec() -> None:
    ended = sockcrash("inspect", dump() / "vmcore")
    assert ended.status == 2
    assert f"did you mean -c {dump() / 'vmcore'}?" in ended.said


def test_core_of_a_process(tmp_path: Path) -> None:
    def allow_core() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    crash = [sys.executable, "-c", "import os; os.abort()"]
    assert subprocess.run(crash, cwd=tmp_path, preexec_fn=allow_core).returncode == -signal.SIGABRT
    cores = list(tmp_path.glob("core*"))
    if not cores:
        pytest.skip(f"core_pattern {Path('/proc/sys/kernel/core_pattern').read_text()!r} leaves no core here")
    assert "core dump of a process" in refused("-c", cores[0])


@pytest.fixture
def cut_dump(tmp_path: Path) -> Path:
    """The first 400 MB of a dump, or as much as holds the kernel's own data, which lies anywhere."""
    prog = drgn.Program()
    prog.set_core_dump(dump() / "vmcore")
    told = prog["VMCOREINFO"].string_().decode()
    text = int(re.search(r"SYMBOL\(_stext\)=(\w+)", told)[1], 16)
    base = int(re.search(r"NUMBER\(phys_base\)=(-?\d+)", told)[1])
    left = max(400 << 20, text - KERNEL_MAP + base + LARGEST_KERNEL)
    with (dump() / "vmcore").open("rb") as whole, (tmp_path / "vmcore").open("wb") as part:
        while left > 0 and (copied := os.copy_file_range(whole.fileno(), part.fileno(), left)):
            left -= copied
    if left:
        pytest.skip("the kernel lies at the very end of this dump")
    return tmp_path / "vmcore"


def test_cut_dump_shows_what_is_there(cut_dump: Path) -> None:
    missing = (dump() / "vmcore").stat().st_size - cut_dump.stat().st_size
    ended = sockcrash("inspect", "-c", cut_dump, "-s", dump() / "vmlinux", *ALL)
    found = re.search(rf"warning: {cut_dump} is cut short: (\d+) of", ended.said)
    assert found
    assert 0 <= missing - int(found[1]) < 4096, "all but what QEMU writes behind the memory"
    assert "error:" not in ended.said
    assert ended.status == 4
    assert ended.lines > 0


def test_dump_cut_within_its_headers(cut_dump: Path) -> None:
    os.truncate(cut_dump, 600)
    assert "with them VMCOREINFO" in refused("-c", cut_dump)
    os.truncate(cut_dump, 100)
    assert "the headers reach to byte" in refused("-c", cut_dump)
    os.truncate(cut_dump, 10)
    assert "cut short within its ELF header" in refused("-c", cut_dump)
    os.truncate(cut_dump, 0)
    assert "is empty" in refused("-c", cut_dump)


# kdump-compressed


@pytest.mark.parametrize("name", ["vmcore", "vmcore.lzo", "vmcore.zstd"])
def test_cut_kdump(tmp_path: Path, name: str) -> None:
    """Its last 1000 bytes are gone: the last page's data, which nothing asks for."""
    path = tmp_path / name
    shutil.copyfile(kdump() / name, path)
    os.truncate(path, path.stat().st_size - 1000)
    ended = sockcrash("inspect", "-c", path, *ALL)
    found = re.search(r"cut short: at least (\d+) bytes are missing", ended.said)
    assert found
    assert int(found[1]) <= 1000
    assert ended.lines == sockcrash("inspect", "-c", kdump() / name, *ALL).lines > 0


def test_whole_kdumps_are_not_called_cut() -> None:
    for name in ("vmcore", "vmcore.lzo", "vmcore.zstd"):
        assert "missing" not in sockcrash("layout", "-c", kdump() / name).said


def test_kdump_that_drgn_cannot_unpack(tmp_path: Path) -> None:
    """Every page is marked as packed by lzo, which it is not: as it looks to a drgn that knows no lzo."""
    data = bytearray((kdump() / "vmcore").read_bytes())
    _status, block, sub_blocks, bitmap_blocks = struct.unpack_from("<IiiI", data, 424)
    struct.pack_into("<I", data, 424, 2)
    at = (1 + sub_blocks + bitmap_blocks) * block
    pages = int.from_bytes(data[at - bitmap_blocks * block // 2 : at], "little").bit_count()
    for row in range(at, at + 24 * pages, 24):
        struct.pack_into("<I", data, row + 12, 2)
    (tmp_path / "vmcore").write_bytes(data)
    said = refused("-c", tmp_path / "vmcore")
    assert "which is compressed with lzo" in said
    assert "makedumpfile -c" in said


# Debug information


def test_no_debug_information(tmp_path: Path) -> None:
    said = refused("-c", dump() / "vmcore", "--debuginfo", "dwarf", "--no-symbols-by", "standard")
    assert build_id(dump() / "vmlinux") in said
    assert re.search(rf"install linux-image-{re.escape(RELEASE)}\S+-dbg,", said)
    assert "drgn: warning" not in said


def test_vmlinux_of_another_build() -> None:
    said = refused("-c", dump() / "vmcore", "-s", other_dump() / "vmlinux")
    assert f"build id {build_id(other_dump() / 'vmlinux')} (6.12." in said
    assert f"the kernel is build id {build_id(dump() / 'vmlinux')} ({RELEASE}" in said


def test_vmlinux_of_another_build_beside_the_right_one() -> None:
    ended = sockcrash(
        "layout", "-c", dump() / "vmcore", "-s", dump() / "vmlinux", "-s", other_dump() / "vmlinux"
    )
    assert ended.status == 0
    assert "warning: ignored: -s" in ended.said


def test_dump_as_symbols() -> None:
    assert f"did you mean -c {dump() / 'vmcore'}" in refused("-c", dump() / "vmcore", "-s", dump() / "vmcore")


def test_system_map_as_symbols() -> None:
    assert "did you mean --system-map" in refused("-c", dump() / "vmcore", "-s", dump() / "System.map")


def test_boot_image_as_symbols() -> None:
    vmlinuz = (dump() / "vmlinux").resolve().with_name("vmlinuz")
    assert "carries no debug information" in refused("-c", dump() / "vmcore", "-s", vmlinuz)


def test_module_of_another_kernel_as_symbols() -> None:
    module = next((other_dump() / "modules-debug").glob("*.ko"))
    assert "a module that is not loaded there" in refused("-c", dump() / "vmcore", "-s", module)


def test_types_and_symbols_of_another_kernel() -> None:
    assert "--btf" in refused("-c", dump() / "vmcore", "--btf", other_dump() / "vmlinux")
    assert "System.map" in refused("-c", dump() / "vmcore", "--system-map", other_dump() / "System.map")


@pytest.mark.skipif(Path("/proc/kcore").exists(), reason="this machine has /proc/kcore")
def test_no_kcore_on_this_machine() -> None:
    assert "/proc/kcore" in refused()


# A running guest, over QMP and from within


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """Linux 6.1 with the lockdown module, which Debian's kernels have but do not turn on."""
    with Guest.boot("6.1", append="lsm=lockdown,capability") as guest:
        guest.put_project("sockcrash")
        guest.run(["mount", "-t", "securityfs", "none", "/sys/kernel/security"]).check()
        yield guest


def test_busy_monitor(guest: Guest) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(guest.qmp_address)
        other.recv(100)
        start = time.monotonic()
        said = refused("--qemu", guest.qmp_address)
        assert 9 < time.monotonic() - start < 20
    assert "one client at a time" in said


def test_other_socket_than_qmp(guest: Guest) -> None:
    """The guest agent's, which says nothing, or is busy: it has one client too."""
    assert "no answer within" in refused("--qemu", guest.directory / "agent")


def test_given_vmcoreinfo_serves_a_guest(guest: Guest, tmp_path: Path) -> None:
    asked = drgn.Program()
    asked.set_qemu_qmp(guest.qmp_address)
    info = tmp_path / "vmcoreinfo"
    info.write_bytes(asked["VMCOREINFO"].string_())
    del asked
    gc.collect()  # a Program and what plugins gave it hold each other
    ended = sockcrash("layout", "--qemu", guest.qmp_address, "--vmcoreinfo", info)
    assert ended.status == 0, ended.said
    info.write_bytes(info.read_bytes().replace(b"swapper_pg_dir", b"swapper_xx_dir"))
    assert "swapper_pg_dir" in refused("--qemu", guest.qmp_address, "--vmcoreinfo", info)


@pytest.mark.parametrize("name", ["kdump-zlib", "kdump-raw-zlib"])
def test_kdump_formats_of_qemu(guest: Guest, tmp_path: Path, name: str) -> None:
    path = tmp_path / "vmcore"
    monitor = Path(guest.qmp_address)
    qmp.execute(monitor, "dump-guest-memory", timeout=200, paging=False, protocol=f"file:{path}", format=name)
    assert "add --architecture x86_64" in refused("-c", path)
    ended = sockcrash("layout", "-c", path, "--architecture", "x86_64")
    assert ended.status == 0, ended.said
    if name == "kdump-zlib":
        os.truncate(path, path.stat().st_size // 2)
        assert "flattened dump that is cut short" in refused("-c", path)


def test_dump_without_vmcoreinfo(guest: Guest, tmp_path: Path) -> None:
    """QEMU's dump with the note renamed: as it is without -device vmcoreinfo."""
    path = tmp_path / "vmcore"
    guest.dump(path)
    with path.open("r+b") as file:
        head = file.read(1 << 16)
        file.seek(head.index(b"VMCOREINFO\0"))
        file.write(b"VMCOREINFX\0")
    said = refused("-c", path)
    assert "-device vmcoreinfo" in said
    info = tmp_path / "vmcoreinfo"
    start = head.index(b"OSRELEASE=")
    info.write_bytes(head[start : head.index(b"\0", start)])
    assert sockcrash("layout", "-c", path, "--vmcoreinfo", info).status == 0


def in_guest(guest: Guest, around: str = "") -> str:
    done = guest.run(["sh", "-c", f"{around} python3 -m sockcrash inspect --all"], timeout=200)
    assert "Traceback" not in done.stderr
    assert (done.rc, done.stdout) == (1, ""), done.stderr
    return done.stderr


def in_mounts(*commands: str) -> str:
    """A shell prefix: the command behind it runs in a mount namespace where ``commands`` were done."""
    return f"""unshare -m -p -f sh -c '{"; ".join(commands)}; exec "$@"' x"""


@pytest.mark.parametrize(
    ("around", "says"),
    [
        ("setpriv --reuid 1000 --clear-groups", "only root may read"),
        ("setpriv --bounding-set -sys_rawio", "no CAP_SYS_RAWIO"),
        ("unshare -r", "root is one of a user namespace only"),
        (in_mounts("mount --bind /dev/null /proc/kcore"), "something is mounted over /proc/kcore"),
        (
            in_mounts("mkdir -p /run/systemd/inaccessible", ": > /run/systemd/inaccessible/reg",
                      "mount --bind /run/systemd/inaccessible/reg /proc/kcore"),
            "systemd hides /proc/kcore",
        ),
        (in_mounts("mount -t proc -o subset=pid proc /proc"), "or it is hidden here"),
        (
            in_mounts("touch /run/.containerenv", "mount -t proc -o subset=pid proc /proc"),
            "in this container",
        ),
        (in_mounts("umount -l /proc"), "/proc is not mounted"),
    ],
)  # fmt: skip
def test_kcore_that_cannot_be_read(guest: Guest, around: str, says: str) -> None:
    assert says in in_guest(guest, around)
    guest.run(["rm", "-f", "/run/.containerenv"]).check()


def test_locked_down_kernel(guest: Guest) -> None:
    """The last test of this guest: a lockdown can't be lifted."""
    guest.run(["sh", "-c", "echo confidentiality > /sys/kernel/security/lockdown"]).check()
    assert "locked down (confidentiality)" in in_guest(guest)
