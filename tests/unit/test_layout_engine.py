# SPDX-License-Identifier: LGPL-2.1-or-later
"""The layout engine on kernels made up here, compared with what drgn reads of the same bytes."""

from __future__ import annotations

import drgn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Field, Group, MemberError, Place, bind, resolve
from sockcrash.kernel.options import option_group
from sockcrash.kernel.options.row import EVERY_KIND
from sockcrash.kernel.registry import GROUPS
from sockcrash.kernel.units import EXPRESSIONS
from sockcrash.model import Absent, Reason, Section
from synthetic import Synthetic

BASE = 0xFFFF888000001000
BOTH_ORDERS = pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])


def sections(made: Synthetic, *fields: Field, address: int = BASE) -> Section:
    """What a reader of ``fields`` gives for the object at ``address``."""
    (section,) = made.kernel().reader(Group("test", fields)).sections(address)
    return section


def by_drgn(made: Synthetic, ctype: str, path: str, address: int = BASE) -> object:
    """The same by drgn itself, member by member."""
    object_ = drgn.Object(made.prog, ctype, address=address)
    for number, part in enumerate(path.split("->")):
        object_ = object_[0].subobject_(part) if number else object_.subobject_(part)
    return object_.value_()


# ---- scalars, arrays, nesting


@BOTH_ORDERS
def test_scalars_of_every_size_and_sign(big_endian: bool) -> None:
    made = Synthetic(big_endian=big_endian)
    members, offset = [], 0
    for size in (1, 2, 4, 8):
        for signed in (False, True):
            members.append((made.int(size, signed=signed), f"m{size}{'s' if signed else 'u'}", offset * 8))
            offset += size
    made.struct("numbers", offset, *members)
    made.memory(BASE, bytes(range(0xF0, 0xF0 + 15)) + bytes(range(15, 30)))
    names = [name for _, name, _ in members]

    section = sections(made, *(row(name, "struct numbers") for name in names))

    assert dict(section) == {name: by_drgn(made, "struct numbers", name) for name in names}
    assert section["m1s"] < 0 < section["m1u"]


@BOTH_ORDERS
def test_members_of_unnamed_structs_and_unions(big_endian: bool) -> None:
    made = Synthetic(big_endian=big_endian)
    u16, u32 = made.int(2), made.int(4)
    halves = made.struct(None, 4, (u16, "first", 0), (u16, "second", 16))
    either = made.union(None, 4, (u32, "whole", 0), (halves, None, 0))
    made.struct("inner", 8, (u32, "before", 0), (either, None, 32))
    made.struct("outer", 16, (u32, "head", 0), (made.types[drgn.TypeKind.STRUCT, "inner"], "in", 64))
    made.memory(BASE, bytes(range(1, 17)))
    paths = ["in.whole", "in.first", "in.second", "in.before"]

    section = sections(made, *(row(path, "struct outer") for path in paths))

    assert dict(section) == {path: by_drgn(made, "struct outer", path) for path in paths}


@BOTH_ORDERS
def test_arrays_and_their_elements(big_endian: bool) -> None:
    made = Synthetic(big_endian=big_endian)
    pair = made.struct("pair", 8, (made.int(4), "t", 0), (made.int(4), "v", 32))
    made.struct(
        "holder",
        48,
        (made.array(made.int(4), 3), "list", 0),
        (made.char(8), "name", 96),
        (made.array(pair, 3), "s", 160),
    )
    made.memory(BASE, bytes(range(12)) + b"cubic\0\xff\xfe" + bytes(range(50, 78)))

    section = sections(
        made,
        row("list", "struct holder"),
        row("list[1]", "struct holder"),
        row("s[2].v", "struct holder"),
        row("raw", "struct holder", "name", to="text", by="text"),
    )

    assert list(section["list"]) == by_drgn(made, "struct holder", "list")
    assert section["list[1]"] == by_drgn(made, "struct holder", "list[1]")
    assert section["s[2].v"] == by_drgn(made, "struct holder", "s[2].v")
    assert section["raw"] == b"cubic\0\xff\xfe"
    assert section["text"] == "cubic"


