# SPDX-License-Identifier: LGPL-2.1-or-later
"""drgn types from BTF: every kind, and what can't be a type."""

from __future__ import annotations

import time

import drgn
import pytest
from drgn import Platform, PlatformFlags, Program, TypeKind

from btf_maker import (
    CONST,
    FUNC,
    FWD,
    PTR,
    TYPEDEF,
    UNION,
    BtfMaker,
    small_kernel,
)
from sockcrash.errors import TargetError
from sockcrash.kernel.btf import Btf, Kind
from sockcrash.kernel.btf_types import BtfTypes

X86_64 = Platform(drgn.Architecture.X86_64, PlatformFlags.IS_64_BIT | PlatformFlags.IS_LITTLE_ENDIAN)


def types_of(make):
    return BtfTypes(Program(X86_64), Btf(make.blob()))


@pytest.fixture
def types():
    return types_of(small_kernel())


@pytest.fixture
def sock(types):
    return types.find([TypeKind.STRUCT], "sock")


def test_a_struct_with_all_that_it_may_hold(sock):
    assert sock.size == 96
    assert {member.name: member.type.type_name() for member in sock.members if member.name} == {
        "family": "u32",
        "reuse": "unsigned char",
        "ipv6only": "_Bool",
        "node": "struct list_head",
        "ready": "int (*)(struct list_head *skb, ...)",
        "elsewhere": "struct elsewhere *",
        "list": "struct list_head *",
        "stamp": "const volatile unsigned long",
        "tagged": "struct list_head *",
        "state": "enum state",
        "pairs": "unsigned int [2][2]",
        "tail": "unsigned char []",
    }
    assert drgn.offsetof(sock, "b") == 12, "members of an anonymous union are members of the struct"
    assert drgn.offsetof(sock, "node.prev") == 24
    assert sock.member("tail").offset == 92


def test_bit_fields(sock):
    reuse, only = sock.member("reuse"), sock.member("ipv6only")
    assert (reuse.bit_offset, reuse.bit_field_size) == (32, 4)
    assert (only.bit_offset, only.bit_field_size) == (36, 1)
    assert sock.member("family").bit_field_size is None
    memory = bytearray(96)
    memory[4] = 0b0001_0101
    value = drgn.Object.from_bytes_(sock.prog, sock, bytes(memory))
    assert (value.reuse.value_(), value.ipv6only.value_()) == (5, 1)


def test_a_forward_declaration_means_the_definition_if_there_is_one(sock):
    assert sock.member("list").type.type.is_complete()
    assert not sock.member("elsewhere").type.type.is_complete()


def test_a_forward_declaration_stays_one_if_there_are_several_definitions():
    make = BtfMaker()
    make.struct("twice", 8)
    make.struct("twice", 16)
    pointer = make.add(PTR, "", make.add(FWD, "twice"))
    assert not types_of(make).type(pointer).type.is_complete()


def test_a_member_costs_nothing_until_it_is_looked_at():
    make = BtfMaker()
    broken = make.add(TYPEDEF, "broken", make.next_id)  # means itself
    number = make.int("int", 4, 1)
    make.struct("holder", 16, ("fine", number, 0), ("bad", make.add(PTR, "", broken), 64))
    holder = types_of(make).find([TypeKind.STRUCT], "holder")
    assert holder.member("fine").type.size == 4
    with pytest.raises(TargetError, match="contains itself"):
        _ = holder.member("bad").type


@pytest.mark.parametrize(
    ("name", "number", "signed"),
    [
        ("LISTEN", 10, False),
        ("BROKEN", -7, True),
        ("WIDE_HIGH", 1 << 63, False),
        ("FLAG_FREEBIND", 11, False),
    ],
)
def test_enumerators(types, name, number, signed):
    constant = types.find_enumerator(name)
    assert constant.value_() == number
    assert constant.type_.type.is_signed == signed


def test_old_writers_do_not_mark_signed_enums():
    make = BtfMaker()
    make.enum("error", NO_ERROR=0, BROKEN=-7)
    make.enum("mask", LOW=1, HIGH=0x80000000)
    types = types_of(make)
    assert types.find_enumerator("BROKEN").value_() == -7
    assert types.find_enumerator("HIGH").value_() == 0x80000000


def test_an_enum_may_be_smaller_than_an_int():
    make = BtfMaker()
    make.enum("packed", 1, A=3)
    make.enum("packed_signed", 1, flag=True, B=-3)
    types = types_of(make)
    assert types.find([TypeKind.ENUM], "packed").type.size == 1
    assert types.find_enumerator("B").value_() == -3


def test_variables_and_functions_have_types(types):
    assert types.find_declared(Kind.VAR, "runqueues").type_name() == "struct rq"
    assert types.find_declared(Kind.FUNC, "tcp_v4_rcv").type_name() == "int (struct list_head *skb)"
    assert types.find_declared(Kind.VAR, "jiffies") is None


def test_names_are_looked_up_by_kind(types):
    assert types.find([TypeKind.INT], "int").is_signed
    assert types.find([TypeKind.INT], "_Bool") is None
    assert types.find([TypeKind.BOOL], "_Bool").kind == TypeKind.BOOL
    assert types.find([TypeKind.FLOAT], "double").size == 8
    assert types.find([TypeKind.UNION], "sock") is None
    assert types.find([TypeKind.ENUM], "later").type is None


