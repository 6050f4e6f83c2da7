# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damaged dumps: all that can still be read is shown, as it was; nothing is made up, nothing hangs, exit status 4."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import follow_phys

from damage import PAGE, Damaged
from harness import Ended, sockcrash_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import Dump, Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

FAILED, NO_SOCKET, PARTLY = 1, 3, 4
# Their tables are variables of modules, which nothing names when the modules' BTF is in a hole.
OF_MODULES = frozenset({"vsock"})
# Types of a module are lost when the module's own BTF, or its place in the list of modules, is.
LOST = ("unreadable", "no_type_info")
# How something was found, and who holds it, depends on what else is readable.
ABOUT = frozenset({"how", "note", "absent", "owners", "other_end", "netns_names", "netns_processes"})


@pytest.fixture(scope="module")
def damaged(dump_6_1: Dump, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Damaged]:
    copy = tmp_path_factory.mktemp("damaged") / "vmcore"
    yield Damaged(dump_6_1.core, copy)
    copy.unlink()


def inspect(dump: Dump, core: Path, *args: str) -> Ended:
    """The real command on the damaged copy."""
    return sockcrash_process(
        "inspect", "-c", str(core), "-s", str(dump.vmlinux), *(args or ("--all", "--format", "jsonl"))
    )


def page_of(dump: Dump, address: int | str) -> int:
    """The physical page of a kernel address."""
    virtual = int(address, 16) if isinstance(address, str) else address
    return int(follow_phys(dump.prog["init_mm"].address_of_(), virtual)) // PAGE * PAGE


def lost(found: Any, expected: Any, path: str, absent: dict[str, str]) -> Iterator[str]:
    """Paths where a damaged record lacks something for no stated reason, or has something else."""
    if path.startswith("queues.") and absent.get(f"{path}.skbs", "").startswith(LOST):
        return  # what can't be followed has neither numbers nor runs
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected:
            yield from lost(found.get(key), expected[key], f"{path}.{key}" if path else key, absent)
    elif found != expected and not (found is None and absent.get(path, "").startswith(LOST)):
        yield f"{path}: {found!r}, in the whole dump {expected!r} ({absent.get(path)})"


def differences(found: list[Record], whole: list[Record]) -> list[str]:
    """What the sockets that are shown of a damaged dump say otherwise than those of the whole one."""
    known = {one["address"]: one for one in whole}
    wrong = []
    for record in found:
        expected = known.get(record["address"])
        if expected is None:
            wrong.append(
                f"{record['address']} ({record['kind']}, {record['how']}) is no socket of the whole dump"
            )
            continue
        for key in expected.keys() - ABOUT:
            ours, theirs = record.get(key), expected[key]
            if key == "options" and ours is not None and theirs is not None:
                wrong += [f"{record['address']} {text}" for text in lost_options(record, expected)]
                continue
            if key == "timers":
                ours, theirs = by_name(ours), by_name(theirs)
            wrong += [f"{record['address']} {text}" for text in lost(ours, theirs, key, record["absent"])]
    return wrong


def by_name(members: list[Record] | None) -> dict[str, Record] | None:
    """Timers, as their paths in ``absent`` have it."""
    return members and {one["name"]: one for one in members}


def lost_options(found: Record, expected: Record) -> Iterator[str]:
    """Likewise options, of which either may have more; one that can't be read is absent as a whole."""
    theirs = {(one["level"], one["name"]): one for one in expected["options"]}
    ours = {(one["level"], one["name"]): one for one in found["options"]}
    for key, option in ours.items():
        path, other = f"options.{'.'.join(key)}", theirs.get(key)
        if not found["absent"].get(path, "").startswith(LOST):
            origins = (
                None,
                other and other["origin"],
                "kernel" if other and other["inherited_from"] else None,
            )
            if option["origin"] not in origins or (other and option["value"] != other["value"]):
                yield f"{path}: {option}, in the whole dump {other}"
    for key in theirs.keys() - ours.keys():
        other = theirs[key]
        unsure = (
            other["inherited_from"] or other["value"] == other["default"]
        )  # what tells that it was set is lost
        no_ulp = key[0] == "SOL_TLS" and "options.IPPROTO_TCP.TCP_ULP" in found["absent"]
        if not unsure and not no_ulp:
            yield f"options.{'.'.join(key)}: not shown, in the whole dump {other}"


def partly(dump: Dump, ended: Ended) -> list[Record]:
    """The records of a damaged dump, which say nothing wrong."""
    assert ended.status == PARTLY, ended.err
    assert differences(ended.records, dump.records) == []
    return ended.records


