# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which kernel stands for a series, and in which order its modules load."""

from __future__ import annotations

import lzma
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from vmlib import kernels
from vmlib.errors import FileGone, NotCarried, VmError

pytestmark = pytest.mark.skipif(not shutil.which("dpkg"), reason="compares versions by dpkg")

IMAGE = "linux-image-{}-cloud-amd64"


def offers(*packages, debug=True):
    """Package lists as apt gives them, from (release, versions...)."""
    found = {}
    for release, *versions in packages:
        found[IMAGE.format(release)] = list(versions)
        if debug:
            found[IMAGE.format(release) + "-dbg"] = list(versions)
    return found


CARRIED = offers(
    ("5.10.0-32", "5.10.223-1"),
    ("5.10.0-46", "5.10.262-1"),
    ("6.1.0-56", "6.1.192-2"),
    ("6.1.0-9", "6.1.27-1"),
    ("6.1.0-0.deb11.52", "6.1.192-2~deb11u1"),
    ("6.12.117+deb13", "6.12.117-1"),
    ("6.12.95+deb12", "6.12.95-1~bpo12+1"),
    ("7.2.13+deb14", "7.2.13-1"),
)


@pytest.mark.parametrize(
    ("series", "release", "version"),
    [
        ("5.10", "5.10.0-46", "5.10.262-1"),
        ("6.1", "6.1.0-56", "6.1.192-2"),  # not 6.1.27 by text, not the backport
        ("6.12", "6.12.117+deb13", "6.12.117-1"),
        ("newest", "7.2.13+deb14", "7.2.13-1"),
    ],
)
def test_newest_of_the_series(series, release, version):
    assert kernels.candidates(CARRIED, series)[0] == (f"{release}-cloud-amd64", version)


def test_older_ones_follow_newest_first():
    assert [version for _, version in kernels.candidates(CARRIED, "6.1")] == [
        "6.1.192-2", "6.1.192-2~deb11u1", "6.1.27-1",
    ]  # fmt: skip


def test_newest_gives_no_kernel_of_another_series():
    assert [version for _, version in kernels.candidates(CARRIED, "newest")] == ["7.2.13-1"]


def test_a_kernel_without_its_debug_package_does_not_count():
    carried = {**offers(("6.1.0-57", "6.1.193-1"), debug=False), **offers(("6.1.0-56", "6.1.192-2"))}
    assert kernels.candidates(carried, "6.1")[0][1] == "6.1.192-2"
    older = {**offers(("6.1.0-57", "6.1.193-1")), IMAGE.format("6.1.0-57") + "-dbg": ["6.1.192-2"]}
    with pytest.raises(NotCarried):
        kernels.candidates(older, "6.1")


def test_meta_packages_and_other_flavours_do_not_count():
    carried = {name: ["6.1.192-2"] for name in ("linux-image-cloud-amd64", "linux-image-6.1-cloud-amd64",
               "linux-image-6.1.0-56-rt-amd64", "linux-image-6.1.0-56-cloud-amd64-unsigned")}  # fmt: skip
    carried |= {f"{name}-dbg": versions for name, versions in carried.items()}
    with pytest.raises(NotCarried):
        kernels.candidates(carried, "6.1")


def test_a_series_that_is_gone_is_a_skip_not_a_failure():
    with pytest.raises(NotCarried) as raised:
        kernels._choose(CARRIED, "5.15")
    assert raised.value.exit_code == 77
    assert "5.15" in str(raised.value)


def test_a_series_newer_than_all_gives_way_to_the_newest_and_says_so(capsys):
    assert kernels._choose(CARRIED, "7.1") == [("7.2.13+deb14-cloud-amd64", "7.2.13-1")]
    assert "no suite carries 7.1: using 7.2 in its place" in capsys.readouterr().err


def test_a_listed_kernel_whose_file_is_gone_gives_way_to_an_older(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOCKCRASH_VM_DIR", str(tmp_path))

    def fetch(_apt, release, version, _directory):
        if version == "6.1.192-2":
            raise FileGone("404")
        return {"release": release, "version": version, "series": "6.1"}

    monkeypatch.setattr(kernels, "_fetch", fetch)
    directory, stamp = kernels._fetch_first(None, kernels.candidates(CARRIED, "6.1"))
    assert (directory, stamp["facts"]["version"]) == (tmp_path / "kernels/6.1", "6.1.192-2~deb11u1")
    assert "6.1.192-2 without holding it" in capsys.readouterr().err

    def none(*_):
        raise FileGone("404")

    monkeypatch.setattr(kernels, "_fetch", none)
    with pytest.raises(VmError) as raised:
        kernels._fetch_first(None, kernels.candidates(CARRIED, "6.12"))
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("series", ["6", "latest", "6.1.192", "../6.1", ""])
def test_what_is_no_series(series):
    with pytest.raises(VmError, match="no kernel series"):
        kernels.fetch(series)


def test_fetched_says_nothing_of_a_damaged_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("SOCKCRASH_VM_DIR", str(tmp_path))
    monkeypatch.setattr(kernels, "_fetch", lambda _apt, release, version, part: (
        (part / "vmlinux").write_text("x" * 100),
        {"release": release, "version": version, "series": "6.1"},
    )[1])  # fmt: skip
    kernels._fetch_first(None, kernels.candidates(CARRIED, "6.1"))
    assert kernels.fetched("6.1").release == "6.1.0-56-cloud-amd64"
    (tmp_path / "kernels/6.1/vmlinux").write_text("x" * 50)
    assert kernels.fetched("6.1") is None


DEPENDENCIES = """\
kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
kernel/lib/crc16.ko.xz:
kernel/fs/mbcache.ko.xz:
kernel/arch/x86/crypto/crc32c-intel.ko.xz:
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/virtio/virtio.ko.xz: kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/virtio/virtio_ring.ko.xz:
"""


def test_modules_come_after_what_they_need():
    order = kernels.order_modules(DEPENDENCIES, ["virtio_blk", "ext4", "crc32c_intel", "builtin_one"])
    names = [path.rsplit("/", 1)[1].removesuffix(".ko.xz") for path in order]
    assert set(names) == {
        "virtio_ring",
        "virtio",
        "virtio_blk",
        "jbd2",
        "mbcache",
        "crc16",
        "ext4",
        "crc32c-intel",
    }
    assert len(names) == len(set(names))
    for before, after in (
        ("virtio_ring", "virtio"),
        ("virtio", "virtio_blk"),
        ("jbd2", "ext4"),
        ("crc16", "ext4"),
    ):
        assert names.index(before) < names.index(after)


def test_boot_modules_are_plain_and_numbered(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "BOOT_MODULES", ["virtio_blk"])
    (tmp_path / "modules.dep").write_text("a/virtio_blk.ko.xz: b/virtio.ko\nb/virtio.ko:\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/virtio_blk.ko.xz").write_bytes(lzma.compress(b"\x7fELF block"))
    (tmp_path / "b/virtio.ko").write_bytes(b"\x7fELF virtio")
    kernels._make_boot_modules(tmp_path, tmp_path / "out")
    found = {path.name: path.read_bytes() for path in sorted((tmp_path / "out").iterdir())}
    assert found == {"00-virtio.ko": b"\x7fELF virtio", "01-virtio_blk.ko": b"\x7fELF block"}
