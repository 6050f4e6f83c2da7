# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ladder of types and symbols on real dumps, and what a target says of itself."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import drgn
import pytest

from harness import dump_directory, kdump_directory
from sockcrash.errors import TargetError
from sockcrash.kernel import clock
from sockcrash.target import Target, TargetOptions, open_target

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def files() -> Path:
    return dump_directory("6.1")


def opened(files: Path, **options: object) -> Target:
    return open_target(TargetOptions(core=str(files / "vmcore"), **options))  # type: ignore[arg-type]


def by_drgn_alone(files: Path) -> drgn.Program:
    prog = drgn.Program()
    prog.set_core_dump(files / "vmcore")
    prog.load_debug_info([files / "vmlinux"])
    return prog


@pytest.mark.parametrize(
    ("options", "types", "symbols"),
    [
        ({}, "btf", "kallsyms"),
        ({"symbols": ("vmlinux",)}, "dwarf", "elf"),
        ({"symbols": ("vmlinux",), "debuginfo": "dwarf"}, "dwarf", "elf"),
        ({"debuginfo": "btf"}, "btf", "kallsyms"),
        ({"btf": "vmlinux", "system_map": "System.map"}, "btf", "system-map"),
    ],
)
def test_ladder(files: Path, options: dict[str, object], types: str, symbols: str) -> None:
    """What it says, and that it works: address and size of one object are drgn's."""
    given = {
        name: str(files / value) if name in ("btf", "system_map") else value
        for name, value in options.items()
    }
    if "symbols" in given:
        given["symbols"] = (str(files / "vmlinux"),)
    target = opened(files, **given)
    said = target.describe()
    assert (said["source"], said["types"], said["symbols"]) == ("vmcore", types, symbols)
    truth = by_drgn_alone(files)
    assert said["release"] == truth["init_uts_ns"].name.release.string_().decode()
    assert target.prog["init_net"].address_ == truth["init_net"].address_
    assert target.prog.type("struct tcp_sock").size == truth.type("struct tcp_sock").size


def test_btf_serves_modules_without_a_file(files: Path) -> None:
    """struct bbr is tcp_bbr's: in DWARF that is not there, in the module's BTF, or in the module's DWARF."""
    vmlinux, module = str(files / "vmlinux"), str(files / "modules-debug/tcp_bbr.ko")
    size = opened(files, symbols=(vmlinux, module), debuginfo="dwarf").prog.type("struct bbr").size
    assert opened(files, symbols=(vmlinux,)).prog.type("struct bbr").size == size
    with pytest.raises(LookupError):
        opened(files, symbols=(vmlinux,), debuginfo="dwarf").prog.type("struct bbr")


def test_modules_are_found_where_directories_say(files: Path) -> None:
    by_name = {"symbols": (str(files / "vmlinux"),), "debuginfo": "dwarf"}
    there = {**by_name, "kernel_directory": (str((files / "modules-debug").resolve()),)}
    assert opened(files, **there).prog.type("struct bbr").size
    with pytest.raises(LookupError):
        opened(files, **there, main_symbols=True).prog.type("struct bbr")


def test_vmlinux_is_found_where_directories_say(files: Path, tmp_path: Path) -> None:
    target = opened(files)
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / f"vmlinux-{target.release}").symlink_to(files / "vmlinux")
    found = opened(files, debuginfo="dwarf", debug_directory=(str(tmp_path),))
    assert found.types == "dwarf"
    with pytest.raises(TargetError):
        opened(files, debuginfo="dwarf", debug_directory=(str(tmp_path),), no_symbols_by=("standard",))


def test_taken_is_when_it_crashed() -> None:
    """The crash kernel notes CRASHTIME; the clock of the kernel that crashed agrees."""
    target = open_target(TargetOptions(core=str(kdump_directory("6.1") / "vmcore")))
    assert target.taken
    moment = datetime.fromisoformat(target.taken).timestamp()
    assert f"CRASHTIME={moment:.0f}\n".encode() in target.prog["VMCOREINFO"].string_()
    assert abs(int(clock.timekeeper(target.prog).xtime_sec) - moment) <= 1


def test_taken_of_a_dump_without_crashtime(files: Path) -> None:
    """QEMU's dump: the kernel's clock, of which the vDSO has a copy for the processes."""
    target = opened(files)
    assert target.taken
    data = by_drgn_alone(files)["_vdso_data"][0].basetime[0]
    assert abs(int(data.sec) - datetime.fromisoformat(target.taken).timestamp()) <= 1
