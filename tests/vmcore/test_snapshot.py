# SPDX-License-Identifier: LGPL-2.1-or-later
"""A snapshot of a full dump: the same answers for what was selected, and nothing of what was not."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import drgn
import pytest

from harness import Dump, sockcrash_here, sockcrash_process
from sockcrash.snapshot.files import read_content

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.vm

# Sockets with something in their queues, keys, and neighbours of the same slab.
SELECTED = (
    "est-v4",
    "est-v6-child",
    "zero-window",
    "unread-child",
    "est-md5",
    "listen-v4",
    "udp-bound",
    "unix-listen",
)
SMALLEST_SECRET = 8


@pytest.fixture(scope="module")
def whole(dump: Dump, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of every socket."""
    path = tmp_path_factory.mktemp("whole") / "all.xz"
    ended = sockcrash_here("snapshot", "-c", str(dump.core), "--all", "-o", str(path))
    assert ended.status in (0, 4), ended.err
    return path


@pytest.fixture(scope="module")
def some(dump: Dump, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of the selected sockets only, not compressed."""
    path = tmp_path_factory.mktemp("some") / "some.core"
    specs = [f"ino:{dump.truth.sockets[label]['inode']}" for label in SELECTED]
    ended = sockcrash_here("snapshot", "-c", str(dump.core), *specs, "-o", str(path))
    assert ended.status in (0, 4), ended.err
    return path


def _objects(text: str) -> dict[str, Any]:
    """JSON without its account of the target; lines by address."""
    records = [json.loads(line) for line in text.splitlines()]
    return {one["address"]: one for one in records}


COMMANDS = (
    ("inspect", "--all", "--format", "jsonl"),
    ("inspect", "--all", "--format", "jsonl", "--every"),
    ("inspect", "--all", "--format", "jsonl", "--queues"),
    (
        "inspect",
        "--all",
        "--format",
        "jsonl",
        "-f",
        "skc_state,sk_rcvbuf,sk_socket,rtt_us,__sk_common.skc_hash",
    ),
    ("options", "--all", "--every", "--format", "jsonl"),
    (
        "list",
        "--format",
        "jsonl",
        "-o",
        "owners,user,netns_name,netns_processes,peer_comm,peer_socket,peer_netns,container",
    ),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_says_the_same_of_every_socket(
    dump: Dump, whole: Path, command: tuple[str, ...]
) -> None:
    source = sockcrash_here(command[0], "-c", str(dump.core), *command[1:])
    copy = sockcrash_here(command[0], "-c", str(whole), *command[1:])
    ours, theirs = _objects(copy.out), _objects(source.out)
    assert list(ours) == list(theirs)
    for address, one in theirs.items():
        assert ours[address] == one
    assert len(ours) > 100


def test_the_summary_is_the_same(dump: Dump, whole: Path) -> None:
    source = json.loads(sockcrash_here("summary", "-c", str(dump.core), "--json").out)["summary"]
    ended = sockcrash_here("summary", "-c", str(whole), "--json")
    assert ended.status in (0, 4)
    copy = json.loads(ended.out)["summary"]
    assert copy.pop("whole") is False
    assert source.pop("whole") is True
    assert copy == source


def test_a_summary_of_some_says_so(dump: Dump, some: Path) -> None:
    ended = sockcrash_here("summary", "-c", str(some))
    assert "snapshot" in ended.out.splitlines()[1]
    found = json.loads(sockcrash_here("summary", "-c", str(some), "--json").out)["summary"]
    assert found["sockets"] == len(SELECTED)
    source = json.loads(sockcrash_here("summary", "-c", str(dump.core), "--json").out)["summary"]
    assert (found["memory"], found["orphans"]) == (source["memory"], source["orphans"])
    counted = {one["inode"]: one["counters"] for one in source["namespaces"]}
    assert {one["inode"]: one["counters"] for one in found["namespaces"]} == counted


def test_selected_sockets_are_there_and_others_are_said_not_to_be(dump: Dump, some: Path) -> None:
    source = {one["inode"]: one for one in dump.records if one["inode"] is not None}
    held = _objects(sockcrash_here("inspect", "-c", str(some), "--all", "--format", "jsonl").out)
    wanted = {source[dump.truth.sockets[label]["inode"]]["address"] for label in SELECTED}
    assert set(held) >= wanted
    assert all(
        one["inode"] in {dump.truth.sockets[label]["inode"] for label in SELECTED} for one in held.values()
    )
    other = source[dump.truth.sockets["est-nodelay"]["inode"]]
    pid, fd = dump.truth.sockets["est-nodelay"]["pid"], dump.truth.sockets["est-nodelay"]["fd"]
    for spec in (other["address"], f"ino:{other['inode']}", f"cookie:{other['cookie']}", f"fd:{pid}/{fd}"):
        ended = sockcrash_here("inspect", "-c", str(some), spec)
        assert ended.status == 3
        assert "snapshot" in ended.err
    label = SELECTED[0]
    pid, fd = dump.truth.sockets[label]["pid"], dump.truth.sockets[label]["fd"]
    assert sockcrash_here("inspect", "-c", str(some), f"fd:{pid}/{fd}").status == 0
    told = sockcrash_here("struct", "-c", str(some), "tcp_sock.rcv_nxt", other["address"])
    assert told.status == 3


def test_struct_of_a_selected_socket_is_whole(dump: Dump, some: Path) -> None:
    address = dump.labelled("est-v4")["address"]
    mine = sockcrash_here("struct", "-c", str(some), "tcp_sock", address, "--json")
    full = sockcrash_here("struct", "-c", str(dump.core), "tcp_sock", address, "--json")
    assert mine.status == full.status == 0
    assert json.loads(mine.out)["struct"] == json.loads(full.out)["struct"]


def test_stock_drgn_reads_the_same(dump: Dump, some: Path) -> None:
    prog = drgn.Program()
    prog.set_core_dump(some)
    prog.load_debug_info([dump.vmlinux], main=True)
    for label in ("est-v4", "zero-window", "est-md5"):
        record = dump.labelled(label)
        tcp = drgn.Object(prog, "struct tcp_sock", address=int(record["address"], 16))
        for name in ("rcv_nxt", "snd_una", "write_seq", "snd_cwnd", "srtt_us", "nonagle", "bytes_received"):
            assert tcp.member_(name).value_() == record["tcp"][name]
        assert tcp.inet_conn.icsk_ca_ops.name.string_().decode() == record["tcp"]["congestion"]
        assert (
            tcp.inet_conn.icsk_inet.sk.member_("__sk_common").skc_net.net.ns.inum.value_() == record["netns"]
        )


def test_no_secret_is_in_it(dump: Dump, some: Path, whole: Path) -> None:
    secrets = {one["where"]: bytes.fromhex(one["hex"]) for one in dump.truth.raw["secrets"]}
    ulp = [one for one in dump.truth.sockets["est-ktls"]["set"] if one["name"] == "TCP_ULP"]
    if any(one["errno"] for one in ulp):
        secrets = {where: secret for where, secret in secrets.items() if "kTLS" not in where}
    assert len(secrets) >= 3
    secrets |= _kernel_secrets(dump)
    full = dump.core.read_bytes()
    for path in (some, whole):
        content = read_content(path)
        for where, secret in secrets.items():
            assert len(secret) >= SMALLEST_SECRET
            assert secret in full, f"{where}: the test looks for what is not there"
            assert secret not in content, where


def test_neighbours_in_the_slab_are_left_out(dump: Dump, some: Path) -> None:
    content = read_content(some)
    neighbour = _neighbour(dump)
    assert neighbour[:4] in dump.core.read_bytes()
    assert neighbour[:4] not in content
    assert neighbour[4:] not in content


def _kernel_secrets(dump: Dump) -> dict[str, bytes]:
    """What the dump itself tells of stack canaries, slab randoms, queues and neighbours."""
    from drgn.helpers.linux.pid import for_each_task
    from drgn.helpers.linux.slab import slab_object_info

    prog = dump.prog
    found = {}
    for task in for_each_task(prog):
        canary = task.stack_canary.value_()
        if canary:
            found[f"stack canary of {task.comm.string_()!r} {task.pid.value_()}"] = struct.pack("<Q", canary)
    cache = slab_object_info(prog, int(dump.labelled("est-v4")["address"], 16)).slab_cache
    if cache.random.value_():
        found["random of the slab"] = struct.pack("<Q", cache.random.value_())
    for label in ("zero-window", "unread-child"):
        sk = dump.object(dump.labelled(label)).inet_conn.icsk_inet.sk
        queue = sk.sk_receive_queue if label.startswith("unread") else sk.sk_write_queue
        skb = queue.next
        if skb.value_() != queue.address_ and skb.len.value_() > skb.data_len.value_() + SMALLEST_SECRET:
            linear = prog.read(skb.data.value_(), min(64, skb.len.value_() - skb.data_len.value_()))
            if len(set(linear)) > 1:
                found[f"queue of {label}"] = linear
    assert any("canary" in where for where in found)
    return found


def _neighbour(dump: Dump) -> bytes:
    """What stands in an unselected TCP socket's object, in the slab pages of a selected one."""
    selected = {int(dump.labelled(label)["address"], 16) for label in SELECTED}
    tcp = {int(one["address"], 16): one for one in dump.records if one["kind"] == "tcp"}
    pages = {address >> 15 for address in selected & set(tcp)}
    # The numbers of a selected socket's peer are its own, the other way round.
    known = {
        number
        for address in selected & set(tcp)
        for number in tcp[address]["tcp"].values()
        if isinstance(number, int)
    }
    for address, one in tcp.items():
        strange = not {one["tcp"]["rcv_nxt"], one["tcp"]["snd_una"]} & known
        if address not in selected and address >> 15 in pages and one["tcp"]["bytes_sent"] and strange:
            tp = dump.object(one)
            return bytes(dump.prog.read(tp.rcv_nxt.address_, 4) + dump.prog.read(tp.snd_una.address_, 4))
    raise AssertionError("no neighbour is there")


def test_a_hundred_sockets_are_small(dump: Dump, tmp_path: Path) -> None:
    addresses = [one["address"] for one in dump.records[:100]]
    path = tmp_path / "hundred.xz"
    assert sockcrash_here("snapshot", "-c", str(dump.core), *addresses, "-o", str(path)).status == 0
    assert path.stat().st_size < 1_500_000


def test_info_tells_what_it_is(dump: Dump, some: Path) -> None:
    ended = sockcrash_here("info", str(some), "--json")
    told = json.loads(ended.out)
    assert told["target"]["release"] == dump.truth.raw["release"]
    assert told["target"]["source"] == "snapshot"
    assert told["info"]["selected"][0] == f"ino:{dump.truth.sockets[SELECTED[0]]['inode']}"
    assert told["info"]["from"] == "a vmcore"
    assert f"{some}: a snapshot of" in sockcrash_here("info", str(some)).out


def test_types_in_a_file_of_their_own(dump_6_1: Dump, tmp_path: Path) -> None:
    address = dump_6_1.labelled("est-v4")["address"]
    core, types = tmp_path / "core.xz", tmp_path / "types.xz"
    made = sockcrash_process(
        "snapshot", "-c", str(dump_6_1.core), address, "-o", str(core), "--types-in", str(types)
    )
    assert made.status == 0, made.err
    assert core.stat().st_size < 100_000 < types.stat().st_size
    assert sockcrash_process("inspect", "-c", str(core), address).status == 0
    types.unlink()
    alone = sockcrash_process("inspect", "-c", str(core), address)
    assert alone.status == 1
    assert "types.xz" in alone.err
    again = sockcrash_process("snapshot", "-c", str(dump_6_1.core), address, "-o", str(core))
    assert again.status == 2
    assert "--force" in again.err
