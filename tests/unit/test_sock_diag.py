# SPDX-License-Identifier: LGPL-2.1-or-later
"""The netlink client: against ss and getsockopt on this machine, and against answers that no kernel gives."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.locate import netlink, sock_diag_inet, sock_diag_others
from sockcrash.locate.netlink import DiagError, attributes, collect, dump
from sockcrash.locate.sock_diag import KINDS, Answer, Query, ask
from sockcrash.locate.sock_diag_inet import bytecode
from sockcrash.model import Absent
from this_kernel import needs_sock_diag

SO_COOKIE = 57
FIN_WAIT2 = 5
CLONE_NEWNET = 0x40000000
LOOPBACK = "127.0.0.1"
needs_ss = pytest.mark.skipif(shutil.which("ss") is None, reason="needs ss (iproute2)")


def cookie(sock: socket.socket) -> int:
    """SO_COOKIE."""
    return int(struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0])


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def wait_for_state(sock: socket.socket, state: int) -> None:
    """Until TCP_INFO says so: the other end may take its time to acknowledge."""
    deadline = time.monotonic() + 5
    while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != state:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@dataclass
class Opened:
    """Sockets of a test, closed at its end."""

    stack: contextlib.ExitStack
    sockets: dict[str, socket.socket] = field(default_factory=dict)

    def keep(self, name: str, sock: socket.socket) -> socket.socket:
        self.sockets[name] = self.stack.enter_context(sock)
        return sock


@pytest.fixture
def opened() -> Iterator[Opened]:
    """TCP (both families, each state that is easily had), UDP and UNIX sockets."""
    with contextlib.ExitStack() as stack:
        made = Opened(stack)
        for name, family, address in (("4", socket.AF_INET, LOOPBACK), ("6", socket.AF_INET6, "::1")):
            listener = made.keep(f"listen{name}", socket.create_server((address, 0), family=family))
            client = made.keep(f"client{name}", socket.create_connection(listener.getsockname()[:2]))
            made.keep(f"child{name}", listener.accept()[0])
            half = made.keep(f"half{name}", socket.create_connection(listener.getsockname()[:2]))
            made.keep(f"halfchild{name}", listener.accept()[0])
            half.shutdown(socket.SHUT_WR)
            wait_for_state(half, FIN_WAIT2)
            udp = made.keep(f"udp{name}", socket.socket(family, socket.SOCK_DGRAM))
            udp.bind((address, 0))
            client.send(b"unread")
        dual = made.keep("dual", socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
        made.keep("mapped", socket.create_connection((LOOPBACK, dual.getsockname()[1])))
        made.keep("mappedchild", dual.accept()[0])
        one, two = socket.socketpair()
        made.keep("pair-a", one)
        made.keep("pair-b", two)
        abstract = made.keep("abstract", socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        abstract.bind(f"\0sockcrash-test-{os.getpid()}")
        yield made


def told(query: Query) -> dict[int, Answer]:
    """Answers by cookie."""
    answers = ask(query)
    assert answers.refused == {}
    return {one.cookie: one for one in answers.found}


@needs_sock_diag
def test_own_sockets(opened: Opened) -> None:
    """Cookie, inode, ends and type of every socket that the test holds, by getsockopt and fstat."""
    answers = told(Query(kinds=("tcp", "udp", "unix")))
    for name, sock in opened.sockets.items():
        answer = answers[cookie(sock)]
        assert answer.inode == inode(sock), name
        assert answer.spec == f"sk:{cookie(sock):x}"
        assert answer.type == sock.type.name
        assert answer.family == sock.family.name
        if sock.family == socket.AF_UNIX:
            assert answer.kind == "unix"
            continue
        assert answer.uid == os.getuid()
        assert (answer.local.address, answer.local.port) == sock.getsockname()[:2], name
        with contextlib.suppress(OSError):
            peer = sock.getpeername()[:2]
            assert not isinstance(answer.peer, Absent)
            assert (answer.peer.address, answer.peer.port) == peer, name
    by_name = {name: answers[cookie(sock)] for name, sock in opened.sockets.items()}
    assert by_name["listen4"].state == "LISTEN"
    assert by_name["client4"].state == "ESTABLISHED"
    assert by_name["half6"].state == "FIN_WAIT2"
    assert by_name["halfchild6"].state == "CLOSE_WAIT"
    assert by_name["udp4"].state == "CLOSE"
    assert by_name["child4"].recv_q == len(b"unread")
    pair = by_name["pair-a"]
    assert not isinstance(pair.peer, Absent)
    assert pair.peer.inode == inode(opened.sockets["pair-b"])
    assert by_name["abstract"].local.path == f"@sockcrash-test-{os.getpid()}"


@needs_sock_diag
def test_filters_of_the_kernel(opened: Opened) -> None:
    """What comes back with a filter is what of the whole answer fits it: no more, no less."""
    port = opened.sockets["listen4"].getsockname()[1]
    there = ipaddress.ip_network("127.0.0.0/8")
    every = told(Query(kinds=("tcp",))).values()
    mapped = opened.sockets["mapped"].getsockname()[1]
    cases: list[tuple[dict[str, Any], Any]] = [
        ({"sport": port}, lambda one: one.local.port == port),
        ({"dport": port}, lambda one: one.peer.port == port),
        ({"port": port}, lambda one: port in (one.local.port, one.peer.port)),
        (
            {"port": port, "states": frozenset({"LISTEN"})},
            lambda one: one.local.port == port and one.state == "LISTEN",
        ),
        ({"states": frozenset({"FIN_WAIT2"})}, lambda one: one.state == "FIN_WAIT2"),
        ({"states": frozenset({"CLOSE_WAIT", "LISTEN"})}, lambda one: one.state in ("CLOSE_WAIT", "LISTEN")),
        ({"dst": there}, lambda one: one.peer.address.removeprefix("::ffff:").startswith("127.")),
        ({"dst": there, "port": mapped}, lambda one: mapped in (one.peer.port, one.local.port)),
        ({"src": ipaddress.ip_network("::1/128")}, lambda one: one.local.address == "::1"),
        (
            {"src": there, "dst": there, "port": port, "sport": port},
            lambda one: one.local.port == port and one.peer.port,
        ),
        ({"sport": port, "dport": port}, lambda one: one.local.port == one.peer.port == port),
    ]
    ours = {cookie(sock) for sock in opened.sockets.values()}
    for query, fits in cases:
        expected = {one.cookie for one in every if fits(one)} & ours
        found = set(told(Query(kinds=("tcp",), **query))) & ours
        assert found == expected, query
    assert told(Query(kinds=("tcp",), port=port))
    assert (
        told(Query(kinds=("unix", "netlink", "tcp"), port=port)).keys()
        == told(Query(kinds=("tcp",), port=port)).keys()
    )


UNIX_LINE = re.compile(r" (?:\*|[/@]\S*) (\d+) +\* \d+")
SS_LINE = re.compile(r"\bino:(\d+) sk:([0-9a-f]+)")


def ss(*words: str) -> set[tuple[int, int]]:
    """Inode and cookie of what ss lists."""
    text = subprocess.run(["ss", "-Hnea", *words], capture_output=True, text=True, check=True).stdout
    return {
        (int(found[1]), int(found[2], 16)) for line in text.splitlines() if (found := SS_LINE.search(line))
    }


@needs_sock_diag
@needs_ss
@pytest.mark.parametrize(
    ("kind", "word"), [("tcp", "-t"), ("udp", "-u"), ("raw", "-w"), ("packet", "-0"), ("mptcp", "-M")]
)
def test_the_same_as_ss(opened: Opened, kind: str, word: str) -> None:
    with contextlib.suppress(OSError):
        opened.keep("raw", socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        opened.keep("packet", socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with contextlib.suppress(OSError):
        opened.keep("mptcp", socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)).listen()
    before = ss(word)
    answers = ask(Query(kinds=(kind, "unix")))
    if kind in answers.refused:
        assert before == set()
        return
    after = ss(word)
    found = {(one.inode, one.cookie) for one in answers.found if one.kind.startswith(kind)}
    assert before & after <= found
    # sockets that are closed but bound ss asks for since iproute2 6.8 only
    closed = {(one.inode, one.cookie) for one in answers.found if one.state == "CLOSE"}
    assert found - closed <= before | after


@needs_sock_diag
@needs_ss
def test_unix_sockets_of_ss(opened: Opened) -> None:
    text = subprocess.run(["ss", "-Hnxa"], capture_output=True, text=True, check=True).stdout
    listed = {int(found[1]) for line in text.splitlines() if (found := UNIX_LINE.search(line))}
    found = {one.inode for one in ask(Query(kinds=("unix",))).found}
    ours = {inode(sock) for sock in opened.sockets.values() if sock.family == socket.AF_UNIX}
    assert ours <= listed
    assert ours <= found


@needs_sock_diag
def test_netlink_sockets() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        answer = told(Query(kinds=("netlink",)))[cookie(sock)]
        assert (answer.inode, answer.local.portid) == (inode(sock), sock.getsockname()[0])
        assert answer.protocol == answer.local.protocol == "NETLINK_ROUTE"
        # net/netlink/af_netlink.c: NETLINK_UNCONNECTED and NETLINK_CONNECTED, whose names records have from memory too
        assert answer.state == "UNCONNECTED"
        sock.connect((0, 0))
        assert told(Query(kinds=("netlink",)))[cookie(sock)].state == "CONNECTED"


@needs_sock_diag
def test_vsock_sockets() -> None:
    try:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError:
        assert set(ask(Query(kinds=("tcp", "vsock"))).refused) <= {"vsock"}
        return
    with sock:
        sock.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
        answers = ask(Query(kinds=("tcp", "vsock")))
        if "vsock" not in answers.refused:
            (found,) = [one for one in answers.found if one.inode == inode(sock)]
            assert (found.local.port, found.cookie) == (sock.getsockname()[1], cookie(sock))


@needs_sock_diag
def test_every_kind_is_answered_or_refused_with_a_reason() -> None:
    answers = ask(Query())
    assert {one.kind for one in answers.found} <= {*KINDS, "tcp-timewait", "tcp-request"}
    assert set(answers.refused) < set(KINDS)
    assert all(answers.refused.values())


@needs_sock_diag
def test_time_wait_has_a_kind_of_its_own() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection((LOOPBACK, port))
        number = cookie(client)
        child = listener.accept()[0]
        client.close()
        child.close()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            found = told(Query(kinds=("tcp",), dport=port)).get(number)
            if found is not None and found.kind == "tcp-timewait":
                assert (found.state, found.inode) == ("TIME_WAIT", 0)
                return
        pytest.fail("no TIME_WAIT")


# ---- other network namespaces


@pytest.fixture
def other_namespace() -> Iterator[tuple[str, socket.socket]]:
    """The path of a namespace and a listener in it, kept by a thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    made: list[tuple[str, socket.socket] | None] = []
    done, ready = threading.Event(), threading.Event()

    def live_there() -> None:
        if libc.unshare(CLONE_NEWNET):
            made.append(None)
            ready.set()
            return
        with socket.socket() as sock:
            sock.bind(("0.0.0.0", 0))
            sock.listen()
            made.append((f"/proc/self/task/{threading.get_native_id()}/ns/net", sock))
            ready.set()
            done.wait(60)

    thread = threading.Thread(target=live_there)
    thread.start()
    try:
        assert ready.wait(30)
        if made[0] is None:
            pytest.skip("needs CAP_SYS_ADMIN")
        yield made[0]
    finally:
        done.set()
        thread.join()


