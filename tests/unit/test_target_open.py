# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a dump that holds nothing but its VMCOREINFO: what can be known of it, and what is missing."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

import coremaker
from coremaker import core, note, vmlinux
from sockcrash.errors import SockcrashError, TargetError, UsageError
from sockcrash.kernel.lost_types import no_types
from sockcrash.model import Reason
from sockcrash.target import TargetOptions, debuginfo, open_target


@pytest.fixture
def dump(tmp_path: Path) -> str:
    (tmp_path / "vmcore").write_bytes(core())
    return str(tmp_path / "vmcore")


def refusal(kind: type[SockcrashError] = TargetError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        open_target(TargetOptions(**options))  # type: ignore[arg-type]
    return f"{caught.value.message} | {caught.value.hint}"


def test_no_debug_information(dump: str, caplog: pytest.LogCaptureFixture) -> None:
    said = refusal(core=dump, debuginfo="dwarf", no_symbols_by=("standard",))
    assert f"kernel 6.1.0-99-amd64 (build id {coremaker.BUILD_ID.hex()})" in said
    assert "install linux-image-6.1.0-99-amd64-dbg" in said
    assert not caplog.records, "what is missing is said once"


def test_vmlinux_of_another_build(dump: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = tmp_path / "vmlinux"
    other.write_bytes(vmlinux(b"\xee" * 20, "6.1.0-98-amd64"))
    said = refusal(core=dump, symbols=(str(other),))
    assert "ee" * 20 in said
    assert coremaker.BUILD_ID.hex() in said
    assert "6.1.0-98-amd64" in said
    assert not caplog.records


def test_vmlinux_without_debug_information(dump: str, tmp_path: Path) -> None:
    stripped = tmp_path / "vmlinux"
    stripped.write_bytes(vmlinux(coremaker.BUILD_ID))
    assert "without debug information" in refusal(core=dump, symbols=(str(stripped),))


def test_symbol_files_are_looked_at_before_the_dump_is_opened() -> None:
    assert "/no/such/vmlinux: no such file" in refusal(core="/no/such/vmcore", symbols=("/no/such/vmlinux",))


def test_truncated_dump_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(core(ram=1 << 16)[:-60000])
    refusal(core=str(path), debuginfo="dwarf", no_symbols_by=("standard",))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "60000 of" in record.getMessage()


def test_given_vmcoreinfo(tmp_path: Path) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(core(note(b"QEMU", 0, b"\0" * 440)))
    info = tmp_path / "vmcoreinfo"
    info.write_bytes(coremaker.VMCOREINFO.replace(b"6.1.0-99", b"6.1.0-97"))
    said = refusal(core=str(path), vmcoreinfo=str(info), debuginfo="dwarf", no_symbols_by=("standard",))
    assert "6.1.0-97" in said


def test_given_vmcoreinfo_is_none(dump: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("0x1000 4096\n")
    assert "no VMCOREINFO text" in refusal(core=dump, vmcoreinfo=str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("lines", "says"),
    [(b"OSRELEASE=6.1\nPAGESIZE=4096\n", "swapper_pg_dir"), (b"OSRELEASE=6.1\nPAGESIZE=17\n", "PAGESIZE")],
)
def test_vmcoreinfo_that_drgn_refuses(tmp_path: Path, lines: bytes, says: str) -> None:
    path = tmp_path / "vmcore"
    path.write_bytes(core(note(b"VMCOREINFO", 0, lines)))
    said = refusal(core=str(path))
    assert says in said
    assert str(path) in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"debuginfo": "btf", "symbols": ("x",)}, "--debuginfo btf"),
        ({"debuginfo": "dwarf", "btf": "x"}, "--debuginfo dwarf"),
        ({"architecture": "z80"}, "choose of"),
        ({"try_symbols_by": ("magic",)}, "--try-symbols-by magic: no such method | choose of"),
        ({"no_symbols_by": ("kmod=depmod",)}, "--no-symbols-by kmod=depmod: no such method"),
    ],
)
def test_contradictions(dump: str, options: dict[str, object], says: str) -> None:
    assert says in refusal(UsageError, core=dump, **options)


def test_methods_that_drgn_knows(dump: str) -> None:
    methods = ("standard", "debuginfod", "build-id", "kmod=depmod-or-walk")
    assert "no types" in refusal(
        core=dump, debuginfo="dwarf", try_symbols_by=methods, no_symbols_by=("standard", "kmod")
    )


@pytest.mark.skipif(Path("/proc/kcore").exists(), reason="this machine has /proc/kcore")
def test_running_kernel_without_kcore() -> None:
    assert "/proc/kcore" in refusal()
    assert refusal(core="/proc/kcore") == refusal()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("option", ["btf", "system_map", "vmcoreinfo", "core"])
def test_pipes_are_refused_at_once(dump: str, tmp_path: Path, option: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    options = {"core": dump, option: str(tmp_path / "pipe")}
    assert "is a pipe" in refusal(**options)
    options = {"core": dump, option: str(tmp_path / "nothing")}
    assert "nothing: no such file" in refusal(**options)


def test_damaged_list_of_modules_costs_the_modules(caplog: pytest.LogCaptureFixture) -> None:
    """Of garbage for a module's size drgn makes a MemoryError; vmlinux serves all the same."""
    asked: list[object] = []

    class Damaged:
        def __init__(self) -> None:
            self.cache: dict[object, object] = {}

        def load_debug_info(self, *_: object, **__: object) -> None:
            raise MemoryError

        def main_module(self) -> Damaged:
            return self

        def try_file(self, path: str) -> None:
            asked.append(path)

        def load_module_debug_info(self, module: Damaged) -> None:
            asked.append(module)

    prog = Damaged()
    assert not debuginfo._load(prog, ("vmlinux",), main=True)  # type: ignore[arg-type]
    assert asked == ["vmlinux", prog]
    assert "list of modules is damaged" in caplog.text
    assert no_types(prog, "").reason is Reason.UNREADABLE  # type: ignore[arg-type]
