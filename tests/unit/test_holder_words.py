# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holders, other ends, containers and selections: in words and as JSON, of records written by hand."""

from __future__ import annotations

import pytest

from records import UNREADABLE, tcp_record
from sockcrash.filter import selection
from sockcrash.kernel.ends import reversed_ends, stays_inside
from sockcrash.kernel.selection import Entry, entry_from_json, entry_to_json
from sockcrash.model import Absent, OtherEnd, Owner, Reason
from sockcrash.model.container import container_of
from sockcrash.render.holders import holder_text, holder_word, other_end_lines, owner_object
from sockcrash.render.json import record_object
from sockcrash.render.text import record_text

ID = "4c01db0b339c" + "0123456789ab" * 4 + "beef"
NFS = Owner(
    "kernel",
    user="sunrpc client",
    callback="xs_data_ready",
    module="sunrpc",
    program="nfs",
    remote="10.0.0.1:2049",
)


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        ("/", None),
        ("/system.slice/nginx.service", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        (f"/docker/{ID}", ID),
        (f"/system.slice/docker-{ID}.scope", ID),
        (f"/machine.slice/libpod-{ID}.scope/container", ID),
        (f"/kubepods.slice/kubepods-besteffort.slice/kubepods-pod1_2.slice/cri-containerd-{ID}.scope", ID),
        (f"/kubepods/burstable/pod7/{ID}", ID),
        (f"/docker/{'a' * 64}/docker/{ID}", ID),
        ("/lxc.payload.web/init.scope", "web"),
        ("/lxc/db", "db"),
        ("/machine.slice/machine-my\\x2dbox.scope", "my-box"),
        (f"/docker/{ID}0", None),
    ],
)
def test_containers_by_their_control_group(cgroup: str, container: str | None) -> None:
    assert container_of(cgroup) == container
    found = tcp_record(cgroup=cgroup).container
    assert found == container if container else isinstance(found, Absent)


@pytest.mark.parametrize(
    ("owner", "word", "text"),
    [
        (Owner("fd", 7, "nginx", 3), "nginx(7):3", "nginx (pid 7) fd 3"),
        (Owner("accept-queue", listener=0xFF12), "accept-queue", "the accept queue of listener 0xff12"),
        (Owner("scm-rights", socket=0xFF34, depth=1), "scm-rights", "in the queue of UNIX socket 0xff34"),
        (Owner("scm-rights", socket=0xFF34, depth=2), "scm-rights", "which is in flight itself"),
        (Owner("io-uring", 7, "db", 9), "io-uring", "a fixed file of the io_uring of db (pid 7) fd 9"),
        (
            Owner("sockmap", 7, "lb", 9, user="m", map=5),
            "sockmap",
            "sockmap m (BPF map 5) of lb (pid 7) fd 9",
        ),
        (Owner("sockmap", map=5), "sockmap", "sockmap (BPF map 5)"),
        (
            NFS,
            "kernel:sunrpc-client",
            "sunrpc client (xs_data_ready), program nfs, the other side is 10.0.0.1:2049",
        ),
        (Owner("kernel"), "kernel", "the kernel"),
        (Owner("orphan"), "orphan", "nobody"),
    ],
)
def test_in_words(owner: Owner, word: str, text: str) -> None:
    assert holder_word(owner) == word
    assert text in holder_text(owner)


def test_the_other_side_is_not_said_twice() -> None:
    assert "10.0.0.1" not in holder_text(NFS, "10.0.0.1:2049")


def test_names_of_the_kernel_are_escaped() -> None:
    assert "\x1b" not in holder_text(Owner("fd", 1, "a\x1b[2J", 3)) + holder_text(
        Owner("sockmap", user="\x1b")
    )
    assert "\x1b" not in holder_word(Owner("fd", 1, "a\x1b[2J", 3))


def test_as_json() -> None:
    assert owner_object(NFS)["remote"] == "10.0.0.1:2049"
    assert owner_object(Owner("scm-rights", socket=0xFF34, depth=2)) == {
        "kind": "scm-rights",
        "socket": "0xff34",
        "depth": 2,
    }
    assert owner_object(Owner("accept-queue", listener=0xFF12)) == {
        "kind": "accept-queue",
        "listener": "0xff12",
    }
    assert set(owner_object(Owner("sockmap", map=1))) == {"kind", "map", "user", "pid", "comm", "fd"}


