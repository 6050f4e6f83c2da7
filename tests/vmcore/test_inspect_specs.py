# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every way of naming a socket, on dumps: what is found, what is refused, and with which exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from drgn.helpers.linux.pid import find_task
from drgn.helpers.linux.slab import slab_cache_for_each_allocated_object, slab_object_info

from harness import only, sockcrash_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Dump, Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

LABELS = (
    "est-v4",
    "est-v6-child",
    "listen-dual",
    "fresh-v4",
    "bound-v6",
    "syn-sent-v4",
    "udp-bound",
    "unix-listen",
)
OTHERS = ("packet", "netlink-route", "raw-icmp", "udp6-bound", "unix-pair-dgram-a", "vsock-fresh")
USER_ADDRESS = 0x7FFC12345678
SHOWN, USAGE, NOT_FOUND = 0, 2, 3


def same(found: Record, expected: Record) -> None:
    """The same record but for how it was found; a search for one address names the same holders."""
    differing = ("how", "note")
    assert {key: value for key, value in found.items() if key not in differing} == {
        key: value for key, value in expected.items() if key not in differing
    }


def found_by(dump: Dump, spec: str) -> Record:
    """The one record of a SPEC."""
    ended = dump.inspect(spec, "--format", "jsonl")
    assert (ended.status, ended.err) == (SHOWN, "")
    return only(ended.records)


def refusal(dump: Dump, spec: str, *options: str) -> str:
    """What is said of a SPEC that names nothing: nothing is shown."""
    ended = dump.inspect(spec, "--format", "jsonl", *options)
    assert (ended.status, ended.out) == (NOT_FOUND, "")
    assert ended.err.startswith(f"sockcrash: error: {spec}: ")
    return ended.err


# Names that find


@pytest.mark.parametrize("label", LABELS + OTHERS)
def test_address(dump: Dump, label: str) -> None:
    expected = dump.labelled(label)
    address = expected["address"]
    found = found_by(dump, address)
    same(found, expected)
    assert (found["how"], found["note"], found["proved"]) == (address, "", True)
    same(found_by(dump, address.removeprefix("0x").upper()), expected)


def test_every_socket_is_proved_by_its_address(dump: Dump) -> None:
    """Whatever a table or a descriptor led to; also mini sockets, and children of MPTCP's listeners."""
    ended = dump.inspect(*(one["address"] for one in dump.records), "--format", "jsonl")
    assert (ended.status, ended.err) == (SHOWN, "")
    assert len(ended.records) == len(dump.records)
    for found, expected in zip(ended.records, dump.records, strict=True):
        same(found, expected)


@pytest.mark.parametrize("label", LABELS)
def test_cookie_inode_descriptor(dump: Dump, label: str) -> None:
    told, expected = dump.truth.sockets[label], dump.labelled(label)
    for spec in (
        f"sk:{told['cookie']:x}",
        f"cookie:{told['cookie']}",
        f"cookie:{told['cookie']:#x}",
        f"ino:{told['inode']}",
        f"fd:{told['pid']}/{told['fd']}",
    ):
        found = found_by(dump, spec)
        same(found, expected)
        assert found["how"] == spec


def test_all_sockets_of_a_process(dump: Dump) -> None:
    (pid,) = {one["pid"] for one in dump.truth.sockets.values()}
    ended = dump.inspect(f"pid:{pid}", "--format", "jsonl")
    assert ended.status == SHOWN
    cookies = {int(one["cookie"], 16) for one in ended.records if one["cookie"] is not None}
    assert cookies >= {one["cookie"] for one in dump.truth.sockets.values()}
    assert all(pid in {owner.get("pid") for owner in one["owners"]} for one in ended.records)


def test_several_specs_in_their_order(dump: Dump) -> None:
    specs = [f"ino:{dump.truth.sockets[label]['inode']}" for label in LABELS]
    ended = dump.inspect(*specs, "--format", "jsonl")
    assert ended.status == SHOWN
    assert [one["how"] for one in ended.records] == specs
    assert [one["address"] for one in ended.records] == [dump.labelled(label)["address"] for label in LABELS]


def test_an_inode_that_two_sockets_share(dump: Dump) -> None:
    """An MPTCP socket and its first subflow."""
    told = dump.truth.sockets.get("mptcp")
    if told is None:
        assert "mptcp" in {one["label"] for one in dump.truth.raw["refused"]}
        return
    ended = dump.inspect(f"ino:{told['inode']}", "--format", "jsonl")
    assert ended.status == SHOWN
    assert sorted(one["kind"] for one in ended.records) == ["mptcp", "tcp"]


# Addresses beside the struct sock


@pytest.mark.parametrize("distance", [1, 8, 100, 0x3F0])
def test_address_inside_a_socket(dump: Dump, distance: int) -> None:
    expected = dump.labelled("est-v4")
    inside = int(expected["address"], 16) + distance
    found = found_by(dump, f"{inside:#x}")
    same(found, expected)
    assert found["note"] == f"{inside:#x} lies {distance} bytes inside of the socket at {expected['address']}"


