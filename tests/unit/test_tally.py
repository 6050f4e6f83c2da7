# SPDX-License-Identifier: LGPL-2.1-or-later
"""Adding up sockets, and the screen that shows it."""

from __future__ import annotations

from dataclasses import replace

from records import sock_section, tcp_record, timewait_record
from sockcrash.model import Absent, Endpoint, Owner, Reason
from sockcrash.model.overview import Counts, Load, NamespaceSummary, ProtocolMemory, Summary
from sockcrash.render.summary import summary_text
from sockcrash.render.summary_json import summary_object
from sockcrash.summary.tally import Tally, measure

TARGET = {"release": "6.1.0", "source": "vmcore", "taken": None}


def test_loads_add_up_and_owners_count_once() -> None:
    tally = Tally()
    twice = tcp_record(owners=(Owner("fd", 7, "nginx", 3), Owner("fd", 7, "nginx", 4)), netns=1)
    nobody = tcp_record(owners=(), netns=2, state="CLOSE_WAIT")
    for record in (twice, nobody, timewait_record()):
        tally.add(record)
    one = measure(twice, [])
    assert tally.load().sockets == 3
    (process,) = tally.processes()
    assert (process.pid, process.load.sockets, process.load.memory) == (7, 1, one["memory"])
    assert tally.holders == {"fd": 1, "nobody": 1, "timewait": 1}
    load, states, ports = tally.of_namespace(2, 1, 65535)
    assert (load.sockets, states) == (1, {"CLOSE_WAIT": 1})
    assert ports["tcp"] == 1
    assert tally.of_namespace(2, 1, 2)[2] == {"tcp": 0, "udp": 0}
    assert tally.of_namespace(99, 1, 65535) == (Load(0, 0, 0, 0), {}, {"tcp": 0, "udp": 0})


def test_a_listener_queues_no_bytes() -> None:
    listener = tcp_record(state="LISTEN")
    assert (measure(listener, [])["unread"], measure(listener, [])["unsent"]) == (0, 0)


def test_what_can_not_be_told_is_not_counted_without_a_word() -> None:
    gone = Absent(Reason.UNREADABLE, "0x5")
    tally = Tally()
    tally.add(tcp_record(sock=sock_section(sk_rmem_alloc=gone), owners=gone, netns=gone))
    tally.add(tcp_record(sock=sock_section(sk_omem_alloc=gone), owners=()))
    assert tally.untold == {
        "bytes in queues or memory": (2, gone),
        "the namespace": (1, gone),
        "the owners": (1, gone),
    }
    assert tally.holders == {"unknown": 1, "nobody": 1}
    tally = Tally()
    tally.add(tcp_record(local=Absent(Reason.NOT_APPLICABLE), owners=()))
    assert tally.untold == {}


def test_only_the_largest_are_kept() -> None:
    tally = Tally()
    for number in range(1, 40):
        tally.add(tcp_record(address=number, sock=sock_section(sk_rmem_alloc=100 * number)))
    largest = tally.top()["memory"]
    assert [one.address for one in largest] == list(range(39, 29, -1))
    assert [one.value for one in largest] == [100 * number for number in range(39, 29, -1)]


def namespace(inode: int, names: tuple[str, ...] = ()) -> NamespaceSummary:
    counts = Counts(
        initial=inode == 1, used=5, inuse={"TCP": 1}, time_wait=2, max_time_wait=8, fragments=(0, 0),
        fragments6=(Absent(Reason.NOT_APPLICABLE),) * 2, first_port=10, last_port=19,
    )  # fmt: skip
    return NamespaceSummary(
        inode=inode, names=names, processes=Absent(Reason.NOT_IN_SNAPSHOT), load=Load(1, 2, 3, 4),
        states={"LISTEN": 1}, counts=counts, ports={"tcp": 3, "udp": 0},
        counters={"Tcp": {"RetransSegs": 4}, "TcpExt": {"ListenOverflows": 9}},
    )  # fmt: skip


def summary(**changes: object) -> Summary:
    made = Summary(
        whole=False, load=Load(1, 2, 3, 4), kinds=(), holders={"fd": 1}, namespaces=(namespace(1),), processes=(),
        memory=(ProtocolMemory("tcp", 50, (10, 20, 100), True, 7),), page_size=4096, orphans=1, max_orphans=9,
        top={"memory": (), "unread": (), "unsent": ()},
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_screen_says_what_is_wrong() -> None:
    text = "\n".join(summary_text(summary(), TARGET, 5))
    assert "snapshot" in text
    assert (
        "TCP 50 pages = 204.8 kB of 100 (50 %), pressure from 20, UNDER PRESSURE, 7 sockets allocated" in text
    )
    assert "overflows 9" in text
    assert "again 4" in text
    assert "(initial)" in text
    assert "2/8" in text
    assert "3/10" in text


def test_many_namespaces_stay_on_the_screen_and_their_counters_add_up() -> None:
    many = tuple(namespace(inode, (f"/run/netns/n{inode}",)) for inode in range(1, 31))
    lines = list(summary_text(summary(namespaces=many), TARGET, 5))
    assert len(lines) < 40
    assert any("22 namespaces" in line for line in lines)
    assert any("overflows 270" in line for line in lines)
    assert any(" n3 " in line for line in lines)


def test_hostile_names_are_escaped() -> None:
    evil = summary(namespaces=(namespace(2, ("/run/netns/\x1b[2J",)),))
    tally = Tally()
    tally.add(tcp_record(owners=(Owner("fd", 7, "\x1b[2J", 3),), local=Endpoint(path="\x1b"), kind="unix"))
    text = "\n".join(summary_text(replace(evil, processes=tally.processes(), top=tally.top()), TARGET, 5))
    assert "\x1b" not in text


def test_absent_is_null_with_the_reason() -> None:
    made = summary_object(summary(orphans=Absent(Reason.UNREADABLE, "0x5")))
    assert made["orphans"] is None
    assert made["absent"]["orphans"] == "unreadable: 0x5"
    assert made["namespaces"][0]["processes"] is None
    assert made["absent"]["namespaces.1.processes"] == "not_in_snapshot"
    assert made["namespaces"][0]["counters"]["Tcp"]["RetransSegs"] == 4
