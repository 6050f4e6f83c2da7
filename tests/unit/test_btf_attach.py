# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel that has only its own BTF and kallsyms: what drgn finds then, and what is refused."""

from __future__ import annotations

import struct

import drgn
import pytest

from btf_maker import SIGNED, BtfMaker, small_kernel
from kallsyms_maker import IMAGE, make_image
from sockcrash.errors import TargetError
from sockcrash.kernel import btf_source, nodebug

BTF_AT = IMAGE + 0x2000
SOCK_PROTOS = IMAGE + 0x4000
JIFFIES = IMAGE + 0x4100
TK_CORE = IMAGE + 0x4200
TICK = IMAGE + 0x4300


def kernel_types():
    make = small_kernel()
    u32 = make.int("__u32", 4)
    make.add(8, "u64", make.int("long long unsigned int", 8))
    seq = make.struct("seqcount", 4, ("sequence", u32, 0))
    make.add(8, "seqcount_raw_spinlock_t", seq)
    make.struct("timekeeper", 16, ("ntp_tick", make.int("unsigned long long", 8), 0))
    make.struct("cpumask", 128, ("bits", make.array(make.int("unsigned long", 8), 16), 0))
    number = make.int("signed int", 4, SIGNED)
    make.add(12, "init_task", make.function(number), vlen=1)  # a function of a variable's name
    make.struct("task_struct", 8, ("pid", number, 0))
    return make


def symbols():
    return [
        (0x31000, "A", "runqueues"),
        (IMAGE, "T", "_stext"),
        (IMAGE + 0x100, "T", "tcp_v4_rcv"),
        (IMAGE + 0x110, "t", "vmemmap_populate"),
        *((IMAGE + 0x200 + 8 * i, "t", f"filler_{i}") for i in range(600)),
        (BTF_AT, "R", "__start_BTF"),
        (SOCK_PROTOS, "d", "proto_list"),
        (JIFFIES, "T", "jiffies_64"),  # data, marked as text as Linux 7.2 has it
        (TK_CORE, "b", "tk_core"),
        (TICK, "D", "init_task"),
        (TICK + 16, "D", "__per_cpu_offset"),
        (TICK + 32, "D", "init_uts_ns"),
        (TICK + 48, "B", "_end"),
    ]


def image(age="6.12", blob=None, extra=""):
    made = make_image(age, symbols())
    blob = kernel_types().blob() if blob is None else blob
    made.data[BTF_AT - IMAGE : BTF_AT - IMAGE + len(blob)] = blob
    made.data[JIFFIES - IMAGE : JIFFIES - IMAGE + 8] = struct.pack("<Q", 4711)
    made.vmcoreinfo += extra
    return made


@pytest.fixture(params=["5.10", "6.1", "6.12"])
def prog(request):
    prog = image(request.param).program()
    attached = nodebug.attach(prog, live=False)
    assert (attached.types, attached.symbols) == ("btf", "kallsyms")
    return prog


def test_types(prog):
    assert prog.type("struct sock").size == 96
    assert prog.type("u32").type_name() == "u32"
    assert prog.type("unsigned long").size == 8
    with pytest.raises(LookupError):
        prog.type("struct nothing")


def test_declared_variables_are_where_symbols_say(prog):
    assert prog["proto_list"].address_ == SOCK_PROTOS
    assert prog["proto_list"].type_.type_name() == "struct list_head"
    assert prog["jiffies_64"].value_() == 4711


def test_percpu_variables_have_the_type_that_btf_says(prog):
    assert (prog["runqueues"].address_, prog["runqueues"].type_.type_name()) == (0x31000, "struct rq")


def test_a_struct_without_a_name_is_laid_out_as_c_does(prog):
    core = prog["tk_core"]
    assert core.address_ == TK_CORE
    assert drgn.offsetof(core.type_, "timekeeper") == 8, "aligned for its unsigned long"


def test_the_length_of_an_array_is_the_kernels(prog):
    assert prog["__per_cpu_offset"].type_.length == 8 * 128


def test_a_variable_comes_before_a_function_of_its_name(prog):
    assert prog["init_task"].type_.type_name() == "struct task_struct"
    assert prog.function("tcp_v4_rcv").address_ == IMAGE + 0x100
    assert prog["vmemmap_populate"].address_ == IMAGE + 0x110


def test_constants(prog):
    assert prog.constant("LISTEN").value_() == 10
    assert prog["FLAG_FREEBIND"].value_() == 11
    with pytest.raises(LookupError):
        prog.constant("NOTHING")


def test_what_this_kernel_does_not_have(prog):
    for name in ("udp_table", "raw_v4_hashinfo", "vsock_bind_table", "timekeeper_data"):
        with pytest.raises(LookupError):
            prog.variable(name)


def test_symbols(prog):
    symbol = prog.symbol("tcp_v4_rcv")
    assert (symbol.address, symbol.size) == (IMAGE + 0x100, 16)
    assert prog.symbol(IMAGE + 0x105).name == "tcp_v4_rcv"
    with pytest.raises(LookupError):
        prog.symbol("no_such_symbol")
    with pytest.raises(LookupError):
        prog.symbol(0xFFFFFFFF_F0000000)