@needs_sock_diag
def test_another_namespace(other_namespace: tuple[str, socket.socket]) -> None:
    path, sock = other_namespace
    found = told(Query(kinds=("tcp",), netns=path))
    assert set(found) == {cookie(sock)}
    assert cookie(sock) not in told(Query(kinds=("tcp",)))


@needs_sock_diag
@pytest.mark.parametrize("path", ["/nowhere", "/etc/passwd", str(Path(__file__).parent)])
def test_what_is_no_namespace(path: str) -> None:
    with pytest.raises(DiagError) as caught:
        ask(Query(kinds=("tcp",), netns=path))
    assert caught.value.exit_code == 1


# ---- answers that no kernel gives

NUMBER = 0x1234


def message(
    body: bytes, kind: int = netlink.SOCK_DIAG_BY_FAMILY, flags: int = 2, number: int = NUMBER
) -> bytes:
    """A netlink message, padded."""
    raw = struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body
    return raw + bytes(-len(raw) % 4)


END = message(struct.pack("=i", 0), 3)


def test_answers_up_to_the_end() -> None:
    got = collect(
        iter([message(b"one") + message(b"two"), message(b"old", number=1), message(b"three") + END]), NUMBER
    )
    assert (got.bodies, got.interrupted) == ((b"one", b"two", b"three"), False)