def test_typedefs_enums_and_pointers_are_numbers() -> None:
    made = Synthetic()
    state = made.prog.enum_type(
        "state",
        made.int(4, signed=True),
        [drgn.TypeEnumerator("NEGATIVE", -2), drgn.TypeEnumerator("ONE", 1)],
    )
    made.struct(
        "mixed",
        24,
        (state, "e", 0),
        (made.typedef("__be32", made.int(4)), "t", 32),
        (made.pointer(made.int(4)), "p", 64),
    )
    made.memory(BASE, made.pack(0xFFFFFFFE, 4) + made.pack(7, 4) + made.pack(0xFFFF888012345678) + bytes(8))

    section = sections(made, row("e", "struct mixed"), row("t", "struct mixed"), row("p", "struct mixed"))

    assert dict(section) == {"e": -2, "t": 7, "p": 0xFFFF888012345678}


def test_members_that_overlap_are_all_read() -> None:
    made = Synthetic()
    u8, u64 = made.int(1), made.int(8)
    made.union("both", 8, (u64, "all", 0), (u8, "low", 0))
    made.struct("holder", 8, (made.types[drgn.TypeKind.UNION, "both"], "u", 0))
    made.memory(BASE, bytes(range(1, 9)))

    section = sections(made, row("u.all", "struct holder"), row("u.low", "struct holder"))

    assert dict(section) == {"u.all": 0x0807060504030201, "u.low": 1}


# ---- bit-fields


Placed = tuple[int, bool, int, int]  # size of its type, signed, bit offset, bits


@st.composite
def bit_fields(draw: st.DrawFn, *, packed: bool) -> list[Placed]:
    """Bit-fields as a C compiler lays them out; ``packed``: across the borders of their types, too."""
    laid_out: list[Placed] = []
    bit = 0
    for _ in range(draw(st.integers(1, 12))):
        size = draw(st.sampled_from([1, 2, 4, 8]))
        bits = draw(st.integers(1, min(size * 8, 56) if packed else size * 8))
        if not packed and bit // (size * 8) != (bit + bits - 1) // (size * 8):
            bit += -bit % (size * 8)
        laid_out.append((size, draw(st.booleans()), bit, bits))
        bit += bits
    return laid_out


def bit_field_values(
    big_endian: bool, fields: list[Placed], size: int, content: bytes
) -> tuple[object, object]:
    """A struct's bit-fields by a reader and by drgn."""
    made = Synthetic(big_endian=big_endian)
    members = [
        (made.int(n, signed=signed), f"b{i}", at, bits) for i, (n, signed, at, bits) in enumerate(fields)
    ]
    made.struct("bits", size, *members)
    made.memory(BASE, content)
    names = [name for _, name, *_ in members]
    section = sections(made, *(row(name, "struct bits") for name in names))
    return dict(section), {name: by_drgn(made, "struct bits", name) for name in names}