def test_btf_from_a_file_raw_and_in_an_elf_file(tmp_path):
    blob = kernel_types().blob()
    (tmp_path / "raw").write_bytes(blob)
    names = b"\0.BTF\0.shstrtab\0"
    header = b"\x7fELF\2\1\1".ljust(40, b"\0") + struct.pack("<Q10xHHH", 64, 64, 3, 2)
    rows = [
        (0,) * 10,
        (1, 1, 0, 0, 256 + len(names), len(blob), 0, 0, 1, 0),
        (6, 3, 0, 0, 256, len(names), 0, 0, 1, 0),
    ]
    table = b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)
    (tmp_path / "elf").write_bytes(header + table + names + blob)
    assert btf_source.from_file(tmp_path / "raw") == btf_source.from_file(tmp_path / "elf") == blob
    prog = image().program()
    assert nodebug.attach(prog, btf=tmp_path / "elf", live=False).notes[0] == f"BTF: {tmp_path / 'elf'}"
    assert prog.type("struct sock").size == 96


@pytest.mark.parametrize(
    "content", [b"", b"text\n", b"\x7fELF", b"\x7fELF\2\1" + bytes(58), b"\x7fELF\1\1" + bytes(90)]
)
def test_a_file_that_holds_no_btf_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TargetError, match="--btf"):
        btf_source.from_file(tmp_path / "file")
    with pytest.raises(TargetError, match="can't be read"):
        btf_source.from_file(tmp_path)


def test_btf_of_another_kernel_is_refused(tmp_path):
    make = kernel_types()
    make.int("one_more", 4)
    (tmp_path / "other").write_bytes(make.blob())
    with pytest.raises(TargetError, match="not for this kernel"):
        nodebug.attach(image().program(), btf=tmp_path / "other", live=False)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("SIZE(list_head)=24\n", "list_head has 16 bytes, but VMCOREINFO says 24"),
        ("OFFSET(list_head.prev)=4\n", "list_head.prev is at byte 8, but VMCOREINFO says 4"),
        ("SIZE(seqcount_raw_spinlock_t)=8\n", "seqcount_raw_spinlock_t has 4 bytes"),
    ],
)
def test_btf_that_contradicts_vmcoreinfo_is_refused(extra, message):
    with pytest.raises(TargetError, match=message):
        nodebug.attach(image(extra=extra).program(), live=False)


def test_what_vmcoreinfo_says_of_unknown_types_is_no_contradiction():
    extra = (
        "SIZE(list_head)=16\nOFFSET(list_head.prev)=8\nSIZE(gone)=3\nOFFSET(list_head.gone)=1\nSIZE(u32)=9\n"
    )
    nodebug.attach(image(extra=extra).program(), live=False)


@pytest.mark.parametrize("blob", [bytes(3000), b"\x9f\xeb\1\0" + b"\xff" * 60, b"\xeb\x9f\1\0" + bytes(60)])
def test_overwritten_btf_is_refused(blob):
    with pytest.raises(TargetError, match="BTF"):
        nodebug.attach(image(blob=blob).program(), live=False)


def test_btf_that_the_dump_leaves_out_is_said_so():
    made = image()
    prog = made.program()
    prog.add_memory_segment(
        BTF_AT, 0x1000, lambda *_: (_ for _ in ()).throw(drgn.FaultError("left out", BTF_AT))
    )
    with pytest.raises(TargetError, match="can't be read"):
        nodebug.attach(prog, live=False)


def test_btf_is_found_by_its_magic_where_no_symbol_says_where_it_is(monkeypatch):
    monkeypatch.setattr(btf_source, "_SMALLEST", 100)
    made = make_image("6.12", [symbol for symbol in symbols() if symbol[2] != "__start_BTF"])
    decoy = b"\x9f\xeb\x01\x00" + b"\xff" * 28
    made.data[0x1C00 : 0x1C00 + len(decoy)] = decoy
    blob = kernel_types().blob()
    made.data[0x2000 : 0x2000 + len(blob)] = blob
    prog = made.program()
    nodebug.attach(prog, live=False)
    assert prog.type("struct sock").size == 96


def test_a_kernel_without_btf():
    made = make_image("6.12", [symbol for symbol in symbols() if symbol[2] != "__start_BTF"])
    with pytest.raises(TargetError, match="has no BTF") as caught:
        nodebug.attach(made.program(), live=False)
    assert "--btf" in caught.value.hint


def test_a_system_map_serves_when_it_is_given(tmp_path):
    path = tmp_path / "System.map"
    path.write_text("".join(f"{address:016x} {code} {name}\n" for address, code, name in symbols()))
    prog = image().program()
    assert nodebug.attach(prog, system_map=path, live=False).symbols == "system-map"
    assert prog["proto_list"].address_ == SOCK_PROTOS
    path.write_text(path.read_text().replace("_stext", "_start"))
    path.write_text(path.read_text().replace(f"{TICK + 32:016x}", f"{TICK + 40:016x}"))
    with pytest.raises(TargetError, match=r"not of this kernel"):
        nodebug.attach(image().program(), system_map=path, live=False)


def test_the_types_of_a_damaged_module_are_missing_and_no_more(prog, caplog):
    types = prog.cache["sockcrash.btf"]
    module = BtfMaker(base=kernel_types())
    module.struct("vsock_sock", 8)
    types._readers = {"broken": lambda: b"nonsense" * 8, "vsock": module.blob}
    assert prog.type("struct vsock_sock").size == 8
    assert nodebug.module_types(prog, "broken") is None
    assert nodebug.module_types(prog, "not_loaded") is None
    assert nodebug.module_types(prog, "vsock").btf.name == "vsock"
    assert "broken" in caplog.text
