# SPDX-License-Identifier: LGPL-2.1-or-later
"""What commands other than inspect make of damaged dumps: nobody, 0 and 'none' are said only where that is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from drgn.helpers.linux.net import for_each_net
from drgn.helpers.linux.percpu import per_cpu_ptr
from drgn.helpers.linux.pid import find_task

from damage import Damaged
from harness import Ended, sockcrash_process
from test_inspect_damaged import LOST, PARTLY, cut_in_two, differences, page_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import Dump

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def damaged(dump_6_1: Dump, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    copy = tmp_path_factory.mktemp("damaged") / "vmcore"
    yield Damaged(dump_6_1.core, copy)
    copy.unlink()


def run(dump: Dump, core: Path, command: str, *args: str) -> Ended:
    return sockcrash_process(command, "-c", str(core), "-s", str(dump.vmlinux), *args)


def summary_of(dump: Dump, core: Path) -> tuple[Ended, dict[str, Any]]:
    ended = run(dump, core, "summary", "--json")
    return ended, json.loads(ended.out)["summary"]


def task_of_the_scenario(dump: Dump) -> Any:
    (pid,) = {one["pid"] for one in dump.truth.sockets.values()}
    return find_task(dump.prog, pid)


def test_files_that_are_gone(dump_6_1: Dump, damaged: Damaged) -> None:
    """Whose only holder can't be read has not 'nobody', neither as a socket nor as the other end of one."""
    page = page_of(dump_6_1, task_of_the_scenario(dump_6_1).files.value_())
    core = damaged.with_holes([page])
    ended = run(dump_6_1, core, "inspect", "--all", "--format", "jsonl")
    assert ended.status == PARTLY
    known = {one["address"]: one for one in dump_6_1.records}
    lost = 0
    for one in ended.records:
        if one["owners"] != known[one["address"]]["owners"] and not one["owners"]:
            assert one["owners"] is None
            assert one["absent"]["owners"].startswith(LOST)
            lost += 1
        for end in one["other_end"] or ():
            if end["owners"] is None:
                assert one["absent"][f"other_end.{end['address']}.owners"].startswith(LOST)
            assert end["owners"] != []
    assert lost > 50
    assert "no descriptor" not in run(dump_6_1, core, "inspect", "--all").out
    for term in ("not comm = nobody", "not peer_comm = nobody", "not owner = orphan"):
        listed = run(dump_6_1, core, "list", term, "-o", "address", "--format", "jsonl")
        assert listed.status == PARTLY
        assert "can't be told of some sockets" in listed.err
    ended, found = summary_of(dump_6_1, core)
    assert ended.status == PARTLY
    assert found["holders"]["unknown"] >= lost
    _, whole = summary_of(dump_6_1, dump_6_1.core)
    assert found["holders"].get("nobody", 0) <= whole["holders"].get("nobody", 0)


def test_a_process_that_is_gone(dump_6_1: Dump, damaged: Damaged) -> None:
    """Then no namespace is said to be deserted, nor how many are in it."""
    core = damaged.with_holes([page_of(dump_6_1, task_of_the_scenario(dump_6_1).value_())])
    ended = run(dump_6_1, core, "inspect", "--all", "--format", "jsonl")
    assert {one["netns_processes"] for one in ended.records} == {None}
    assert all(one["absent"]["netns_processes"].startswith(LOST) for one in ended.records)
    listed = run(dump_6_1, core, "list", "netns_processes = 0", "-o", "address", "--format", "jsonl")
    assert (listed.status, listed.records) == (PARTLY, [])
    _, found = summary_of(dump_6_1, core)
    assert {one["processes"] for one in found["namespaces"]} == {None}


def test_queues_that_are_gone(dump_6_1: Dump, damaged: Damaged) -> None:
    """They are not empty; what else can't be told is not counted without a word."""
    whole, page = cut_in_two(dump_6_1)
    core = damaged.with_holes([page])
    text = run(dump_6_1, core, "inspect", "--all", "--queues").out
    block = text[text.index(f"ESTABLISHED  {whole['address']}") :].split("\n\n")[0]
    assert "queues are empty" not in block
    assert "(unreadable" in block
    ended, _ = summary_of(dump_6_1, core)
    assert ended.status == PARTLY
    assert "bytes in queues or memory can't be told of" in ended.err


def test_counters_of_a_cpu_that_are_gone(dump_6_1: Dump, damaged: Damaged) -> None:
    """What the other CPUs have counted is not all: there is no sum, or it is that of the whole dump."""
    _, whole = summary_of(dump_6_1, dump_6_1.core)
    counted = {one["inode"]: one["counters"] for one in whole["namespaces"]}
    nets = list(for_each_net(dump_6_1.prog))
    places = [per_cpu_ptr(net.mib.tcp_statistics, 0).value_() for net in nets]
    places.append(
        dump_6_1.prog.symbol("tcp_orphan_count").address + int(dump_6_1.prog["__per_cpu_offset"][0])
    )
    for place in places:
        ended, found = summary_of(dump_6_1, damaged.with_holes([page_of(dump_6_1, place)]))
        assert ended.status == PARTLY
        assert found["orphans"] in (None, whole["orphans"])
        for one in found["namespaces"]:
            assert one["counters"] == counted[one["inode"]]
        assert len(found["namespaces"]) < len(counted) or found["orphans"] is None


def test_a_snapshot_of_a_damaged_dump(dump_6_1: Dump, damaged: Damaged, tmp_path: Path) -> None:
    """It holds what can be read, and says the same of owners and other ends as its source, 'unknown' too."""
    _, page = cut_in_two(dump_6_1)
    files = page_of(dump_6_1, task_of_the_scenario(dump_6_1).files.value_())
    core = damaged.with_holes([page, files])
    source = {
        one["address"]: one for one in run(dump_6_1, core, "inspect", "--all", "--format", "jsonl").records
    }
    path = tmp_path / "snapshot"
    assert run(dump_6_1, core, "snapshot", "--all", "-o", str(path)).status == PARTLY
    copy = sockcrash_process("inspect", "-c", str(path), "--all", "--format", "jsonl")
    assert {one["address"] for one in copy.records} == set(source)
    around = ("owners", "other_end", "netns_names", "netns_processes", "state", "local", "peer", "queues")
    for one in copy.records:
        assert {key: one.get(key) for key in around} == {
            key: source[one["address"]].get(key) for key in around
        }
    reread = [
        {
            **one,
            "absent": {
                path: why.replace("not_in_snapshot", "unreadable") for path, why in one["absent"].items()
            },
        }
        for one in copy.records
    ]
    assert differences(reread, dump_6_1.records) == []