def nothing_made_up(dump: Dump, ended: Ended) -> None:
    """A record that can't be read in full says so, a list that may be short is complained of."""
    assert differences(ended.records, dump.records) == []
    shown = {one["address"] for one in ended.records}
    if any(one["address"] not in shown for one in dump.records if one["kind"] not in OF_MODULES):
        assert ended.status in (FAILED, PARTLY)
        assert "sockcrash: " in ended.err
    assert ended.status in (0, FAILED, PARTLY), ended.err[-1000:]
    holes = [why for one in ended.records for why in one["absent"].values() if why.startswith("unreadable")]
    assert ended.status or not holes


# Holes where it hurts


def test_no_hole_no_difference(dump_6_1: Dump, damaged: Damaged) -> None:
    """The proof that rewriting the headers changes nothing by itself."""
    ended = inspect(dump_6_1, damaged.with_holes([]))
    assert (ended.status, ended.records) == (0, dump_6_1.records)


def test_the_page_of_a_socket(dump_6_1: Dump, damaged: Damaged) -> None:
    record = dump_6_1.labelled("est-v4")
    page = page_of(dump_6_1, record["address"])
    there = partly(dump_6_1, inspect(dump_6_1, damaged.with_holes([page])))
    beginning = {one["address"] for one in dump_6_1.records if page_of(dump_6_1, one["address"]) == page}
    held = {one["address"] for one in dump_6_1.records if (one["owners"] or [{}])[0].get("kind") == "fd"}
    assert {one["address"] for one in there} >= held - beginning


def test_the_pages_of_the_clock(dump_6_1: Dump, damaged: Damaged) -> None:
    """Without HZ no age and no timeout can be told; everything else can."""
    symbols = ("clocksource_jiffies", "tk_core", "jiffies_64")
    pages = {page_of(dump_6_1, dump_6_1.prog.symbol(name).address) for name in symbols}
    there = partly(dump_6_1, inspect(dump_6_1, damaged.with_holes(sorted(pages))))
    (found,) = [one for one in there if one["address"] == dump_6_1.labelled("est-v4")["address"]]
    assert found["tcp"]["snd_cwnd"] == dump_6_1.labelled("est-v4")["tcp"]["snd_cwnd"]
    assert found["absent"]["tcp.rto_ms"].startswith("unreadable: the kernel's clock")
    assert found["tcp"]["rto_ms"] is None


def test_one_page_of_a_socket_on_two(dump_6_1: Dump, damaged: Damaged) -> None:
    """The page on which it ends: what lies before is shown, what is gone says so."""
    size = dump_6_1.prog.type("struct tcp_sock").size
    for record in dump_6_1.records:
        end = int(record["address"], 16) + size - 1
        if (
            record["kind"] == "tcp"
            and record["state"] == "ESTABLISHED"
            and end // PAGE * PAGE > int(record["address"], 16) + 800
        ):
            break
    there = partly(dump_6_1, inspect(dump_6_1, damaged.with_holes([page_of(dump_6_1, end)])))
    (found,) = [one for one in there if one["address"] == record["address"]]
    assert (found["inode"], found["cookie"], found["netns"]) == (
        record["inode"],
        record["cookie"],
        record["netns"],
    )
    unreadable = {path for path, why in found["absent"].items() if why.startswith("unreadable")}
    assert len(unreadable) > 20
    assert all(
        found["tcp"][path.removeprefix("tcp.")] is None for path in unreadable if path.startswith("tcp.")
    )
    assert [one for one in found["tcp"].values() if one is not None]


def cut_in_two(dump: Dump) -> tuple[Record, int]:
    """A connection whose struct sock begins on one page and ends on the next, and that next page."""
    head = dump.prog.type("struct sock").size
    for record in dump.records:
        address = int(record["address"], 16)
        following = address // PAGE * PAGE + PAGE
        known = (record["kind"], record["family"], record["state"])
        if known == ("tcp", "AF_INET", "ESTABLISHED") and address + head > following + 8:
            return record, page_of(dump, following)
    raise AssertionError("no struct sock lies on two pages")


