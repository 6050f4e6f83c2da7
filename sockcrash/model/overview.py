# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of a summary, how a machine stands as a whole: plain and frozen, as those of sockets are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sockcrash.model import Absent, Endpoint, Owner

__all__ = (
    "Counts",
    "KindSummary",
    "Load",
    "NamespaceSummary",
    "ProcessSummary",
    "ProtocolMemory",
    "Summary",
    "TopSocket",
)


@dataclass(frozen=True, slots=True)
class Load:
    """What some sockets add up to: how many they are, bytes in their queues, and memory.

    ``unread``: received and not read; ``unsent``: written and not acknowledged (of datagrams: not sent).
    """

    sockets: int
    unread: int
    unsent: int
    memory: int


@dataclass(frozen=True, slots=True)
class KindSummary:
    """The sockets of a kind: how many are in each state."""

    kind: str
    load: Load
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProcessSummary:
    """The sockets that a process has descriptors of."""

    pid: int
    comm: str
    load: Load


@dataclass(frozen=True, slots=True)
class ProtocolMemory:
    """Pages that the sockets of ``tcp`` or ``udp`` take, of all namespaces; ``limits``: low, pressure, high (tcp_mem).

    ``pressure``: the kernel takes it that memory is scarce. ``sockets``: how many are allocated, closed ones included.
    Both are None where the protocol has no such thing.
    """

    protocol: str
    pages: int
    limits: tuple[int, int, int]
    pressure: bool | None
    sockets: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What the kernel counts of a network namespace, as sockstat has it; ``initial``: it is that of the boot.

    ``used`` sockets of all families, ``inuse`` by protocol; fragments and their bytes. ``first_port`` and
    ``last_port``: what it chooses ports from (ip_local_port_range).
    """

    initial: bool
    used: int
    inuse: Mapping[str, int]
    time_wait: int
    max_time_wait: int
    fragments: tuple[int | Absent, int | Absent]
    fragments6: tuple[int | Absent, int | Absent]
    first_port: int
    last_port: int


@dataclass(frozen=True, slots=True)
class NamespaceSummary:
    """A network namespace: its names, processes, sockets; counts and counters of the kernel.

    ``ports``: how many local ports of the kernel's range are in use, by protocol. ``counters``: as /proc/net/snmp,
    netstat and snmp6, by group and name.
    """

    inode: int
    names: tuple[str, ...]
    processes: int | Absent
    load: Load
    states: Mapping[str, int]
    counts: Counts
    ports: Mapping[str, int]
    counters: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class TopSocket:
    """One of the sockets that have most of something."""

    value: int
    address: int
    kind: str
    local: Endpoint | Absent
    peer: Endpoint | Absent
    owners: tuple[Owner, ...] | Absent


@dataclass(frozen=True, slots=True)
class Summary:
    """How a machine stands. ``whole`` is False of a snapshot: sockets that it does not hold are not counted.

    ``holders``: how many sockets each kind of owner has. ``page_size``: bytes of the pages of ``memory``.
    ``top``: by memory, unread, unsent.
    """

    whole: bool
    load: Load
    kinds: tuple[KindSummary, ...]
    holders: Mapping[str, int]
    namespaces: tuple[NamespaceSummary, ...]
    processes: tuple[ProcessSummary, ...]
    memory: tuple[ProtocolMemory, ...]
    page_size: int
    orphans: int | Absent
    max_orphans: int | Absent
    top: Mapping[str, tuple[TopSocket, ...]]
