# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets of which a page border takes the rest, wherever it lies: what is shown is as in the whole dump, or absent.

Holes are injected under the reader, so that each place is tried on every kernel, whatever its objects lie on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from unittest import mock

import drgn
import pytest

from damage import PAGE
from sockcrash.decode import decode
from sockcrash.decode.inheritance import OptionReader
from sockcrash.decode.owner import Owners
from sockcrash.kernel.sockets import kind_at
from sockcrash.kernel.view import kernel_of
from sockcrash.locate import all_sockets, in_namespace
from sockcrash.memory import faulty
from sockcrash.model import Absent, Reason
from sockcrash.render.json import record_object
from sockcrash.render.text import record_text
from test_inspect_damaged import LOST, differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Dump, Record
    from sockcrash.kernel.sockets import Kind
    from sockcrash.locate.address import Handle
    from sockcrash.model import SocketRecord

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

LINE = 64  # salvage reads pieces of that size
MINI = ("tcp", "tcp-timewait", "tcp-request")
AROUND = ("other_end", "netns_names", "netns_processes")


@dataclass
class Whole:
    """A dump that is opened, with nothing missing but what a test takes from it."""

    dump: Dump

    def __post_init__(self) -> None:
        self.kernel = kernel_of(self.dump.prog)
        self.said: list[str] = []
        self._owners = Owners(self.kernel, self.said.append, many=True)
        self._options = OptionReader(self.kernel, self.said.append)

    @cached_property
    def handles(self) -> list[Handle]:
        """Every socket, without the bytes that the walk has read of it."""
        found = [one._replace(content=None) for one in all_sockets(self.kernel, self.said.append)]
        for handle in found:  # everything around is looked for once, while it is all there
            self.record(handle)
        assert self.said == []
        return found

    def record(self, handle: Handle) -> SocketRecord:
        """One socket; that another one's record has spoken of it is forgotten."""
        self._owners._ends._met.clear()
        return decode(self.kernel, handle, self._owners, self._options)

    def cut(self, handle: Handle, border: int) -> SocketRecord | None:
        """The same with the page from ``border`` on missing; None where no walk would take it for a socket then."""
        self.said.clear()
        with mock.patch.object(self.kernel, "read", faulty(self.kernel.read, [(border, border + PAGE)])):
            among = (handle.kind.name,) if handle.kind.full else MINI
            try:
                kind = kind_at(self.kernel, handle.address, among)
            except drgn.FaultError:
                return None
            assert kind == handle.kind
            return self.record(handle)


@pytest.fixture(scope="module")
def whole(dump: Dump) -> Whole:
    return Whole(dump)


def size_of(whole: Whole, kind: Kind) -> int:
    try:
        return int(whole.dump.prog.type(kind.ctype).size)
    except LookupError:
        return int(whole.dump.prog.type("struct sock").size)


def borders(whole: Whole, handle: Handle) -> range:
    """Where a page may end inside of a socket: minis begin at multiples of 16, all others of a line of the cache."""
    step = LINE if handle.kind.full else 16
    first = handle.address // step * step + step
    return range(first, handle.address + size_of(whole, handle.kind), step)


def shape(record: SocketRecord) -> tuple[object, ...]:
    """Sockets that are alike in this are not tried one by one."""
    owners = record.owners if isinstance(record.owners, tuple) else ()
    return (
        record.kind,
        record.family,
        record.state,
        record.type,
        frozenset(owner.kind for owner in owners),
        type(record.gives_up),
        getattr(record.gives_up, "because", None),
        tuple(queue.name for queue in record.queues or () if queue.skbs),
        isinstance(record.other_end, tuple),
    )


def samples(whole: Whole) -> Iterator[tuple[Handle, SocketRecord]]:
    seen = set()
    for handle in whole.handles:
        record = whole.record(handle)
        if shape(record) not in seen:
            seen.add(shape(record))
            yield handle, record


