# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's symbol tables: found, read and refused."""

from __future__ import annotations

import drgn
import pytest

from kallsyms_maker import IMAGE, ORDERS, make_image, sample
from sockcrash.errors import TargetError
from sockcrash.kernel import kallsyms_find, vmcoreinfo
from sockcrash.kernel.kallsyms import Named


def tables(image):
    prog = image.program()
    info = vmcoreinfo.of(prog)
    return kallsyms_find.by_vmcoreinfo(prog, info) or kallsyms_find.by_search(prog, info)


@pytest.fixture(params=ORDERS)
def age(request):
    return request.param


@pytest.fixture
def kallsyms(age):
    return tables(make_image(age))


def expected(age):
    return [
        Named(name, address, code) for address, code, name in sample() if age != "7.2" or address >= IMAGE
    ]


def test_all_symbols_come_out(age, kallsyms):
    assert list(kallsyms.all()) == expected(age)


def test_every_name_is_found(age, kallsyms):
    for symbol in expected(age):
        assert kallsyms.find(symbol.name) == [item for item in expected(age) if item.name == symbol.name]


def test_names_that_are_not_there(kallsyms):
    for name in ("", "tcp_function_", "cp_function_1", "tcp_function_1000", "~", "\0", "ä"):
        assert kallsyms.find(name) == []


def test_a_name_of_two_length_bytes(kallsyms):
    assert [symbol.code for symbol in kallsyms.find("x" * 200)] == ["d"]


def test_by_address(kallsyms):
    function = kallsyms.find("tcp_function_7")[0].address
    assert [symbol.name for symbol in kallsyms.at(function + 3)] == ["tcp_function_7"]
    assert kallsyms.next_address(function + 3) == function + 16
    twin = kallsyms.find("alias")[0].address
    assert {symbol.name for symbol in kallsyms.at(twin + 1)} == {"sock_twin", "alias"}


def test_outside_the_kernel_there_is_no_symbol(age, kallsyms):
    assert kallsyms.at(0xFFFFFFFF_F0000000) == []
    if age == "7.2":
        assert kallsyms.at(IMAGE - 1) == []


def test_the_index_is_used_where_there_is_one(age, monkeypatch):
    made = tables(make_image(age))
    scans = []
    monkeypatch.setattr(type(made), "_scan", lambda _: scans.append(1) or {})
    made._scanned = None
    made.find("tcp_function_3")
    assert bool(scans) == (age == "5.10")


def test_an_index_that_is_not_in_order_is_left_alone(age):
    if age == "5.10":
        pytest.skip("has none")
    image = make_image(age)
    at = image.places["seqs"] - IMAGE
    image.data[at : at + 3 * 600] = bytes(3 * 600)
    assert tables(image).find("tcp_function_3")


def damage(part, at, data):
    def change(image):
        start = image.places[part] - IMAGE + at
        image.data[start : start + len(data)] = data

    return change


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "change",
    [
        damage("count", 0, b"\0\0\0\0"),
        damage("count", 0, b"\xff\xff\xff\xff"),
        damage("count", 0, b"\xff\xff\xff\0"),
        damage("names", 0, b"\0"),
        damage("names", 0, b"\xff" * 3000),
        damage("tokens", 0, b"abc"),
        damage("tokens", 0, b"\xff" * 700),
        damage("index", 0, b"\xff" * 512),
        damage("offsets", 0, b"\x55" * 2400),
    ],
)
def test_overwritten_tables_are_refused(age, change):
    image = make_image(age)
    change(image)
    with pytest.raises(TargetError, match="kallsyms") as caught:
        tables(image)
    assert "--system-map" in caught.value.hint


@pytest.mark.timeout(20)
def test_tables_of_another_kernel_are_refused(age):
    image = make_image(age)
    image.vmcoreinfo = image.vmcoreinfo.replace("SYMBOL(init_uts_ns)=f", "SYMBOL(init_uts_ns)=e")
    with pytest.raises(TargetError, match=r"contradict|not found"):
        tables(image)


def test_tables_that_were_left_out_of_the_dump():
    image = make_image("6.12")
    del image.data[image.places["names"] - IMAGE :]
    with pytest.raises(TargetError, match="can't be read"):
        tables(image)


def test_a_damaged_index_gives_an_error_and_no_more():
    image = make_image("6.12")
    made = tables(image)
    made._seqs = b"\xff\xff\xff" * made.count
    with pytest.raises(TargetError, match="leads to symbol"):
        made.find("tcp_function_3")


def test_holes_in_the_image_are_passed_over(monkeypatch):
    image = make_image("5.10")
    monkeypatch.setattr(kallsyms_find, "_WINDOW", 8192)
    prog = image.program()

    def hole(_address, _count, _offset, _physical):
        raise drgn.FaultError("a hole", IMAGE + 0x2000)

    prog.add_memory_segment(IMAGE + 0x2000, 0x2000, hole)
    made = kallsyms_find.by_search(prog, vmcoreinfo.of(prog))
    assert made.find("init_uts_ns")


def test_decoys_of_digits_are_passed_over():
    image = make_image("5.10")
    decoy = b"".join(b"%d\0" % digit for digit in range(10))
    image.data[0x100:0x114] = decoy
    image.data[0x2000:0x2014] = decoy
    assert tables(image).find("init_uts_ns")
