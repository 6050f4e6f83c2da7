# SPDX-License-Identifier: LGPL-2.1-or-later
"""The comparison that verify makes can fail, and says so; asking getsockopt of this machine's own sockets."""

from __future__ import annotations

import errno
import json
import lzma
import os
import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockcrash.errors import UsageError
from sockcrash.model import Absent, Account, OptionValue, Reason
from sockcrash.render.verify import account_object, account_text
from sockcrash.verify import ask, live
from sockcrash.verify.compare import Ledger
from sockcrash.verify.recorded import find_truth, load_truth
from sockcrash.verify.spread import spread

ON, OFF = struct.pack("i", 1), struct.pack("i", 0)
NODELAY = (6, 1)


def descriptors() -> set[str]:
    """What this process has open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def option(
    raw: bytes | Absent, name: str = "TCP_NODELAY", level: str = "IPPROTO_TCP", number: int = 1
) -> OptionValue:
    """One option as memory gives it."""
    value: Any = raw if isinstance(raw, Absent) else int.from_bytes(raw, "little")
    return OptionValue(level, name, number, value, "", None, raw, None)


def outcome(memory: bytes | Absent, before: bytes | int, after: bytes | int | None) -> str:
    """In which column a single option ends."""
    ledger = Ledger()
    ledger.compare("s", [option(memory)], {NODELAY: before}, None if after is None else {NODELAY: after})
    account = ledger.account()
    if account.disagreements:
        return "disagree"
    (tally,) = account.tallies
    return "lost" if tally.lost else "equal" if tally.equal else "moved"


@pytest.mark.parametrize(
    ("memory", "before", "after", "column"),
    [
        (ON, ON, ON, "equal"),
        (ON, OFF, OFF, "disagree"),
        (ON, OFF, ON, "equal"),
        (ON, OFF, b"\2\0\0\0", "moved"),
        (ON, OFF, None, "disagree"),
        (ON, errno.ENOPROTOOPT, errno.ENOPROTOOPT, "disagree"),
        (ON[:2], ON, ON, "disagree"),
        (Absent(Reason.NOT_APPLICABLE, "EINVAL: TCP_REPAIR is off"), ON, ON, "disagree"),
        (Absent(Reason.SECRET, "2 keys"), ON, ON, "lost"),
    ],
)
def test_where_an_option_is_entered(
    memory: bytes | Absent, before: bytes | int, after: bytes | int | None, column: str
) -> None:
    assert outcome(memory, before, after) == column


@pytest.mark.parametrize(
    ("memory", "answer", "moved"),
    [
        (ON, errno.ENOTCONN, 1),
        (Absent(Reason.NOT_APPLICABLE, "ENOTCONN: no route"), ON, 1),
        (ON, OFF, 0),
    ],
)
def test_a_cached_route_comes_and_goes_between_two_looks(
    memory: bytes | Absent, answer: bytes | int, moved: int
) -> None:
    """The size that it has does not."""
    ledger = Ledger()
    ledger.compare("s", [option(memory, "IP_MTU", "IPPROTO_IP", 14)], {(0, 14): answer}, {(0, 14): answer})
    (tally,) = ledger.account().tallies
    assert (tally.moved, len(ledger.account().disagreements)) == (moved, 1 - moved)


def test_an_answer_without_a_row_speaks_against_us() -> None:
    ledger = Ledger()
    ledger.compare("a", [], {(6, 99): ON}, {(6, 99): ON})
    ledger.compare("b", [], {(6, 99): errno.ENOPROTOOPT})
    account = ledger.account()

    assert not account.agrees
    assert account.unknown == {("IPPROTO_TCP", 99): ("a",)}
    assert any("UNKNOWN: IPPROTO_TCP 99" in line for line in account_text(account))


def test_an_option_is_known_at_every_level_that_answers_it() -> None:
    """UDP-Lite's level on a UDP socket, in kernels that have it; others refuse, which is no disagreement."""
    cork = option(ON, "UDP_CORK", "IPPROTO_UDP", 1)
    ledger = Ledger()
    ledger.compare("old", [cork], {(17, 1): ON, (136, 1): ON})
    ledger.compare("new", [cork], {(17, 1): ON, (136, 1): errno.EOPNOTSUPP})

    assert ledger.account().agrees
    assert sum(tally.equal for tally in ledger.account().tallies) == 3


def test_the_account_names_socket_option_and_both_sides() -> None:
    ledger = Ledger()
    ledger.compare("evil\x1b", [option(ON)], {NODELAY: OFF}, {NODELAY: OFF})
    ledger.not_compared("gone")
    text = "\n".join(account_text(ledger.account()))
    written = account_object(ledger.account())

    assert "DISAGREE: evil\\x1b IPPROTO_TCP TCP_NODELAY: memory 01000000, getsockopt 00000000" in text
    assert "not compared: gone" in text
    assert written["agrees"] is False
    assert written["disagreements"][0]["getsockopt"] == "00000000"
    assert json.loads(json.dumps(written)) == written