@pytest.mark.parametrize("label", ["est-v4", "udp-bound", "netlink-route", "packet"])
def test_struct_socket_and_struct_file(dump: Dump, label: str) -> None:
    expected = dump.labelled(label)
    socket = dump.object(expected, "struct sock").sk_socket
    for pointer, kind in ((socket, "struct socket"), (socket.file, "struct file")):
        found = found_by(dump, f"{pointer.value_():#x}")
        same(found, expected)
        assert kind in found["note"]
        assert expected["address"] in found["note"]


# Names that find nothing


def freed(dump: Dump) -> Iterator[int]:
    """Freed objects of the slab of struct tcp_sock."""
    cache = dump.prog["tcp_prot"].slab
    size = int(cache.size)
    for object_ in slab_cache_for_each_allocated_object(cache, "struct tcp_sock"):
        for address in (object_.value_() - size, object_.value_() + size):
            info = slab_object_info(dump.prog, address)
            if info and not info.allocated and info.slab_cache == cache:
                yield int(info.address)


def test_freed_object(dump: Dump) -> None:
    address = next(freed(dump))
    said = refusal(dump, f"{address:#x}")
    assert "is freed" in said
    assert "--force" in said


def test_freed_object_by_force(dump: Dump) -> None:
    address = next(freed(dump))
    ended = dump.inspect(f"{address:#x}", "--force", "--format", "jsonl")
    assert ended.status in (SHOWN, 4)
    found = only(ended.records)
    assert (found["address"], found["proved"]) == (f"{address:#x}", False)
    assert "--force" in found["note"]
    text = dump.inspect(f"{address:#x}", "--force")
    assert "proof" in text.out


def test_other_slab_object(dump: Dump) -> None:
    task = find_task(dump.prog, 1)
    said = refusal(dump, f"{task.value_():#x}")
    assert "is no socket" in said
    assert "task_struct" in said


def test_kernel_text(dump: Dump) -> None:
    assert "not memory of a kernel object" in refusal(dump, f"{dump.prog.symbol('tcp_v4_rcv').address:#x}")


def test_kernel_data(dump: Dump) -> None:
    assert "not memory of a kernel object" in refusal(dump, f"{dump.prog['init_task'].address_:#x}")


def test_vmalloc_address(dump: Dump) -> None:
    """A stack lies there."""
    stack = find_task(dump.prog, 1).stack.value_()
    refusal(dump, f"{stack:#x}")


def test_user_address_and_null(dump: Dump) -> None:
    assert "is no kernel address" in refusal(dump, f"{USER_ADDRESS:#x}")
    assert "NULL" in refusal(dump, "0")
    assert "NULL" in refusal(dump, "0x0")


@pytest.mark.parametrize(
    "address", ["0xffff800000000000", "0xfffffffffffffff8", "0xffffffffffffffff", "0xff00000000000001"]
)
def test_addresses_where_nothing_is(dump: Dump, address: str) -> None:
    refusal(dump, address)
    ended = dump.inspect(address, "--force", "--format", "jsonl")
    assert ended.status == NOT_FOUND
    assert address in ended.err


@pytest.mark.parametrize(
    "spec", ["sk:ffffff01", "cookie:4294967041", "ino:4294967041", "pid:4194000", "fd:4194000/3"]
)
def test_names_that_nothing_has(dump: Dump, spec: str) -> None:
    refusal(dump, spec)


def test_descriptors_that_are_no_sockets(dump: Dump) -> None:
    (pid,) = {one["pid"] for one in dump.truth.sockets.values()}
    assert "is no socket" in refusal(dump, f"fd:{pid}/2")
    assert "no such descriptor" in refusal(dump, f"fd:{pid}/60000")
    assert "no sockets" in refusal(dump, "pid:1")


def test_what_is_found_is_shown_beside_what_is_not(dump: Dump) -> None:
    expected = dump.labelled("est-v4")
    ended = dump.inspect("ino:4294967041", expected["address"], "0", "--format", "jsonl")
    assert ended.status == NOT_FOUND
    same(only(ended.records), expected)
    assert ended.err.count("sockcrash: error: ") == 2


# Words that name nothing


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sk:",),
        ("fd:1",),
        ("pid:x",),
        ("zebra",),
        ("abc",),
        ("sock:1",),
        ("ino:0x10",),
    ],
)
def test_usage(dump: Dump, words: tuple[str, ...]) -> None:
    ended = dump.inspect(*words)
    assert (ended.status, ended.out) == (USAGE, "")
    assert "cookie:" in ended.err


def test_all_and_one_is_too_much(dump: Dump) -> None:
    ended = dump.inspect("--all", "ino:1")
    assert (ended.status, ended.out) == (USAGE, "")
    assert "--all" in ended.err
    assert "ino:1" in ended.err


# The real command


def test_the_command_itself(dump_6_1: Dump) -> None:
    expected = dump_6_1.labelled("est-v4")
    ended = sockcrash_process("inspect", *dump_6_1.target_options, expected["address"], "--format", "jsonl")
    assert (ended.status, ended.err) == (SHOWN, "")
    same(only(ended.records), expected)
    ended = sockcrash_process("inspect", *dump_6_1.target_options, expected["address"], "zebra")
    assert (ended.status, ended.out) == (USAGE, "")
    ended = sockcrash_process("inspect", *dump_6_1.target_options, "ino:4294967041")
    assert (ended.status, ended.out) == (NOT_FOUND, "")