def test_half_a_struct_sock(dump_6_1: Dump, damaged: Damaged) -> None:
    """What its table and its first page tell is shown; nothing is said of its timers, options and owners."""
    whole, page = cut_in_two(dump_6_1)
    core = damaged.with_holes([page])
    (found,) = [
        one for one in partly(dump_6_1, inspect(dump_6_1, core)) if one["address"] == whole["address"]
    ]
    assert (found["state"], found["local"], found["peer"]) == (whole["state"], whole["local"], whole["peer"])
    assert {one["pending"] for one in found["timers"] if one["name"] != "fin-wait2"} == {None}
    (nodelay,) = [one for one in found["options"] if one["name"] == "TCP_NODELAY"]
    assert (nodelay["value"], nodelay["origin"]) == (None, None)
    ends = "tcp:{local[address]}:{local[port]}-{peer[address]}:{peer[port]}"
    whole_text = inspect(dump_6_1, core, ends.format(**whole)).out
    text = whole_text[whole_text.index(f"ESTABLISHED  {whole['address']}") :].split("\n\n")[0]
    assert "none is running" not in text
    assert "untouched" not in text
    for command in ("inspect", "options"):
        ended = sockcrash_process(command, "-c", str(core), "-s", str(dump_6_1.vmlinux), whole["address"])
        assert ended.status == NO_SOCKET
        assert "can't be proved a socket: a part of what would tell is unreadable" in ended.err


def test_a_filter_on_what_is_gone(dump_6_1: Dump, damaged: Damaged) -> None:
    """It selects no socket of which it can't tell, and says that there are some."""
    whole, page = cut_in_two(dump_6_1)
    core = damaged.with_holes([page])
    options = ("-c", str(core), "-s", str(dump_6_1.vmlinux), "--format", "jsonl", "-o", "address")
    listed = sockcrash_process("list", *options, "kind = tcp")
    assert "can't be told" not in listed.err
    for term, name in (("snd_cwnd > 0", "snd_cwnd"), ("timers != keepalive", "timers")):
        ended = sockcrash_process("list", *options, f"kind = tcp and {term}")
        assert ended.status == PARTLY
        assert f"{name} can't be told of some sockets" in ended.err
        assert whole["address"] in {one["address"] for one in listed.records}
        assert whole["address"] not in {one["address"] for one in ended.records}
        assert ended.records


def test_text_of_a_socket_with_a_hole(dump_6_1: Dump, damaged: Damaged) -> None:
    """Every format says so, and none falls over."""
    size = dump_6_1.prog.type("struct tcp_sock").size
    ends = {
        page_of(dump_6_1, int(one["address"], 16) + size - 1)
        for one in dump_6_1.records
        if one["kind"] == "tcp"
    }
    core = damaged.with_holes(ends)
    for output_format in ("text", "table", "csv", "crash", "json"):
        ended = inspect(dump_6_1, core, "--all", "--format", output_format)
        assert ended.status == PARTLY
        assert dump_6_1.labelled("udp-bound")["address"][2:] in ended.out
    assert "unreadable" in inspect(dump_6_1, core, "--all", "--format", "text").out


def test_the_established_table(dump_6_1: Dump, damaged: Damaged) -> None:
    """Then descriptors still lead to what has one."""
    info = dump_6_1.prog["tcp_hashinfo"]
    size = (int(info.ehash_mask) + 1) * 8
    pages = [page_of(dump_6_1, info.ehash.value_() + distance) for distance in range(0, size, PAGE)]
    there = partly(dump_6_1, inspect(dump_6_1, damaged.with_holes(pages)))
    shown = {one["address"] for one in there}
    for label, one in dump_6_1.truth.tcp_sockets.items():
        assert dump_6_1.labelled(label)["address"] in shown, one


def test_descriptors_of_the_process(dump_6_1: Dump, damaged: Damaged) -> None:
    """Then the tables still lead to what is in them."""
    from drgn.helpers.linux.pid import find_task

    (pid,) = {one["pid"] for one in dump_6_1.truth.sockets.values()}
    table = find_task(dump_6_1.prog, pid).files.fdt.fd.value_()
    there = partly(dump_6_1, inspect(dump_6_1, damaged.with_holes([page_of(dump_6_1, table)])))
    tables = {one["address"] for one in dump_6_1.records if not one["how"].startswith(("fd:", "subflow of"))}
    assert {one["address"] for one in there} >= tables


