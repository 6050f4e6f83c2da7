# SPDX-License-Identifier: LGPL-2.1-or-later
"""The index of a BTF blob: what is found by name and number, and what is refused."""

from __future__ import annotations

import struct

import pytest

from btf_maker import ENUM, PTR, STRUCT, BtfMaker, small_kernel
from sockcrash.errors import TargetError
from sockcrash.kernel.btf import Btf, Kind


def test_types_are_found_by_kind_and_name():
    btf = Btf(small_kernel().blob())
    record = btf.record(btf.find(Kind.STRUCT, "list_head"))
    assert (record.kind, record.name, record.size, record.length) == (STRUCT, "list_head", 16, 2)
    assert btf.find(Kind.UNION, "list_head") is None
    assert btf.find(Kind.STRUCT, "list_hea") is None
    assert btf.find(Kind.STRUCT, "ist_head") is None
    assert btf.find(Kind.STRUCT, "") is None
    assert btf.kind(0) == Kind.VOID


def test_every_record_is_counted_whatever_its_kind():
    make = small_kernel()
    last = make.int("the_last", 2)
    btf = Btf(make.blob())
    assert btf.end_id == last + 1
    assert btf.record(last).name == "the_last"


def test_an_enumerator_leads_to_its_enum_even_if_that_has_no_name():
    btf = Btf(small_kernel().blob())
    assert btf.record(btf.find_enumerator("FLAG_TRANSPARENT")).name == ""
    assert btf.record(btf.find_enumerator("WIDE_LOW")).name == "wide"
    assert btf.find_enumerator("sock") is None


def test_of_several_definitions_the_first_counts_and_all_are_known():
    make = BtfMaker()
    ids = [make.struct("twice", size) for size in (8, 16, 24)]
    btf = Btf(make.blob())
    assert btf.find(Kind.STRUCT, "twice") == ids[0]
    assert btf.find_all(Kind.STRUCT, "twice") == ids
    make.enum("a", SAME=1)
    make.enum("b", SAME=2)
    btf = Btf(make.blob())
    assert btf.record(btf.find_enumerator("SAME")).name == "a"


def test_a_module_continues_its_base():
    base = small_kernel()
    module = BtfMaker(base=base)
    own = module.struct("bbr", 8, ("a", 2, 0), ("family", 2, 32))
    kernel = Btf(base.blob())
    btf = Btf(module.blob(), "tcp_bbr", base=kernel)
    assert btf.find(Kind.STRUCT, "bbr") == own == kernel.end_id
    assert kernel.find(Kind.STRUCT, "bbr") is None
    assert btf.find(Kind.STRUCT, "sock") is None, "find looks into the blob itself only"
    assert btf.record(kernel.find(Kind.STRUCT, "sock")).name == "sock", "but numbers lead into the base"
    assert btf.string(btf.record(own).body[3]) == "family", "strings of the base are shared"


def test_the_other_byte_order_is_read_if_it_is_the_kernels():
    make = BtfMaker(order=">")
    make.struct("sock", 4, ("a", make.int("int", 4, 1), 0))
    assert Btf(make.blob(), byteorder="big").record(2).size == 4
    with pytest.raises(TargetError, match="byte order"):
        Btf(make.blob(), byteorder="little")


def test_unknown_kinds_are_skipped_where_the_blob_says_how_long_they_are():
    make = BtfMaker()
    make.types += struct.pack("<7I", 0, 25 << 24 | 2, 0, 7, 7, 7, 7)  # two elements of 8 bytes
    make.next_id += 1
    make.int("int", 4, 1)
    layouts = b"\0" * 4 * 25 + struct.pack("<BBH", 0, 8, 0)
    btf = Btf(make.blob(layouts))
    assert btf.record(btf.find(Kind.INT, "int")).size == 4
    with pytest.raises(TargetError, match="unknown kind 25"):
        Btf(make.blob())


def test_vlen_may_have_24_bits():
    make = BtfMaker()
    number = make.int("int", 4, 1)
    values = {f"VALUE_{i}": i for i in range(70_000)}
    make.enum("large", **values)
    make.int("after", number)
    btf = Btf(make.blob())
    assert btf.find(Kind.INT, "after") is not None
    assert btf.record(2).length == 70_000


@pytest.mark.parametrize("length", [0, 10, 23, 24, 60, -1])
def test_a_blob_that_is_cut_off_is_refused(length):
    blob = small_kernel().blob()
    with pytest.raises(TargetError, match="BTF of vmlinux is damaged"):
        Btf(blob[:length])


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\0\0", "magic"),
        (2, b"\2", "version"),
        (4, b"\1\0\0\0", "magic"),
        (8, b"\2\0\0\0", "not aligned"),
        (12, b"\xff\xff\xff\xff", "should have"),
        (12, b"\x08\0\0\0", "cut off"),
        (16, b"\xff\xff\xff\x7f", "should have"),
        (20, b"\xff\xff\xff\xff", "should have"),
    ],
)
def test_a_header_that_lies_is_refused(at, value, message):
    blob = bytearray(small_kernel().blob())
    blob[at : at + len(value)] = value
    with pytest.raises(TargetError, match=message):
        Btf(bytes(blob))


def test_strings_must_begin_and_end_with_nul():
    make = small_kernel()
    make.strings = make.strings[:-1] + b"x"
    with pytest.raises(TargetError, match="strings have no end"):
        Btf(make.blob())
    make = small_kernel()
    make.strings = b"x" + make.strings[1:]
    with pytest.raises(TargetError, match="empty one"):
        Btf(make.blob())


def test_numbers_and_offsets_beyond_the_end_are_refused():
    make = BtfMaker()
    make.add(PTR, "", 77)
    btf = Btf(make.blob())
    with pytest.raises(TargetError, match="type 77 is beyond"):
        btf.record(77)
    with pytest.raises(TargetError, match="string offset"):
        btf.string(10_000)


def test_whether_enums_are_marked_as_signed():
    assert Btf(small_kernel().blob()).has_signed_enums()
    make = BtfMaker()
    make.add(ENUM, "unmarked", 4, (make.string("A"), -1), 1)
    assert not Btf(make.blob()).has_signed_enums()