def test_a_change_meanwhile_is_noticed() -> None:
    assert collect(iter([message(b"one", flags=0x12), END]), NUMBER).interrupted
    assert collect(iter([message(b"one"), message(bytes(4), 3, flags=0x12)]), NUMBER).interrupted


@pytest.mark.parametrize(
    ("datagrams", "number"),
    [
        ([message(struct.pack("=i", -2) + bytes(16), 2)], 2),
        ([message(struct.pack("=i", -22), 3)], 22),
        ([message(b"", 2)], 0),
        ([message(b"one")], 0),  # no end
        ([message(b"one")[:-6] + END], 0),
        ([struct.pack("=IHHII", 4, 20, 2, NUMBER, 0)], 0),
        ([struct.pack("=IHHII", 0xFFFFFFFF, 20, 2, NUMBER, 0) + bytes(64)], 0),
    ],
)
def test_errors_and_damage(datagrams: list[bytes], number: int) -> None:
    with pytest.raises(DiagError) as caught:
        collect(iter(datagrams), NUMBER)
    assert caught.value.number == number


@given(st.binary(max_size=200), st.integers(0, 64))
def test_any_attributes(body: bytes, start: int) -> None:
    with contextlib.suppress(DiagError):
        attributes(body, start)


READERS = (
    *(sock_diag_inet.answer(kind) for kind in sock_diag_inet.PROTOCOLS),
    sock_diag_others.unix_answer,
    sock_diag_others.packet_answer,
    sock_diag_others.netlink_answer,
    sock_diag_others.vsock_answer,
)


