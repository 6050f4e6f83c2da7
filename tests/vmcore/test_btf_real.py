# SPDX-License-Identifier: LGPL-2.1-or-later
"""BTF and kallsyms of real kernels against the DWARF and symbol table of the same kernels, as drgn reads them."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import drgn
import pytest
from drgn import FindObjectFlags, Program, SymbolKind, TypeKind
from drgn.helpers.linux.cgroup import cgroup_name, cgroup_path
from drgn.helpers.linux.cpumask import for_each_online_cpu, for_each_possible_cpu
from drgn.helpers.linux.fs import d_path, fget, for_each_file, for_each_mount, mount_dst
from drgn.helpers.linux.mm import totalram_pages
from drgn.helpers.linux.module import for_each_module
from drgn.helpers.linux.net import SOCK_INODE, for_each_net, for_each_netdev, netdev_name
from drgn.helpers.linux.percpu import per_cpu, percpu_counter_sum
from drgn.helpers.linux.pid import find_task, for_each_task
from drgn.helpers.linux.printk import get_dmesg
from drgn.helpers.linux.sched import idle_task, task_state_to_char
from drgn.helpers.linux.slab import (
    find_slab_cache,
    for_each_slab_cache,
    slab_cache_for_each_allocated_object,
    slab_object_info,
)

from harness import SERIES, dump_directory
from sockcrash.errors import TargetError
from sockcrash.kernel import nodebug
from sockcrash.kernel.btf import Btf, Kind
from sockcrash.kernel.declarations import MODULE_VARIABLES, UNNAMED, VARIABLES
from sockcrash.kernel.registry import layout_rows
from sockcrash.kernel.view import kernel_of
from sockcrash.target import TargetOptions, open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.vm

PACKAGE = Path(nodebug.__file__).parents[1]
COMPOUND = (TypeKind.STRUCT, TypeKind.UNION)
MAX_NESTING = 10


@dataclass
class Pair:
    """One dump opened twice: with nothing but itself, and with all debug files."""

    directory: Path
    bare: Program
    dwarf: Program

    @property
    def btf(self) -> Btf:
        return nodebug.kernel_types(self.bare).btf

    def names(self, kind: Kind, *, unique: bool = True) -> list[str]:
        """All names of a kind in BTF, those defined more than once aside."""
        found = [name for name in (self.btf.record(i).name for i in self.btf.ids(kind)) if name]
        return [name for name in found if len(self.btf.find_all(kind, name)) == 1] if unique else found


def opened(directory: Path) -> Program:
    prog = Program()
    prog.set_core_dump(directory / "vmcore")
    return prog


@pytest.fixture(scope="module", params=SERIES)
def pair(request: pytest.FixtureRequest) -> Pair:
    directory = dump_directory(request.param)
    bare, dwarf = opened(directory), opened(directory)
    nodebug.attach(bare, live=False)
    files = [directory / "vmlinux", *(directory / "modules-debug").glob("*.ko")]
    dwarf.load_debug_info(files)
    return Pair(directory, bare, dwarf)


def stripped(ctype: drgn.Type) -> drgn.Type:
    while ctype.kind == TypeKind.TYPEDEF:
        ctype = ctype.type
    return ctype


def shape(ctype: drgn.Type, prefix: str = "", start: int = 0, depth: int = 0) -> Iterator[tuple[object, ...]]:
    """Name, place, width and type of every member, also of those inside of structs without a name.

    The lengths of arrays are left to the sizes: older writers of BTF join dimensions, and [] is [0] in BTF.
    """
    for member in ctype.members or ():
        name, place = f"{prefix}{member.name or ''}", start + member.bit_offset
        written = member.type.type_name()
        anonymous = "<anonymous>" in written
        yield name, place, member.bit_field_size, "" if anonymous else written.partition("[")[0].strip()
        inner = stripped(member.type)
        while inner.kind == TypeKind.ARRAY:
            inner = stripped(inner.type)
        if anonymous and inner.kind in COMPOUND and depth < MAX_NESTING:
            yield from shape(inner, f"{name}.", place, depth + 1)


def same_shape(bare: drgn.Type, dwarf: drgn.Type) -> bool:
    return bool(bare.size == dwarf.size and list(shape(bare)) == list(shape(dwarf)))


def lookup(find: Callable[..., Any], *args: Any) -> Any:
    try:
        return find(*args)
    except LookupError:
        return None


def test_every_struct_of_a_row_is_the_same(pair: Pair, figures: Callable[[str], None]) -> None:
    rows = "".join(path.read_text() for path in sorted((PACKAGE / "kernel").rglob("*.py")))
    names = set(re.findall(r"\b(?:struct|union) \w+", rows))
    assert {"struct tcp_sock", "struct inet_hashinfo", "struct sk_buff"} <= names
    both = [(name, lookup(pair.bare.type, name), lookup(pair.dwarf.type, name)) for name in sorted(names)]
    compared = [(name, bare, dwarf) for name, bare, dwarf in both if bare and dwarf]
    assert [name for name, bare, dwarf in compared if not same_shape(bare, dwarf)] == []
    missing = [name for name, bare, dwarf in both if dwarf and not bare]
    figures(
        f"{pair.directory.name}: {len(compared)} structs of rows equal, not in BTF: {', '.join(missing) or 'none'}"
    )
    if nodebug.module_types(pair.bare, "vsock"):  # before v5.11 modules have no BTF
        assert missing == []
    assert len(compared) > 40


def test_every_row_is_bound_as_by_dwarf(pair: Pair, figures: Callable[[str], None]) -> None:
    core, vmlinux = str(pair.directory / "vmcore"), str(pair.directory / "vmlinux")
    targets = [open_target(TargetOptions(core=core, symbols=files)) for files in ((), (vmlinux,))]
    rows = [list(layout_rows(kernel_of(target.prog))) for target in targets]
    different = [(ours, theirs) for ours, theirs in zip(*rows, strict=True) if ours != theirs]
    figures(
        f"{pair.directory.name}: {len(rows[0])} rows bound alike, rows that BTF can't bind: {different or 'none'}"
    )
    assert different == []
    assert len(rows[0]) > 300


def test_thousands_of_structs_are_the_same(pair: Pair) -> None:
    compared, different = 0, []
    for kind, word in ((Kind.STRUCT, "struct"), (Kind.UNION, "union")):
        for name in pair.names(kind):
            dwarf = lookup(pair.dwarf.type, f"{word} {name}")
            if dwarf is not None and dwarf.is_complete():
                compared += 1
                if not same_shape(pair.bare.type(f"{word} {name}"), dwarf):
                    different.append(name)
    assert different == []
    assert compared > 5000


def test_enumerators_are_the_same(pair: Pair) -> None:
    everything: list[str] = []
    for kind, step in ((Kind.ENUM, 2), (Kind.ENUM64, 3)):
        for type_id in pair.btf.ids(kind):
            everything += map(pair.btf.string, pair.btf.record(type_id).body[::step])
    unique = sorted(name for name, count in Counter(everything).items() if count == 1)
    signs_are_marked = pair.btf.has_signed_enums()
    different, compared = [], 0
    for name in random.Random(1).sample(unique, 3000):
        dwarf = lookup(pair.dwarf.constant, name)
        if dwarf is None:
            continue
        bare = pair.bare.constant(name)
        compared += 1
        if (bare.value_(), bare.type_.type_name()) != (dwarf.value_(), dwarf.type_.type_name()):
            different.append(name)
    assert compared > 2900
    assert len(different) <= (0 if signs_are_marked else 10), (
        "old BTF marks no signs and has 32 bits of each value"
    )
    for name in ("SOCK_KEEPOPEN", "TCP_ESTABLISHED", "TCP_NEW_SYN_RECV", "TCP_CA_Loss"):
        assert pair.bare.constant(name).value_() == pair.dwarf.constant(name).value_()


def test_variables_have_the_type_and_address_that_dwarf_says(
    pair: Pair, figures: Callable[[str], None]
) -> None:
    names = {*VARIABLES, *MODULE_VARIABLES, *UNNAMED, *pair.names(Kind.VAR)}
    compared, different, missing = 0, [], []
    for name in sorted(names):
        dwarf = lookup(pair.dwarf.object, name, FindObjectFlags.VARIABLE)
        bare = lookup(pair.bare.object, name, FindObjectFlags.VARIABLE)
        if dwarf is None or bare is None:
            missing += [name] if dwarf is not None else []
            continue
        if len(pair.dwarf.symbols(name)) > 1:
            continue  # static in several files: which one drgn shows is chance
        compared += 1
        spelled = [
            item.type_.type_name().replace("pg_data_t", "struct pglist_data") for item in (bare, dwarf)
        ]
        if bare.address_ != dwarf.address_ or len(set(spelled)) != 1:
            different.append((name, *spelled))
    assert different == []
    assert missing == []
    assert compared > 150
    figures(f"{pair.directory.name}: {compared} variables equal")


def test_symbols_are_those_of_the_symbol_table(pair: Pair) -> None:
    start, end = (pair.bare.symbol(name).address for name in ("_stext", "_end"))
    everything = [
        symbol
        for symbol in pair.dwarf.symbols()
        if symbol.kind in (SymbolKind.FUNC, SymbolKind.OBJECT)
        and start <= symbol.address < end  # those of the initialization of modules are gone
        and not symbol.name.startswith(("__ksymtab", "__kstrtab"))
    ]
    sample = random.Random(2).sample(everything, 2000)
    found = {
        symbol.name: {item.address for item in lookup(pair.bare.symbols, symbol.name) or ()}
        for symbol in sample
    }
    assert [symbol for symbol in sample if symbol.address not in found[symbol.name]] == []
    functions = [symbol for symbol in sample if symbol.kind == SymbolKind.FUNC and symbol.size > 8]
    assert len(functions) > 500
    inside = [(symbol, lookup(pair.bare.symbol, symbol.address + 3)) for symbol in functions]
    # A few functions of assembler code have another symbol within.
    missed = [
        symbol for symbol, here in inside if here is None or not 0 <= here.address - symbol.address <= 3
    ]
    assert missed == []


def test_symbols_of_modules_are_those_of_their_files(pair: Pair) -> None:
    for name in ("vsock_bind_table", "vsock_proto", "bbr_main"):
        bare, dwarf = pair.bare.symbol(name), pair.dwarf.symbol(name)
        assert bare == dwarf
        assert pair.bare.symbol(dwarf.address + 1).name == name


def sockets(prog: Program) -> list[object]:
    """Descriptors of sockets with what the slab allocator, the inode and the cgroup say of them."""
    found: list[object] = []
    operations = prog["socket_file_ops"].address_
    for task in for_each_task(prog):
        for number, file in for_each_file(task) if task.files else ():
            if file.f_op.value_() == operations:
                socket = drgn.cast("struct socket *", file.private_data)
                slab = slab_object_info(socket.sk)
                place = slab and (slab.slab_cache.name.string_(), slab.address, slab.allocated)
                found.append(
                    (task.pid.value_(), number, socket.sk.value_(), place, SOCK_INODE(socket).i_ino.value_())
                )
    return found


HELPERS: dict[str, Callable[[Program], Any]] = {
    "for_each_net": lambda prog: [(net.value_(), net.ns.inum.value_()) for net in for_each_net(prog)],
    "for_each_netdev": lambda prog: [
        [netdev_name(dev) for dev in for_each_netdev(net)] for net in for_each_net(prog)
    ],
    "for_each_task": lambda prog: [
        (task.pid.value_(), task.comm.string_(), task_state_to_char(task)) for task in for_each_task(prog)
    ],
    "for_each_file, d_path": lambda prog: [
        (task.pid.value_(), number, d_path(file.f_path))
        for task in for_each_task(prog)
        for number, file in (for_each_file(task) if task.files else ())
    ],
    "slab_object_info": sockets,
    "fget": lambda prog: fget(find_task(prog, 1), 0).value_(),
    "cgroup_path": lambda prog: [cgroup_path(task.cgroups.dfl_cgrp) for task in for_each_task(prog)],
    "cgroup_name": lambda prog: cgroup_name(prog["cgrp_dfl_root"].cgrp.address_of_()),
    "per_cpu": lambda prog: [
        (cpu, per_cpu(prog["runqueues"], cpu).nr_running.value_()) for cpu in for_each_online_cpu(prog)
    ],
    "for_each_possible_cpu": lambda prog: list(for_each_possible_cpu(prog)),
    "idle_task": lambda prog: idle_task(prog, 0).comm.string_(),
    "for_each_module": lambda prog: [module.name.string_() for module in for_each_module(prog)],
    "for_each_slab_cache": lambda prog: [cache.name.string_() for cache in for_each_slab_cache(prog)],
    "slab_cache_for_each_allocated_object": lambda prog: [
        item.value_()
        for item in slab_cache_for_each_allocated_object(find_slab_cache(prog, "TCP"), "struct tcp_sock")
    ],
    "percpu_counter_sum": lambda prog: percpu_counter_sum(prog["tcp_sockets_allocated"].address_of_()),
    "get_dmesg": get_dmesg,
    "for_each_mount": lambda prog: [mount_dst(mount) for mount in for_each_mount(prog)],
    "totalram_pages": totalram_pages,
    "jiffies": lambda prog: prog["jiffies"].value_(),
}


@pytest.mark.parametrize("helper", HELPERS)
def test_helpers_of_drgn_give_the_same(pair: Pair, helper: str) -> None:
    bare, dwarf = HELPERS[helper](pair.bare), HELPERS[helper](pair.dwarf)
    assert bare == dwarf
    assert dwarf or helper in ("jiffies",)


def test_types_of_modules_are_the_same(pair: Pair, figures: Callable[[str], None]) -> None:
    compared, different = 0, []
    for name in ("tcp_bbr", "tcp_dctcp", "tls", "vsock"):
        types = nodebug.module_types(pair.bare, name)
        if types is None:
            continue
        for type_id in types.btf.ids(Kind.STRUCT):
            struct = types.btf.record(type_id).name
            dwarf = lookup(pair.dwarf.type, f"struct {struct}") if struct else None
            if dwarf is not None:
                compared += 1
                different += [] if same_shape(types.type(type_id), dwarf) else [struct]
    assert different == []
    figures(f"{pair.directory.name}: {compared} structs of modules equal")
    if "btf_modules" in pair.bare:
        assert compared > 10
        assert pair.bare.type("struct bbr").size == pair.dwarf.type("struct bbr").size


def test_btf_serves_modules_beside_the_dwarf_of_vmlinux(pair: Pair) -> None:
    prog = opened(pair.directory)
    prog.load_debug_info([pair.directory / "vmlinux"])
    with pytest.raises(LookupError):
        prog.type("struct bbr")
    assert nodebug.attach_modules(prog, live=False)
    if "btf_modules" not in prog:
        return
    assert same_shape(prog.type("struct bbr"), pair.dwarf.type("struct bbr"))
    assert prog["vsock_bind_table"].address_ == pair.dwarf["vsock_bind_table"].address_


def test_files_may_be_given(pair: Pair) -> None:
    prog = opened(pair.directory)
    attached = nodebug.attach(
        prog, btf=pair.directory / "vmlinux", system_map=pair.directory / "System.map", live=False
    )
    assert attached.symbols == "system-map"
    for name in ("tcp_hashinfo", "init_net", "tcp_orphan_count", "proto_list"):
        assert prog[name].address_ == pair.dwarf[name].address_


def test_files_of_other_kernels_are_refused(pair: Pair) -> None:
    others = [dump_directory(series) for series in SERIES]
    for other in others:
        if other == pair.directory:
            continue
        with pytest.raises(TargetError, match="not for this kernel"):
            nodebug.attach(opened(pair.directory), btf=other / "vmlinux", live=False)
        with pytest.raises(TargetError, match="not of this kernel"):
            nodebug.attach(opened(pair.directory), system_map=other / "System.map", live=False)


MEASURE = """
import re, sys, time
from sockcrash.kernel.btf import Btf, Kind
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
blob = open(sys.argv[1], "rb").read()
before = peak()
times = []
for _ in range(3):
    started = time.perf_counter()
    btf = Btf(blob)
    btf.find(Kind.STRUCT, "tcp_sock")
    btf.find_enumerator("SOCK_KEEPOPEN")
    times.append(time.perf_counter() - started)
print(min(times), (peak() - before) / 1024, btf.end_id)
"""


def test_the_index_is_fast_and_small(pair: Pair, tmp_path: Path, figures: Callable[[str], None]) -> None:
    start = pair.bare.symbol("__start_BTF").address
    (tmp_path / "btf").write_bytes(pair.bare.read(start, pair.btf.header.end))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "btf"], capture_output=True, text=True, check=True
    )
    seconds, megabytes, types = map(float, done.stdout.split())
    figures(
        f"{pair.directory.name}: index of {types:.0f} BTF types in {seconds:.3f} s and {megabytes:.0f} MB"
    )
    assert seconds < 0.25
    assert megabytes < 70