def test_a_modules_types_refer_to_the_kernels():
    base = small_kernel()
    module = BtfMaker(base=base)
    list_head = Btf(base.blob()).find(Kind.STRUCT, "list_head")
    module.struct("vsock_sock", 32, ("bound_table", list_head, 64))
    program = Program(X86_64)
    kernel = BtfTypes(program, Btf(base.blob()))
    types = BtfTypes(program, Btf(module.blob(), "vsock", base=kernel.btf), kernel)
    found = types.find([TypeKind.STRUCT], "vsock_sock")
    assert drgn.offsetof(found, "bound_table.prev") == 16
    assert types.type(list_head) == kernel.type(list_head)


def _pointer_to_itself(make):
    return make.add(PTR, "", make.next_id)


def _two_typedefs_of_each_other(make):
    make.add(TYPEDEF, "one", make.next_id + 1)
    return make.add(TYPEDEF, "other", make.next_id - 1)


def _chain_of_pointers(make):
    make.int("int", 4, 1)
    for _ in range(5_000):
        last = make.add(PTR, "", make.next_id - 1)
    return last


def _struct_in_itself(make):
    return make.struct("self", 8, ("again", make.next_id, 0))


def _anonymous_structs_in_each_other(make):
    make.struct("", 8, ("", make.next_id + 1, 0))
    return make.struct("", 8, ("", make.next_id - 1, 0))


def _array_of_itself(make):
    return make.array(make.next_id, 1)


def _unions_that_double_at_each_level(make):
    inner = make.int("int", 4, 1)
    for _ in range(40):
        inner = make.struct("", 4, ("", inner, 0), ("", inner, 0), kind=UNION)
    return inner


def _function_that_takes_itself(make):
    make.add(PTR, "", make.next_id + 1)
    return make.function(0, ("callback", make.next_id - 1))


def _functions_that_double_at_each_level(make):
    inner = make.int("int", 4, 1)
    for _ in range(40):
        inner = make.add(PTR, "", make.function(inner, ("a", inner), ("b", inner)))
    return inner


def _function_that_takes_a_function(make):
    inner = make.function(make.int("int", 4, 1))
    return make.function(0, ("not_a_pointer", inner))


def _array_of_functions(make):
    return make.array(make.function(0), 2)


def _member_that_is_a_function(make):
    return make.struct("holder", 8, ("call", make.function(0), 0))


def _bit_field_of_a_struct(make):
    return make.struct("holder", 8, ("bits", make.struct("inner", 4), 0, 3))


def _array_of_everything(make):
    return make.array(make.array(make.int("int", 4, 1), 0xFFFFFFFF), 0xFFFFFFFF)


def _endless_array_of_nothing(make):
    return make.array(make.struct("nothing", 0), 0xFFFFFFFF)


def _member_beyond_the_end(make):
    return make.struct("short", 4, ("a", make.int("int", 4, 1), 8))


def _bit_field_wider_than_its_type(make):
    return make.struct("wide", 8, ("a", make.int("unsigned char", 1), 0, 9))


def _integer_of_a_megabyte(make):
    return make.int("huge", 1 << 20, bits=0)


def _bits_that_are_not_those_of_the_size(make):
    return make.int("odd", 4, bits=5)


def _enum_of_three_bytes(make):
    return make.enum("three", 3, A=1)


def _function_as_a_type(make):
    return make.add(FUNC, "f", 0)


def _member_of_no_type(make):
    return make.struct("holder", 16, ("a", 4000, 0))


def _name_beyond_the_strings(make):
    make.types += b"\xff\xff\xff\x00\x00\x00\x00\x02\x00\x00\x00\x00"
    make.next_id += 1
    return make.next_id - 1


def _nested_too_deep(make):
    inner = make.int("int", 4, 1)
    for depth in range(1000):
        inner = make.struct(f"level_{depth}", 4, ("inner", inner, 0))
    return inner


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "make_it",
    [
        _pointer_to_itself,
        _two_typedefs_of_each_other,
        _chain_of_pointers,
        _struct_in_itself,
        _anonymous_structs_in_each_other,
        _array_of_itself,
        _unions_that_double_at_each_level,
        _function_that_takes_itself,
        _functions_that_double_at_each_level,
        _function_that_takes_a_function,
        _array_of_functions,
        _member_that_is_a_function,
        _bit_field_of_a_struct,
        _array_of_everything,
        _endless_array_of_nothing,
        _member_beyond_the_end,
        _bit_field_wider_than_its_type,
        _integer_of_a_megabyte,
        _bits_that_are_not_those_of_the_size,
        _enum_of_three_bytes,
        _function_as_a_type,
        _member_of_no_type,
        _name_beyond_the_strings,
        _nested_too_deep,
    ],
)
def test_what_cannot_be_a_type_is_refused_at_once(make_it):
    make = BtfMaker()
    type_id = make_it(make)
    types = types_of(make)
    started = time.monotonic()
    with pytest.raises(TargetError, match="BTF of vmlinux is damaged"):
        types.type(type_id)
    assert time.monotonic() - started < 2


def test_a_function_may_return_and_take_functions():
    make = BtfMaker()
    number = make.int("int", 4, 1)
    inner = make.add(PTR, "", make.function(number, ("a", number)))
    outer = make.function(inner, ("a", inner), ("b", make.add(CONST, "", inner)))
    assert types_of(make).type(outer).type_name() == "int (*(int (*a)(int a), int (* const b)(int a)))(int a)"