def test_asking_gives_bytes_or_an_errno() -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        assert ask.ask(sock.fileno(), 6, 1) == ON
        assert ask.ask(sock.fileno(), 6, 200) == errno.ENOPROTOOPT
        assert ask.ask(sock.fileno(), 1, 28) == errno.ENOTCONN


def test_lengths_that_the_kernel_insists_on() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        name = ask.ask(client.fileno(), 1, 28)

    assert isinstance(name, bytes)
    assert (len(name), name[4:8]) == (16, socket.inet_aton("127.0.0.1"))


def test_a_filter_is_read_whole() -> None:
    """The call returns how many instructions there are, not bytes."""
    program = struct.pack("HBBI", 6, 0, 0, 0xFFFF)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        where = ask.ctypes.create_string_buffer(program)
        sock.setsockopt(1, 26, struct.pack("HxxxxxxP", 1, ask.ctypes.addressof(where)))

        assert ask.ask(sock.fileno(), 1, 26) == program


def test_what_has_a_side_effect_is_never_asked() -> None:
    unsafe = {(1, 4), (1, 77), (6, 28), (6, 35), (263, 6), (6, 33), (282, 1), (282, 2)}

    assert unsafe <= ask.UNSAFE
    assert not unsafe & set(ask.KNOWN)


def test_another_process_is_asked_through_a_child() -> None:
    with socket.socket() as sock, socket.socket() as other:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wanted = {sock.fileno(): [NODELAY], other.fileno(): [NODELAY], 9999: [NODELAY]}
        before = descriptors()
        try:
            found = ask.foreign_answers(os.getpid(), wanted, 10)
        except PermissionError:
            pytest.skip("no right to trace")

        assert found == {sock.fileno(): {NODELAY: ON}, other.fileno(): {NODELAY: OFF}}
        assert descriptors() == before


def test_a_child_that_hangs_costs_no_more_than_its_deadline() -> None:
    def work(send: Any) -> None:
        send((3, {NODELAY: ON}))
        time.sleep(60)

    start = time.monotonic()
    found = ask._in_child(work, 0.5)

    assert found == [(3, {NODELAY: ON})]
    assert time.monotonic() - start < 10


def verified(monkeypatch: pytest.MonkeyPatch, answers: list[bytes | int]) -> tuple[Account, list[int]]:
    """A process of two sockets, whose memory says ON; the kernel says so of 3, and ``answers`` of 4, one a look."""
    asked: list[int] = []

    def answer(_pid: int, wanted: dict[int, Any], _seconds: float) -> dict[int, Any]:
        asked.extend(wanted)
        return {fd: {NODELAY: ON if fd == 3 else answers[(asked.count(4) - 1) // 2]} for fd in wanted}

    handle = SimpleNamespace(kind=SimpleNamespace(name="tcp"))
    monkeypatch.setattr(live, "OptionReader", lambda *_, **__: None)
    monkeypatch.setattr(live, "_sockets_of", lambda *_: {3: handle, 4: handle})
    monkeypatch.setattr(live, "_asked", answer)
    monkeypatch.setattr(live, "_read", lambda *_: (option(ON),))
    return live.verify_processes(cast("Any", None), [1], lambda _: None), asked


def test_what_differs_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A route that a time-out dropped and a segment brought back, while hundreds of sockets were asked."""
    account, asked = verified(monkeypatch, [errno.ENOTCONN, ON])

    assert account.agrees
    assert (account.sockets, sum(tally.equal for tally in account.tallies)) == (2, 2)
    assert asked == [3, 4, 3, 4, 4, 4]


def test_what_differs_each_time_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    account, asked = verified(monkeypatch, [OFF, errno.ENOTCONN, OFF])

    assert [(one.socket, one.kernel) for one in account.disagreements] == [("fd:1/4", "00000000")]
    assert account.sockets == 2
    assert asked.count(4) == 6


def test_the_spread_has_every_kind_and_closes_what_it_opened() -> None:
    before = descriptors()
    with spread(7) as sockets:
        labels = set(sockets)
        nodelay = sockets["tcp-child"].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert {"tcp-0", "tcp6-1", "udp-2", "unix-pair-1-0", "tcp-listener", "v4-mapped-child"} <= labels
    assert nodelay == 1
    assert descriptors() == before


def test_records_that_are_none_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "good.json.xz").write_bytes(lzma.compress(b'{"sockets": [], "before": {"options": {}}}'))

    assert find_truth(str(tmp_path / "vmcore")) == tmp_path / "truth.json"
    assert find_truth(str(tmp_path / "elsewhere" / "vmcore")) is None
    assert load_truth(tmp_path / "good.json.xz") == {"sockets": [], "before": {"options": {}}}
    for name in ("truth.json", "broken.json", "missing.json"):
        with pytest.raises(UsageError):
            load_truth(tmp_path / name)