def test_the_types_of_modules(dump_6_1: Dump, damaged: Damaged) -> None:
    """What needs them can't be read: that is no missing end, and no kernel that has no such types."""
    modules = list_for_each_entry("struct btf_module", dump_6_1.prog["btf_modules"].address_of_(), "list")
    pages = {page_of(dump_6_1, one.btf.data.value_()) for one in modules}
    core = damaged.with_holes(sorted(pages))
    there = partly(dump_6_1, inspect(dump_6_1, core))
    vsock = [one for one in there if one["kind"] == "vsock"]
    assert vsock
    for one in vsock:
        assert (one["local"], one["peer"]) == (None, None)
        assert one["absent"]["local"].startswith("unreadable: no struct vsock_sock")
    socket = vsock[0]["address"]
    assert f"vsock  (unreadable: no struct vsock_sock in the types of this kernel)  {vsock[0]['state']}" in (
        inspect(dump_6_1, core, socket).out
    )
    listed = sockcrash_process("list", "-c", str(core), "-s", str(dump_6_1.vmlinux), "kind = vsock")
    assert listed.status == PARTLY
    assert {tuple(line.split()[4:6]) for line in listed.out.splitlines()[1:]} == {("?", "?")}


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("table", "are open but lead to no file: the dump has lost a part of their table"),
        ("files_struct", "a table of descriptors that can't be right"),
        ("task", "zeros where a task should be"),
        ("file", "is unreadable: file"),
    ],
)
def test_zeros_on_the_way_to_descriptors(dump_6_1: Dump, damaged: Damaged, what: str, says: str) -> None:
    """Memory that a dump has lost may read as zeros: an empty slot, no files at all, a file that is no socket's."""
    from drgn.helpers.linux.pid import find_task

    (pid,) = {one["pid"] for one in dump_6_1.truth.sockets.values()}
    task = find_task(dump_6_1.prog, pid)
    table = task.files.fdt.fd
    fd = dump_6_1.truth.sockets["udp-bound"]["fd"]
    places = {
        "table": table.value_(),
        "files_struct": task.files.value_(),
        "task": task.files.address_,
        "file": table[fd].f_op.address_,
    }
    with damaged.zeroed([page_of(dump_6_1, places[what])]) as core:
        ended = inspect(dump_6_1, core, "--all", "--format", "table")
        assert ended.status == PARTLY
        assert says in ended.err
        ended = inspect(dump_6_1, core, f"pid:{pid}", "--format", "table")
        assert ended.status in (3, PARTLY)
        assert says in ended.err or what in ("task", "file")


@pytest.mark.parametrize(
    "symbol",
    [
        "net_namespace_list",
        "tcp_hashinfo",
        "proto_list",
        "init_task",
        "jiffies_64",
        "tk_core",
        "socket_file_ops",
    ],
)
def test_pages_of_kernel_variables(dump_6_1: Dump, damaged: Damaged, symbol: str) -> None:
    """What can't do without says what is missing; nothing falls over."""
    nothing_made_up(
        dump_6_1, inspect(dump_6_1, damaged.with_holes([page_of(dump_6_1, dump_6_1.prog[symbol].address_)]))
    )


def test_an_address_in_a_hole(dump_6_1: Dump, damaged: Damaged) -> None:
    address = dump_6_1.labelled("est-v4")["address"]
    core = damaged.with_holes([page_of(dump_6_1, address)])
    for options in ((), ("--force",)):
        ended = inspect(dump_6_1, core, address, *options)
        assert ended.status == 3
        assert address in ended.err


# Holes anywhere


@pytest.mark.parametrize(
    ("share", "seed"), [(0.001, 1), (0.001, 2), (0.01, 3), (0.01, 4), (0.05, 5), (0.3, 6), (0.9, 7)]
)
def test_random_holes(dump_6_1: Dump, damaged: Damaged, share: float, seed: int) -> None:
    chosen = random.Random(seed)
    missing = [page for page in damaged.pages if chosen.random() < share]
    nothing_made_up(dump_6_1, inspect(dump_6_1, damaged.with_holes(missing)))


def test_random_holes_beside_the_kernel_itself(dump_6_1: Dump, damaged: Damaged) -> None:
    """Text, data and page tables are there, of the rest a page in a hundred is not: most sockets are shown."""
    chosen = random.Random(8)
    sockets = {page_of(dump_6_1, one["address"]) for one in dump_6_1.records}
    missing = [page for page in sorted(sockets) if chosen.random() < 0.2]
    there = partly(dump_6_1, inspect(dump_6_1, damaged.with_holes(missing)))
    assert len(there) > len(dump_6_1.records) * 0.6


# No memory, and ends


def test_zeroed_program_headers(dump_6_1: Dump, damaged: Damaged) -> None:
    ended = inspect(dump_6_1, damaged.with_zeroed_headers())
    assert ended.out == ""
    assert ended.status in (FAILED, PARTLY)
    assert "sockcrash: " in ended.err


def test_cut_shorter_and_shorter(dump_6_1: Dump, damaged: Damaged) -> None:
    length = damaged.path.stat().st_size
    for part in (0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01):
        ended = inspect(dump_6_1, damaged.cut(int(length * part)))
        assert "is cut short" in ended.err
        nothing_made_up(dump_6_1, ended)
    for few in (4096, 1000, 64, 63, 1, 0):
        ended = inspect(dump_6_1, damaged.cut(few))
        assert (ended.status, ended.out) == (FAILED, "")