@given(st.sampled_from(READERS), st.binary(max_size=160))
def test_any_answer(read: Any, body: bytes) -> None:
    with contextlib.suppress(DiagError):
        assert read(body).spec.startswith("sk:")


@given(st.lists(st.binary(max_size=80) | st.binary(max_size=40).map(message), max_size=6))
def test_any_datagrams(datagrams: list[bytes]) -> None:
    with contextlib.suppress(DiagError):
        collect(iter([*datagrams, END]), NUMBER)


class Deaf:
    """A socket that takes every request and never answers."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()

    def __enter__(self) -> Deaf:
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.close()
        self.theirs.close()

    def settimeout(self, seconds: float) -> None:
        self.ours.settimeout(seconds)

    def sendto(self, data: bytes, _: object) -> None:
        self.ours.send(data)
        self.number = struct.unpack_from("=I", data, 8)[0]

    def recvmsg(self, size: int) -> tuple[bytes, list[Any], int, tuple[int, int]]:
        return self.ours.recv(size), [], 0, (0, 0)


def test_a_kernel_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "_diag_socket", Deaf)
    started = time.monotonic()
    with pytest.raises(DiagError, match=r"didn't answer sock_diag within 0\.2 s"):
        dump(b"", timeout=0.2)
    with pytest.raises(DiagError):
        ask(Query(timeout=0.3))
    assert time.monotonic() - started < 3


def test_an_answer_that_goes_on_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Deaf):
        def recvmsg(self, size: int) -> tuple[bytes, list[Any], int, tuple[int, int]]:
            return message(b"more", number=self.number), [], 0, (0, 0)

    monkeypatch.setattr(netlink, "_diag_socket", Endless)
    with pytest.raises(DiagError):
        dump(b"", timeout=0.3)


@pytest.mark.parametrize(("flags", "sender"), [(socket.MSG_TRUNC, 0), (0, 4711)])
def test_cut_answers_and_other_senders(monkeypatch: pytest.MonkeyPatch, flags: int, sender: int) -> None:
    """A cut datagram is an error; one that a process sent is none of ours, and then nothing comes."""

    class Odd(Deaf):
        def recvmsg(self, size: int) -> tuple[bytes, list[Any], int, tuple[int, int]]:
            end = message(bytes(4), 3, number=self.number)
            return message(b"x", number=self.number) + end, [], flags, (sender, 0)

    monkeypatch.setattr(netlink, "_diag_socket", Odd)
    with pytest.raises(DiagError, match="cut off" if flags else "didn't answer"):
        dump(b"", timeout=0.3)


# ---- programs of filters


def run_program(program: bytes, fits: dict[bytes, bool]) -> bool:
    """What the kernel does with a program (inet_diag_bc_run); ``fits`` says which operands hold."""
    at = 0
    while at < len(program):
        code, yes, no = struct.unpack_from("=BBH", program, at)
        holds = code != 1 and fits[program[at + 4 : at + yes]]
        at += yes if holds else no
    return at == len(program)


@given(
    st.lists(st.lists(st.tuples(st.integers(7, 8), st.integers(0, 5)), min_size=1, max_size=3), max_size=4),
    st.data(),
)
def test_programs_accept_what_fits_one_of_each_group(
    groups: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    fits = {bytes([number] * 8): data.draw(st.booleans()) for number in range(6)}
    coded = [[(code, bytes([number] * 8)) for code, number in group] for group in groups]
    program = bytecode(coded)
    assert run_program(program, fits) is all(any(fits[operand] for _, operand in group) for group in coded)
    at = 0
    while at < len(program):  # as the kernel checks it (inet_diag_bc_audit)
        _, yes, no = struct.unpack_from("=BBH", program, at)
        assert yes >= 4
        assert yes % 4 == no % 4 == 0
        assert 4 <= no <= len(program) - at + 4
        at += yes
    assert at == len(program)
