# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bare vmcore, by its own BTF and kallsyms, against the DWARF of vmlinux and its modules: the same JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import sockcrash_here, sockcrash_process
from oracle.types import without_module_types

if TYPE_CHECKING:
    from harness import Dump, Record

pytestmark = pytest.mark.vm

WHAT = ("--all", "--every", "--format", "jsonl")


def by_dwarf(dump: Dump) -> dict[str, Record]:
    modules = sorted((dump.directory / "modules-debug").glob("*.ko"))
    files = [word for path in (dump.vmlinux, *modules) for word in ("-s", str(path))]
    ended = sockcrash_here("inspect", "-q", "-c", str(dump.core), *files, *WHAT)
    return {one["address"]: one for one in ended.records}


def test_the_same_as_by_dwarf(dump: Dump) -> None:
    bare = {
        one["address"]: one for one in sockcrash_here("inspect", "-q", "-c", str(dump.core), *WHAT).records
    }
    full = by_dwarf(dump)
    assert len(bare) > 300
    if dump.prog.symbols("btf_modules"):
        assert list(bare) == list(full)
        for address, one in full.items():
            assert bare[address] == one
        return
    # A kernel without BTF of modules: what needs a module's types says so, and everything else is the same.
    for address, one in bare.items():
        if one["kind"] != "vsock":
            assert without_module_types(one, one["absent"]) == without_module_types(
                full[address], one["absent"]
            )
    assert {one["kind"] for address, one in full.items() if address not in bare} <= {"vsock"}
    # That is no fault of the memory, so no status 4; but nobody shall think that they have no ends.
    ended = sockcrash_process("list", "-c", str(dump.core), "kind = vsock")
    assert ended.status == 0
    assert {tuple(line.split()[4:6]) for line in ended.out.splitlines()[1:]} == {("?", "?")}
    assert "no struct vsock_sock in the types of this kernel" in ended.err
