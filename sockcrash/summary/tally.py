# SPDX-License-Identifier: LGPL-2.1-or-later
"""What many sockets add up to: counted as they come, none of them kept but the largest."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from sockcrash.decode.want import Want
from sockcrash.model import Absent, Owner, SocketRecord
from sockcrash.model.overview import KindSummary, Load, ProcessSummary, TopSocket

__all__ = ("WANT", "Tally")

WANT = Want(
    frozenset(
        (
            *("sk_rmem_alloc", "wmem_alloc_bytes", "sk_wmem_queued", "sk_forward_alloc", "sk_omem_alloc"),
            *("sk_ack_backlog", "sk_max_ack_backlog", "receive_queue_bytes", "send_queue_bytes"),
        )
    ),
    frozenset({"owners"}),
)
_TOP = 10
# Kinds whose ends have ports of the range that the kernel chooses from.
_PROTOCOLS = {
    "tcp": "tcp",
    "tcp-timewait": "tcp",
    "tcp-request": "tcp",
    "mptcp": "tcp",
    "udp": "udp",
    "udplite": "udp",
}
_STATELESS = frozenset({"packet", "xdp", "other", "netlink"})
_MEASURES = ("memory", "unread", "unsent")
_UNKNOWN = Owner("unknown")


class _Sum:
    """A load in the making."""

    __slots__ = ("memory", "sockets", "unread", "unsent")

    def __init__(self) -> None:
        self.sockets = self.unread = self.unsent = self.memory = 0

    def add(self, measured: dict[str, int]) -> None:
        self.sockets += 1
        self.memory += measured["memory"]
        self.unread += measured["unread"]
        self.unsent += measured["unsent"]

    def load(self) -> Load:
        return Load(self.sockets, self.unread, self.unsent, self.memory)


@dataclass(slots=True)
class _OfNamespace:
    total: _Sum = field(default_factory=_Sum)
    states: Counter[str] = field(default_factory=Counter)
    ports: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


class Tally:
    """Counts records: ``add`` each, then ask."""

    def __init__(self) -> None:
        self._total = _Sum()
        self._kinds: dict[str, tuple[_Sum, Counter[str]]] = {}
        self._processes: dict[tuple[int, str], _Sum] = {}
        self._namespaces: dict[int, _OfNamespace] = {}
        self.holders: Counter[str] = Counter()
        # What could not be told of some sockets: of how many, and why of the first.
        self.untold: dict[str, tuple[int, Absent]] = {}
        self._top: dict[str, list[tuple[int, int, TopSocket]]] = {name: [] for name in _MEASURES}

    def add(self, record: SocketRecord) -> None:
        """Count one socket."""
        measured = self._measured(record)
        state = _state(record)
        self._total.add(measured)
        total, states = self._kinds.setdefault(record.kind, (_Sum(), Counter()))
        total.add(measured)
        states[state] += 1
        if isinstance(record.netns, int):
            self._in_namespace(
                self._namespaces.setdefault(record.netns, _OfNamespace()), record, state, measured
            )
        else:
            self._note("the namespace", record.netns)
        owners = record.owners
        if isinstance(owners, Absent):
            self._note("the owners", owners)
            owners = (_UNKNOWN,)
        for kind in {owner.kind for owner in owners} or {"nobody"}:
            self.holders[kind] += 1
        for process in {(o.pid, o.comm) for o in owners if o.kind == "fd" and o.pid is not None}:
            self._processes.setdefault(process, _Sum()).add(measured)  # type: ignore[arg-type]
        for name in _MEASURES:
            self._consider(name, measured[name], record)

    def _measured(self, record: SocketRecord) -> dict[str, int]:
        lost: list[Absent] = []
        measured = measure(record, lost)
        if lost:
            self._note("bytes in queues or memory", lost[0])
        return measured

    def _note(self, what: str, why: Absent) -> None:
        if why.lost:
            number, first = self.untold.get(what, (0, why))
            self.untold[what] = (number + 1, first)

    def _in_namespace(
        self, found: _OfNamespace, record: SocketRecord, state: str, measured: dict[str, int]
    ) -> None:
        found.total.add(measured)
        protocol = _PROTOCOLS.get(record.kind)
        if protocol is None:
            return
        if isinstance(record.local, Absent):
            self._note("the local port", record.local)
            return
        if record.kind.startswith("tcp"):
            found.states[state] += 1
        if record.local.port:
            found.ports[protocol].add(record.local.port)

    def _consider(self, name: str, value: int, record: SocketRecord) -> None:
        """Keep a socket if it is one of the largest so far."""
        heap = self._top[name]
        if not value or (len(heap) >= _TOP and value <= heap[0][0]):
            return
        one = TopSocket(value, record.address, record.kind, record.local, record.peer, record.owners)
        (heapq.heappush if len(heap) < _TOP else heapq.heapreplace)(heap, (value, record.address, one))

    def load(self) -> Load:
        """All sockets."""
        return self._total.load()

    def kinds(self) -> tuple[KindSummary, ...]:
        """By kind, most first."""
        made = [
            KindSummary(kind, total.load(), dict(states.most_common()))
            for kind, (total, states) in self._kinds.items()
        ]
        return tuple(sorted(made, key=lambda one: (-one.load.sockets, one.kind)))

    def processes(self) -> tuple[ProcessSummary, ...]:
        """By process, most sockets first."""
        made = [ProcessSummary(pid, comm, total.load()) for (pid, comm), total in self._processes.items()]
        return tuple(sorted(made, key=lambda one: (-one.load.sockets, one.pid)))

    def top(self) -> dict[str, tuple[TopSocket, ...]]:
        """The largest sockets by each measure."""
        return {
            name: tuple(one for *_, one in sorted(heap, key=lambda entry: entry[:2], reverse=True))
            for name, heap in self._top.items()
        }

    def of_namespace(
        self, inode: int, first_port: int, last_port: int
    ) -> tuple[Load, dict[str, int], dict[str, int]]:
        """The load of a namespace, its TCP sockets by state, and how many ports of a range are in use by protocol."""
        found = self._namespaces.get(inode, _OfNamespace())
        ports = {
            protocol: sum(first_port <= port <= last_port for port in found.ports[protocol])
            for protocol in ("tcp", "udp")
        }
        return found.total.load(), dict(found.states.most_common()), ports


def measure(record: SocketRecord, lost: list[Absent]) -> dict[str, int]:
    """Bytes unread and unsent, and the memory that is charged for buffers; 0 for what can't be told, see ``lost``.

    Of a listener nothing is queued: its Recv-Q counts connections; of a closed TCP socket nothing is left to send.
    """
    listening = record.state == "LISTEN"
    closed = record.kind == "tcp" and record.state == "CLOSE"

    def number(value: Any) -> int:
        if value.__class__ is Absent and value.lost:
            lost.append(value)
        return value if isinstance(value, int) else 0

    sock = record.sock
    memory = number(sock.get("sk_rmem_alloc")) + number(sock.get("sk_forward_alloc"))
    memory += max(number(sock.get("sk_wmem_queued")), number(sock.get("wmem_alloc_bytes")))
    memory += number(sock.get("sk_omem_alloc"))
    return {
        "memory": max(memory, 0),
        "unread": 0 if listening else number(record.recv_q),
        "unsent": 0 if listening or closed else number(record.send_q),
    }


def _state(record: SocketRecord) -> str:
    if record.kind in _STATELESS or isinstance(record.state, Absent):
        return ""
    return record.state