def wrong_around(found: Record, expected: Record, said: list[str]) -> Iterator[str]:
    """What a record says otherwise of owners and other ends; owners may be short if that is complained of."""
    for key in AROUND:
        if found.get(key) != expected.get(key) and not found["absent"].get(key, "").startswith(LOST):
            yield f"{key}: {found.get(key)}, in the whole dump {expected.get(key)}"
    theirs = found["owners"]
    if theirs is None:
        if not found["absent"]["owners"].startswith(LOST):
            yield f"no owners: {found['absent']['owners']}"
    elif theirs != expected["owners"]:
        unknown = [{**one, "listener": None} for one in expected["owners"] if one["kind"] == "request"]
        short = all(one in expected["owners"] for one in theirs) and any("more owners" in one for one in said)
        if theirs != unknown and not short:
            yield f"owners: {theirs}, in the whole dump {expected['owners']}"


def test_wherever_a_page_ends(whole: Whole) -> None:
    """Every kind and state of socket, holder and queue that the scenario has, with every border inside of it."""
    wrong, tried = [], 0
    for handle, record in samples(whole):
        expected = record_object(record)
        for border in borders(whole, handle):
            found = whole.cut(handle, border)
            if found is None:
                continue
            tried += 1
            made: dict[str, Any] = record_object(found)
            said = [*differences([made], [expected]), *wrong_around(made, expected, whole.said)]
            wrong += [f"{made['kind']} cut at {border - handle.address}: {one}" for one in said]
    assert wrong[:10] == []
    assert tried > 1000


# What the text says where it has no word for the reason.
CLAIMS = re.compile(
    r"of a process|of the kernel|(not )?receiving|multipath|fallen back|(zero-)?copy mode|in flight   |"
    r"of the window left|all queues are empty|nobody|TCP_USER_TIMEOUT .*|mark \S+|cgroup \S+|Idle: .*"
)


def claims(record: SocketRecord) -> set[str]:
    """Those in what is said before the options."""
    text = record_text(record).split("\n  options")[0]
    return {one.group() for one in CLAIMS.finditer(text) if "(unreadable" not in one.group()}


def test_words_for_what_is_gone(whole: Whole) -> None:
    """No sentence that the whole dump does not have, where one of two words would do for 'no' and for 'unknown'."""
    wrong = []
    for handle, record in samples(whole):
        expected = claims(record)
        for border in borders(whole, handle):
            found = whole.cut(handle, border)
            if found is not None:
                more = claims(found) - expected
                wrong += [f"{record!r} cut at {border - handle.address}: {one}" for one in more]
    assert wrong[:10] == []


def test_the_namespace_of_what_is_cut(whole: Whole) -> None:
    """A selection by namespace takes what it can tell of, complains of the rest, and falls over nothing."""
    for handle, record in samples(whole):
        for border in borders(whole, handle):
            whole.said.clear()
            hole = faulty(whole.kernel.read, [(border, border + PAGE)])
            with mock.patch.object(whole.kernel, "read", hole):
                there = in_namespace(whole.kernel, handle, int(str(record.netns)), whole.said.append)
            assert there or any("can't be told" in one for one in whole.said)


def test_an_mptcp_peer_that_is_gone(whole: Whole) -> None:
    """One of its subflows has the same ends, and is not what is at the other end."""
    if not any(one.kind.name == "mptcp" for one in whole.handles):
        pytest.skip("this kernel has no MPTCP sockets")
    tried = 0
    for handle in whole.handles:
        other_end = whole.record(handle).other_end
        if handle.kind.name != "mptcp" or not isinstance(other_end, tuple) or other_end[0].kind != "mptcp":
            continue
        (other,) = other_end
        hole = faulty(whole.kernel.read, [(other.address, other.address + LINE)])
        said: list[str] = []
        with mock.patch.object(whole.kernel, "read", hole):
            found = decode(whole.kernel, handle, Owners(whole.kernel, said.append, many=True)).other_end
        assert isinstance(found, Absent)
        assert found.reason is Reason.UNREADABLE
        assert said
        tried += 1
    assert tried
