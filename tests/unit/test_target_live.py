# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why /proc/kcore can't be read: each state of a machine, rebuilt in a directory, has its own message."""

from __future__ import annotations

import errno
import gzip
import os
from typing import TYPE_CHECKING

import pytest

from sockcrash.target.live import explain_kcore, is_kcore

if TYPE_CHECKING:
    from pathlib import Path

ALL_CAPABILITIES = 0x1FFFFFFFFFF
CAP_SYS_RAWIO = 1 << 17
REFUSED = PermissionError(errno.EPERM, "Operation not permitted", "/proc/kcore")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine on which nothing hinders: each test adds one hindrance."""
    for name in ("proc/self", "sys/kernel/security", "boot", "run"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/kcore").write_bytes(b"\x7fELF")
    (tmp_path / "proc/self/status").write_text(f"Name:\tx\nCapEff:\t{ALL_CAPABILITIES:016x}\n")
    (tmp_path / "proc/self/uid_map").write_text("         0          0 4294967295\n")
    (tmp_path / "proc/self/mountinfo").write_text("22 1 0:21 / /proc rw - proc proc rw\n")
    (tmp_path / "sys/kernel/security/lockdown").write_text("[none] integrity confidentiality\n")
    return tmp_path


def said(root: Path, error: Exception = REFUSED) -> str:
    refusal = explain_kcore(error, root)
    assert refusal.exit_code == 1
    return f"{refusal.message} | {refusal.hint}"


def test_no_proc(root: Path) -> None:
    (root / "proc/self").rename(root / "elsewhere")
    assert "/proc is not mounted" in said(root)


@pytest.mark.parametrize("where", ["proc/config.gz", f"boot/config-{os.uname().release}"])
def test_kernel_without_kcore(root: Path, where: str) -> None:
    (root / "proc/kcore").unlink()
    config = b"CONFIG_PROC_FS=y\n# CONFIG_PROC_KCORE is not set\n"
    (root / where).write_bytes(gzip.compress(config) if where.endswith("gz") else config)
    assert "built without CONFIG_PROC_KCORE" in said(root)


def test_kcore_missing_in_a_container(root: Path) -> None:
    (root / "proc/kcore").unlink()
    (root / ".dockerenv").touch()
    assert "in this container" in said(root)


def test_kcore_missing_for_an_unknown_reason(root: Path) -> None:
    (root / "proc/kcore").unlink()
    (root / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_PROC_FS=y\nCONFIG_PROC_KCORE=y\n"))
    assert "or it is hidden here" in said(root)


def test_damaged_kernel_config_is_no_answer(root: Path) -> None:
    (root / "proc/kcore").unlink()
    (root / "proc/config.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    assert "or it is hidden here" in said(root)


def test_masked_by_a_container_runtime(root: Path) -> None:
    (root / "proc/kcore").unlink()
    (root / "proc/kcore").symlink_to("/dev/null")
    assert "mounted over /proc/kcore" in said(root)


def test_hidden_by_systemd(root: Path) -> None:
    (root / "proc/kcore").unlink()
    (root / "proc/kcore").symlink_to("/dev/null")
    with (root / "proc/self/mountinfo").open("a") as mounts:
        mounts.write("90 22 0:24 /systemd/inaccessible/reg /proc/kcore ro - tmpfs tmpfs rw\n")
    assert "ProtectKernelTunables" in said(root)


def test_locked_down(root: Path) -> None:
    (root / "sys/kernel/security/lockdown").write_text("none integrity [confidentiality]\n")
    assert "locked down (confidentiality)" in said(root)


@pytest.mark.parametrize("refused", [errno.EPERM, errno.EACCES])
def test_not_root(root: Path, refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "proc/self/status").write_text("CapEff:\t0000000000000000\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "only root" in said(root, PermissionError(refused, "no"))
    assert "sudo" in said(root)


def test_root_without_the_capability(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "proc/self/status").write_text(f"CapEff:\t{ALL_CAPABILITIES & ~CAP_SYS_RAWIO:016x}\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "CAP_SYS_RAWIO" in said(root)


def test_root_of_a_user_namespace(root: Path) -> None:
    (root / "proc/self/uid_map").write_text("         0       1000          1\n")
    assert "user namespace" in said(root)


def test_integrity_lockdown_is_not_blamed(root: Path) -> None:
    (root / "sys/kernel/security/lockdown").write_text("none [integrity] confidentiality\n")
    assert "SELinux" in said(root)


def test_anything_else_says_what_drgn_said(root: Path) -> None:
    assert "not an ELF core file" in said(root, ValueError("not an ELF core file"))


def test_the_path_of_kcore() -> None:
    assert is_kcore("/proc/kcore")
    assert not is_kcore("/proc/vmcore")