@BOTH_ORDERS
@settings(deadline=None)
@given(fields=bit_fields(packed=False), data=st.data())
def test_any_bit_fields_read_as_drgn_reads_them(
    big_endian: bool, fields: list[Placed], data: st.DataObject
) -> None:
    """The memory ends where the struct ends: a reader that reads on would fault."""
    align = max(size for size, *_ in fields)
    size = -(-(fields[-1][2] + fields[-1][3]) // (align * 8)) * align

    ours, drgns = bit_field_values(
        big_endian, fields, size, data.draw(st.binary(min_size=size, max_size=size))
    )

    assert ours == drgns


@BOTH_ORDERS
@settings(deadline=None)
@given(fields=bit_fields(packed=True), data=st.data())
def test_bit_fields_of_packed_structs_too(
    big_endian: bool, fields: list[Placed], data: st.DataObject
) -> None:
    size = (fields[-1][2] + fields[-1][3]) // 8 + 9

    ours, drgns = bit_field_values(
        big_endian, fields, size, data.draw(st.binary(min_size=size, max_size=size))
    )

    assert ours == drgns


@BOTH_ORDERS
def test_a_bit_of_a_flags_word(big_endian: bool) -> None:
    made = Synthetic(big_endian=big_endian)
    made.constant("SOCK_KEEPOPEN", 3)
    made.struct("s", 8, (made.int(8), "flags", 0))
    made.memory(BASE, made.pack(1 << 3 | 1 << 40))

    section = sections(
        made,
        row("by_name", "struct s", Place("flags", bit="SOCK_KEEPOPEN")),
        row("by_number", "struct s", Place("flags", bit=40)),
        row("clear", "struct s", Place("flags", bit=4)),
    )

    assert dict(section) == {"by_name": 1, "by_number": 1, "clear": 0}


def test_a_bit_whose_name_the_kernel_lacks_is_not_in_kernel() -> None:
    made = Synthetic()
    made.struct("s", 8, (made.int(8), "flags", 0))

    bound = bind(made.prog, row("new", "struct s", Place("flags", bit="SOCK_OF_TOMORROW")))

    assert bound.absent == Absent(Reason.NOT_IN_KERNEL)


# ---- pointers


def pointing(made: Synthetic, *, target: int) -> None:
    """``struct sk`` whose ``ops`` points to a ``struct ops`` with a name and a number."""
    ops = made.struct("ops", 24, (made.int(8), "number", 0), (made.char(16), "name", 64))
    made.struct("sk", 16, (made.int(8), "own", 0), (made.pointer(ops), "ops", 64))
    made.memory(BASE, made.pack(5) + made.pack(target))


@BOTH_ORDERS
def test_a_pointer_is_followed(big_endian: bool) -> None:
    made = Synthetic(big_endian=big_endian)
    pointing(made, target=BASE + 0x5000)
    made.memory(BASE + 0x5000, made.pack(77) + b"reno".ljust(16, b"\0"))

    section = sections(
        made, row("n", "struct sk", "ops->number"), row("raw", "struct sk", "ops->name", to="name", by="text")
    )

    assert section["n"] == by_drgn(made, "struct sk", "ops->number") == 77
    assert section["name"] == "reno"


def test_two_pointers_one_after_the_other() -> None:
    made = Synthetic()
    leaf = made.struct("leaf", 8, (made.int(8), "value", 0))
    middle = made.struct("middle", 16, (made.int(8), "x", 0), (made.pointer(leaf), "leaf", 64))
    made.struct("root", 8, (made.pointer(middle), "middle", 0))
    made.memory(BASE, made.pack(BASE + 0x1000))
    made.memory(BASE + 0x1000, made.pack(1) + made.pack(BASE + 0x2000))
    made.memory(BASE + 0x2000, made.pack(99))

    section = sections(
        made, row("deep", "struct root", "middle->leaf->value"), row("x", "struct root", "middle->x")
    )

    assert dict(section) == {"deep": 99, "x": 1}


def test_null_is_not_applicable_and_costs_only_what_lies_behind_it() -> None:
    made = Synthetic()
    pointing(made, target=0)

    section = sections(
        made, row("own", "struct sk"), row("raw", "struct sk", "ops->name", to="name", by="text")
    )

    assert section["own"] == 5
    assert section["raw"] == section["name"] == Absent(Reason.NOT_APPLICABLE, "NULL pointer")


def test_a_fault_behind_a_pointer_costs_only_what_lies_there() -> None:
    made = Synthetic()
    pointing(made, target=0xFFFFDEAD00000000)

    section = sections(made, row("own", "struct sk"), row("n", "struct sk", "ops->number"))

    assert section["own"] == 5
    assert section["n"].reason is Reason.UNREADABLE
    assert "0xffffdead" in section["n"].detail


def test_a_shared_pointee_is_read_once() -> None:
    made = Synthetic()
    pointing(made, target=BASE + 0x5000)
    made.memory(BASE + 0x5000, made.pack(77) + bytes(16))
    kernel = made.kernel()
    reads: list[int] = []
    through = kernel.read

    def counting(address: int, size: int) -> bytes:
        reads.append(address)
        return through(address, size)

    kernel.read = counting
    shared = kernel.reader(Group("shared", (row("n", "struct sk", "ops->number", shared=True),)))
    own = kernel.reader(Group("own", (row("n", "struct sk", "ops->number"),)))

    assert [shared.sections(BASE)[0]["n"] for _ in range(3)] == [77] * 3
    assert reads.count(BASE + 0x5000) == 1
    assert [own.sections(BASE)[0]["n"] for _ in range(3)] == [77] * 3
    assert reads.count(BASE + 0x5000) == 4


def test_container_of_leads_from_a_member_to_what_lies_beside_it() -> None:
    made = Synthetic()
    socket = made.struct("socket", 8, (made.int(8), "state", 0))
    made.struct(
        "socket_alloc", 32, (made.int(8), "before", 0), (socket, "socket", 64), (made.int(8), "ino", 192)
    )
    made.struct("sk", 8, (made.pointer(socket), "sk_socket", 0))
    made.memory(BASE, made.pack(BASE + 0x1008))
    made.memory(BASE + 0x1000, made.pack(11) + made.pack(22) + made.pack(33) + made.pack(44))

    section = sections(made, row("inode", "struct sk", "sk_socket-><struct socket_alloc.socket>ino"))

    assert section["inode"] == 44


def test_a_pointer_back_into_the_same_object_needs_no_second_read() -> None:
    made = Synthetic()
    inner = made.struct("inner", 8, (made.int(8), "value", 0))
    made.struct("holder", 24, (made.pointer(inner), "p", 0), (inner, "own", 64), (made.int(8), "last", 128))
    made.memory(BASE, made.pack(BASE + 8) + made.pack(42) + made.pack(43))
    kernel = made.kernel()
    reads: list[int] = []
    through = kernel.read
    kernel.read = lambda address, size: (reads.append(address), through(address, size))[1]

    (section,) = kernel.reader(
        Group("test", (row("value", "struct holder", "p->value"), row("last", "struct holder")))
    ).sections(BASE)

    assert dict(section) == {"last": 43, "value": 42}
    assert reads == [BASE]


# ---- binding


def test_the_newest_place_wins_and_older_ones_serve_older_kernels() -> None:
    new, old = Synthetic(), Synthetic()
    new.struct("sk", 16, (new.int(4), "timeout_new", 0), (new.int(4), "timeout", 32))
    old.struct("sk", 16, (old.int(4), "timeout", 32))
    field = row("timeout", "struct sk", "timeout_new", "timeout")

    assert bind(new.prog, field).place == Place("timeout_new")
    assert bind(old.prog, field).place == Place("timeout")
    assert bind(old.prog, field).spot.offset == 4


def test_no_place_is_not_in_kernel_and_no_struct_is_no_type_info() -> None:
    made = Synthetic()
    made.struct("sk", 8, (made.int(4), "here", 0), (made.pointer(made.incomplete("hidden")), "p", 0))

    assert bind(made.prog, row("gone", "struct sk")).absent.reason is Reason.NOT_IN_KERNEL
    assert bind(made.prog, row("x", "struct module_sock")).absent.reason is Reason.NO_TYPE_INFO
    assert bind(made.prog, row("x", "struct hidden")).absent.reason is Reason.NO_TYPE_INFO
    assert bind(made.prog, row("x", "struct sk", "p->x")).absent.reason is Reason.NO_TYPE_INFO


def test_an_absent_row_is_absent_in_every_record_and_its_conversions_too() -> None:
    made = Synthetic()
    made.struct("sk", 8, (made.int(8), "here", 0))
    made.memory(BASE, made.pack(1))

    section = sections(
        made, row("here", "struct sk"), row("gone", "struct sk", to="gone_ms", by="jiffies_ms")
    )

    assert section["here"] == 1
    assert section["gone"] == section["gone_ms"] == Absent(Reason.NOT_IN_KERNEL)


@pytest.mark.parametrize("path", ["here->x", "here[0]", "here.x", "gone", "here.x.y"])
def test_paths_that_do_not_fit_the_types_are_refused(path: str) -> None:
    made = Synthetic()
    made.struct("sk", 8, (made.int(8), "here", 0))

    with pytest.raises(MemberError):
        resolve(made.prog, "struct sk", path)


def test_two_rows_of_one_name_are_refused() -> None:
    made = Synthetic()
    made.struct("sk", 8, (made.int(8), "a", 0))

    with pytest.raises(ValueError, match="two rows"):
        made.kernel().reader(
            Group("test", (row("a", "struct sk"), row("b", "struct sk", "a", to="a", by="shr2")))
        )


def test_groups_that_start_together_are_one_read() -> None:
    made = Synthetic()
    made.struct("big", 64, (made.int(8), "a", 0), (made.int(8), "b", 448))
    made.memory(BASE, made.pack(1) + bytes(48) + made.pack(2))
    kernel = made.kernel()
    reads: list[tuple[int, int]] = []
    through = kernel.read
    kernel.read = lambda address, size: (reads.append((address, size)), through(address, size))[1]

    one, two = kernel.reader(
        Group("one", (row("a", "struct big"),)), Group("two", (row("b", "struct big"),))
    ).sections(BASE)

    assert (dict(one), dict(two)) == ({"a": 1}, {"b": 2})
    assert reads == [(BASE, 64)]


# ---- conversions


def test_a_conversion_stands_beside_the_raw_member() -> None:
    made = Synthetic(hz=1000, jiffies=5_000)
    made.struct("t", 8, (made.int(4), "srtt_us", 0), (made.int(4), "stamp", 32))
    made.memory(BASE, made.pack(488, 4) + made.pack(4_970, 4))

    section = sections(
        made,
        row("srtt_us", "struct t", to="rtt_us", by="srtt"),
        row("stamp", "struct t", to="age_ms", by="age32_ms"),
    )

    assert dict(section) == {"srtt_us": 488, "rtt_us": 61, "stamp": 4_970, "age_ms": 30}


def test_the_clock_of_the_kernel_is_found() -> None:
    clock = Synthetic(hz=250, jiffies=4_295_000_000, mono_ns=12_345_678_901).kernel().clock()

    assert (clock.hz, clock.jiffies, clock.mono_ns) == (250, 4_295_000_000, 12_345_678_901)


# ---- holes


def test_what_lies_in_a_hole_is_unreadable_and_the_rest_is_there() -> None:
    made = Synthetic()
    leaf = made.struct("leaf", 8, (made.int(8), "value", 0))
    made.struct(
        "sk",
        256,
        (made.int(8), "first", 0),
        (made.int(8), "lost", 64 * 8),
        (made.pointer(leaf), "pointer", 72 * 8),
        (made.array(made.int(4), 8), "across", 120 * 8),
        (made.int(8), "last", 248 * 8),
    )
    made.memory(BASE, made.pack(1) + bytes(56))
    made.memory(BASE + 128, bytes(120) + made.pack(2))
    kernel = made.kernel()
    reader = kernel.reader(
        Group(
            "test",
            (
                row("first", "struct sk"),
                row("lost", "struct sk", to="lost_ms", by="jiffies_ms"),
                row("behind", "struct sk", "pointer->value"),
                row("across", "struct sk"),
                row("last", "struct sk"),
            ),
        )
    )

    with pytest.raises(drgn.FaultError):
        reader.sections(BASE)
    (section,) = reader.salvaged(BASE)

    assert (section["first"], section["last"]) == (1, 2)
    for name in ("lost", "lost_ms", "behind", "across"):
        assert section[name].reason is Reason.UNREADABLE, name
    assert section["lost"].detail == f"{BASE + 64:#x}"


def test_exact_reads_touch_nothing_but_the_bound_members() -> None:
    made = Synthetic()
    made.struct(
        "task", 64, (made.int(8), "a", 0), (made.int(8), "stack_canary", 256), (made.int(4), "b", 448)
    )
    made.memory(BASE, made.pack(1) + bytes(24) + b"CANARY!!" + bytes(16) + made.pack(2, 4) + bytes(4))
    kernel = made.kernel()
    kernel.exact = True
    touched: set[int] = set()
    through = kernel.read

    def noting(address: int, size: int) -> bytes:
        touched.update(range(address, address + size))
        return through(address, size)

    kernel.read = noting
    (section,) = kernel.reader(Group("test", (row("a", "struct task"), row("b", "struct task")))).sections(
        BASE
    )

    assert dict(section) == {"a": 1, "b": 2}
    assert touched == {*range(BASE, BASE + 8), *range(BASE + 56, BASE + 60)}


# ---- the rows themselves


def test_every_conversion_of_a_row_exists() -> None:
    groups = (*GROUPS.values(), *map(option_group, EVERY_KIND))
    used = {convert.by for group in groups for field in group.fields for convert in field.converts}

    assert used <= set(EXPRESSIONS)
    assert set(EXPRESSIONS) <= used, "an expression that no row uses"


def test_names_are_unique_within_a_group() -> None:
    for group in GROUPS.values():
        names = [name for field in group.fields for name in (field.name, *(c.name for c in field.converts))]
        assert len(names) == len(set(names)), group.name


@pytest.mark.parametrize("group", GROUPS.values(), ids=list(GROUPS))
def test_a_kernel_without_any_of_it_binds_nothing_and_breaks_nothing(group: Group) -> None:
    made = Synthetic()

    bounds = made.kernel().bounds(group)

    assert {bound.absent.reason for bound in bounds} == {Reason.NO_TYPE_INFO}
