# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who holds a socket that no descriptor leads to: what the scenario of each kernel did with it."""

from __future__ import annotations

from typing import Any

import pytest

from harness import MODULES_OF_PROGRAMS, SERIES, Dump, only, programs_directory

pytestmark = pytest.mark.vm

Record = dict[str, Any]


def by_inode(dump: Dump, inode: int) -> list[Record]:
    return [one for one in dump.records if one["inode"] == inode]


def held(dump: Dump, how: str) -> list[dict[str, Any]]:
    return [one for one in dump.truth.raw["holders"] if one["how"] == how]


def owners(record: Record, kind: str) -> list[dict[str, Any]]:
    return [one for one in record["owners"] if one["kind"] == kind]


def ends(record: Record) -> tuple[Any, ...]:
    return tuple((record[end]["address"], record[end]["port"]) for end in ("local", "peer"))


def test_in_flight_one_and_two_deep(dump: Dump) -> None:
    flights = held(dump, "scm-rights")
    assert {one["depth"] for one in flights} == {1, 2}
    for one in flights:
        found = only(by_inode(dump, one["inode"]))
        through = only(by_inode(dump, one["through"]))
        expected = {"kind": "scm-rights", "socket": through["address"], "depth": one["depth"]}
        assert found["owners"] == [expected], one["label"]


def test_fixed_file_of_an_io_uring(dump: Dump) -> None:
    one = only(held(dump, "io-uring"))
    found = only(by_inode(dump, one["inode"]))
    assert found["owners"] == [{"kind": "io-uring", "pid": one["pid"], "comm": "python3", "fd": one["fd"]}]


def test_sockmap_beside_the_descriptor(dump: Dump) -> None:
    one = only(held(dump, "sockmap"))
    found = only(by_inode(dump, one["inode"]))
    sock = dump.truth.sockets["hold-sockmap"]
    assert {"kind": "fd", "pid": sock["pid"], "comm": "python3", "fd": sock["fd"]} in found["owners"]
    owner = only(owners(found, "sockmap"))
    assert (owner["pid"], owner["fd"]) == (one["pid"], one["fd"])
    from drgn.helpers.linux.bpf import bpf_map_by_id

    kind = bpf_map_by_id(dump.prog, owner["map"]).map_type
    assert kind.value_() == dump.prog.constant("BPF_MAP_TYPE_SOCKMAP").value_()


def test_what_waits_for_accept_names_its_listener(dump: Dump) -> None:
    """The children whose descriptors nobody has: of each listener as many as its queue is long."""
    waiting = [(one, owner) for one in dump.records for owner in owners(one, "accept-queue")]
    kinds = {one["kind"] for one, _ in waiting}
    assert {"tcp", "unix", "vsock"} <= kinds
    by_address = {one["address"]: one for one in dump.records}
    for one, owner in waiting:
        listener = by_address[owner["listener"]]
        assert listener["state"] == "LISTEN"
        assert (listener["kind"], listener["netns"]) == (one["kind"], one["netns"])
        assert one["inode"] is None or one["kind"] in ("unix", "vsock")
    for listener in by_address.values():
        if listener["state"] == "LISTEN" and listener["kind"] == "tcp":
            mine = [one for one, owner in waiting if owner["listener"] == listener["address"]]
            assert len(mine) == listener["sock"]["sk_ack_backlog"], listener["local"]


def test_unaccepted_unix_clients_are_those_that_the_listener_lists(dump: Dump) -> None:
    listeners = [one for one in dump.records if one["kind"] == "unix" and one["state"] == "LISTEN"]
    assert sum(len(one["unix"]["pending_inodes"]) for one in listeners) >= 4
    for listener in listeners:
        embryos = [
            one
            for one in dump.records
            if one["kind"] == "unix"
            and {"kind": "accept-queue", "listener": listener["address"]} in one["owners"]
        ]
        assert sorted(one["peer"]["inode"] for one in embryos) == sorted(listener["unix"]["pending_inodes"])


def test_unaccepted_mptcp(dump: Dump) -> None:
    """Not accepted is the MPTCP socket; the TCP socket that carries it waits in the same queue."""
    waiting = [one for one in dump.records if one["kind"] == "mptcp" and owners(one, "accept-queue")]
    if dump.series == "5.10":
        assert waiting == []
        return
    assert waiting
    for one in waiting:
        subflow = only(
            [
                flow
                for flow in dump.records
                if {"kind": "mptcp-subflow", "socket": one["address"]} in flow["owners"]
            ]
        )
        assert owners(subflow, "accept-queue")


def test_orphan_and_tunnel(dump: Dump) -> None:
    for label, kind, user in (("hold-orphan", "orphan", None), ("hold-kernel", "kernel", "vxlan")):
        one = dump.truth.without_fd[label]
        wanted = (tuple(one["local"]), tuple(one["peer"]))
        candidates = [
            record
            for record in dump.records
            if record["kind"] == one["kind"] and record["netns"] == one["netns"] and ends(record) == wanted
        ]
        owner = only(only(candidates)["owners"])
        assert (owner["kind"], owner.get("user")) == (kind, user)


def test_every_socket_of_this_machine_has_a_holder(dump: Dump) -> None:
    assert [one["address"] for one in dump.records if not one["owners"]] == []


def test_kernel_netlink_sockets_name_their_user(dump: Dump) -> None:
    kernels = [one for one in dump.records if one["kind"] == "netlink" and owners(one, "kernel")]
    assert len(kernels) >= 30
    users = {(one["protocol"], one["owners"][0]["user"]) for one in kernels}
    assert {
        ("NETLINK_ROUTE", "rtnetlink"),
        ("NETLINK_GENERIC", "generic netlink"),
        ("NETLINK_SOCK_DIAG", "sock_diag"),
        ("NETLINK_KOBJECT_UEVENT", "kobject_uevent"),
    } <= users


@pytest.fixture(scope="module", params=SERIES)
def programs(request: pytest.FixtureRequest) -> Dump:
    """The dumps with NFS."""
    return Dump(request.param, programs_directory(request.param), modules=MODULES_OF_PROGRAMS)


def test_nfs_over_loopback(programs: Dump) -> None:
    """The client's and the server's sockets, with the program that speaks and the other side's address."""
    expected = [one for one in programs.truth.raw["without_fd"] if one["label"].startswith("nfs-")]
    assert len(expected) == 3
    for one in expected:
        wanted = (tuple(one["local"]), tuple(one["peer"]))
        found = only(
            [
                record
                for record in programs.records
                if record["kind"] == "tcp" and record["netns"] == one["netns"] and ends(record) == wanted
            ]
        )
        owner = only(found["owners"])
        server = one["user"] == "nfs server"
        assert owner["kind"] == "kernel"
        assert owner["user"] == ("sunrpc server" if server else "sunrpc client")
        assert owner["program"] == ("nfsd" if server else "nfs")
        assert owner["module"] == "sunrpc"
        remote = "{}:{}".format(*one["peer"]) if one["peer"][1] else None
        assert owner["remote"] == remote