def test_the_other_end() -> None:
    record = tcp_record(netns=1)
    there = OtherEnd(0xFF56, "tcp", 2, (Owner("fd", 8, "php", 4),))
    here = OtherEnd(0xFF57, "tcp", 1, UNREADABLE)
    record = tcp_record(netns=1, other_end=(there, here), netns_names=("/run/netns/blue",), netns_processes=0)
    assert next(other_end_lines(record)) == "tcp 0xff56 in netns 2, held by php (pid 8) fd 4"
    text = record_text(record)
    assert "other end  tcp 0xff56" in text
    assert "netns 1 (blue), which no process is in" in text
    made = record_object(record)
    assert [one["address"] for one in made["other_end"]] == ["0xff56", "0xff57"]
    assert made["other_end"][1]["owners"] is None
    assert made["absent"]["other_end.0xff57.owners"] == str(here.owners)
    assert (made["netns_names"], made["netns_processes"]) == (["/run/netns/blue"], 0)
    alone = record_object(tcp_record(other_end=Absent(Reason.NOT_APPLICABLE, "not connected")))
    assert alone["other_end"] is None
    assert alone["absent"]["other_end"] == "not_applicable: not connected"
    assert "other_end" not in record_object(tcp_record())


@pytest.mark.parametrize(
    "other_end",
    [
        None,
        Absent(Reason.NOT_APPLICABLE, "not connected"),
        (),
        (OtherEnd(5, "tcp", 1, (NFS,)), OtherEnd(6, "unix", UNREADABLE, UNREADABLE)),
    ],
)
def test_a_snapshots_index_keeps_them(other_end: tuple[OtherEnd, ...] | Absent | None) -> None:
    owners = (NFS, Owner("fd", 1, "a", 2))
    entry = Entry(1, "tcp", "ehash", True, "", False, owners, netns_processes=3, other_end=other_end)
    assert entry_from_json(entry_to_json(entry)) == entry


def test_a_snapshots_index_keeps_why_there_are_none() -> None:
    entry = Entry(1, "tcp", "ehash", True, "", False, UNREADABLE, netns_processes=UNREADABLE)
    assert entry_from_json(entry_to_json(entry)) == entry
    assert entry.known_owners == ()


def test_an_older_snapshots_index_is_read() -> None:
    data = entry_to_json(Entry(1, "tcp", "ehash", True, "", False, ()))
    for name in ("other_end", "netns_processes", "netns_paths", "owner_netns"):
        del data[name]
    assert entry_from_json(data) == Entry(1, "tcp", "ehash", True, "", False, ())


def test_ends_seen_from_the_other_side() -> None:
    ends = (b"\x7f\0\0\1", 80, b"\x0a\0\0\1", 4000)
    assert reversed_ends(ends) == (b"\x0a\0\0\1", 4000, b"\x7f\0\0\1", 80)
    assert not stays_inside(ends)
    assert stays_inside(reversed_ends(ends))
    assert stays_inside((b"\0" * 16, 1, bytes(15) + b"\1", 2))


def test_selections() -> None:
    nginx = tcp_record(owners=(Owner("fd", 1, 'ngi"nx', 3),), cgroup="/a.slice/b.service", state="LISTEN")
    assert selection(None, None, None) is None
    cases = (
        ((None, 'ngi"nx', None), True),
        ((None, "ngi*", None), True),
        ((None, "apache", None), False),
        ((None, None, "/a.slice"), True),
        ((None, None, "/a.slice/"), True),
        ((None, None, "/a"), False),
        ((None, None, "/"), True),
        ((None, None, "abc"), False),
        (("state listening or state established", "ngi*", "/a.slice"), True),
        (("state established", "ngi*", None), False),
    )
    for words, expected in cases:
        chosen = selection(*words)
        assert chosen is not None
        assert chosen.matches(nginx) is expected, words
    docker = tcp_record(cgroup=f"/docker/{ID}")
    chosen = selection(None, None, ID[:12])
    assert chosen is not None
    assert chosen.matches(docker)
