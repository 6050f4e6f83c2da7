# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine on one screen: sockets, memory against its limits, namespaces, counters, and the largest."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent
from sockcrash.model.netns import short_name
from sockcrash.render.escape import printable
from sockcrash.render.holders import holder_word
from sockcrash.render.units import count, end, show, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sockcrash.model.overview import (
        Load,
        NamespaceSummary,
        ProcessSummary,
        ProtocolMemory,
        Summary,
        TopSocket,
    )

__all__ = ("summary_text",)

_MOST_NAMESPACES = 8
_HOLDERS = {"fd": "descriptors", "kernel": "the kernel", "nobody": "nobody known", "unknown": "can't be told"}
# What a person looks for first, each line in the order of the way of a packet: label, counters (group.name: word).
_COUNTERS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("connections", (
        ("Tcp.ActiveOpens", "opened"), ("Tcp.PassiveOpens", "accepted"), ("Tcp.AttemptFails", "failed"),
        ("Tcp.EstabResets", "reset"), ("Tcp.OutRsts", "resets sent"))),
    ("segments", (("Tcp.InSegs", "in"), ("Tcp.OutSegs", "out"), ("Tcp.RetransSegs", "again"), ("Tcp.InErrs", "bad"))),
    ("loss", (
        ("TcpExt.TCPTimeouts", "time-outs"), ("TcpExt.TCPSynRetrans", "SYNs again"), ("TcpExt.TCPLossProbes", "probes"),
        ("TcpExt.TCPFastRetrans", "fast"), ("TcpExt.TCPSpuriousRTOs", "spurious"))),
    ("listeners", (
        ("TcpExt.ListenOverflows", "overflows"), ("TcpExt.ListenDrops", "drops"),
        ("TcpExt.TCPReqQFullDrop", "SYN queue full"), ("TcpExt.SyncookiesSent", "SYN cookies"))),
    ("short of memory", (
        ("TcpExt.TCPMemoryPressures", "pressure"), ("TcpExt.PruneCalled", "pruned"),
        ("TcpExt.OfoPruned", "holes pruned"),
        ("TcpExt.TCPRcvQDrop", "queue drops"), ("TcpExt.TCPBacklogDrop", "backlog drops"))),
    ("aborted", (
        ("TcpExt.TCPAbortOnTimeout", "timed out"), ("TcpExt.TCPAbortOnMemory", "no memory"),
        ("TcpExt.TCPAbortOnData", "data after close"), ("TcpExt.TCPAbortOnClose", "closed unread"))),
    ("UDP", (
        ("Udp.InDatagrams", "in"), ("Udp.OutDatagrams", "out"), ("Udp.NoPorts", "no such port"),
        ("Udp.RcvbufErrors", "receive buffer full"), ("Udp.SndbufErrors", "send buffer full"))),
)  # fmt: skip


def summary_text(summary: Summary, target: Mapping[str, Any], most: int) -> Iterator[str]:
    """Lines; of each list the ``most`` largest."""
    taken = f", taken {target['taken']}" if target["taken"] else ""
    yield f"{target['release']} ({target['source']}{taken})"
    if not summary.whole:
        yield "Of a snapshot: sockets that it does not hold are not counted here."
    yield _line("sockets", _sockets(summary))
    for kind in summary.kinds:
        if kind.kind == "tcp":
            yield _line("TCP", _counted(kind.states))
    yield _line("held by", _counted({_HOLDERS.get(kind, kind): n for kind, n in summary.holders.items()}))
    yield _line("queued", f"{size(summary.load.unread)} unread, {size(summary.load.unsent)} unsent, in"
                f" {size(summary.load.memory)} of buffers")  # fmt: skip
    for number, memory in enumerate(summary.memory):
        yield _line("" if number else "memory", _memory(memory, summary.page_size))
    yield _line("orphans", f"{show(summary.orphans)} of {show(summary.max_orphans)}")
    yield ""
    yield from _namespaces(summary.namespaces)
    yield ""
    yield from _counters(summary.namespaces)
    if summary.processes:
        yield ""
        yield from _processes(summary.processes, most)
    for title, name in (("most memory", "memory"), ("most unread", "unread"), ("most unsent", "unsent")):
        if summary.top[name]:
            yield ""
            yield from _top(title, summary.top[name][:most])


def _line(label: str, text: str) -> str:
    return f"{label:<12}{text}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(name)} {number}" for name, number in counts.items()) or "none"


def _sockets(summary: Summary) -> str:
    kinds = _counted({kind.kind: kind.load.sockets for kind in summary.kinds})
    return f"{summary.load.sockets}: {kinds}"


def _memory(memory: ProtocolMemory, page: int) -> str:
    _, pressure, high = memory.limits
    state = "" if memory.pressure is None else ", UNDER PRESSURE" if memory.pressure else ", no pressure"
    sockets = "" if memory.sockets is None else f", {memory.sockets} sockets allocated"
    share = f" ({100 * memory.pages // high} %)" if high > 0 else ""
    return (
        f"{memory.protocol.upper()} {memory.pages} pages = {size(memory.pages * page)} of {high}{share},"
        f" pressure from {pressure}{state}{sockets}"
    )


def _namespaces(namespaces: Sequence[NamespaceSummary]) -> Iterator[str]:
    layout = "{:<11} {:<15} {:>9} {:>8} {:>7} {:>13} {:>13} {:>12}".format
    yield layout("namespace", "name", "processes", "sockets", "TCP", "TIME_WAIT", "TCP ports", "UDP ports")
    for one in namespaces[:_MOST_NAMESPACES]:
        ports = one.counts.last_port - one.counts.first_port + 1
        yield layout(
            one.inode,
            printable(_name(one)),
            "?" if isinstance(one.processes, Absent) else one.processes,
            one.load.sockets,
            sum(one.states.values()),
            f"{one.counts.time_wait}/{one.counts.max_time_wait}",
            f"{one.ports['tcp']}/{ports}",
            f"{one.ports['udp']}/{ports}",
        ).rstrip()
    left = len(namespaces) - _MOST_NAMESPACES
    if left > 0:
        yield f"and {count(left, 'namespace')} with fewer sockets (--json has them all)"


def _name(namespace: NamespaceSummary) -> str:
    if namespace.names:
        return short_name(namespace.names[0])
    return "(initial)" if namespace.counts.initial else "-"


def _counters(namespaces: Iterable[NamespaceSummary]) -> Iterator[str]:
    """Of all namespaces together."""
    total: Counter[str] = Counter()
    for one in namespaces:
        for group, counters in one.counters.items():
            total.update({f"{group}.{name}": value for name, value in counters.items()})
    for label, names in _COUNTERS:
        known = [f"{word} {total[name]}" for name, word in names if name in total]
        if known:
            yield f"{label:<16}{', '.join(known)}"


def _processes(processes: Sequence[ProcessSummary], most: int) -> Iterator[str]:
    layout = "{:<24} {:>8} {:>9} {:>9} {:>9}".format
    yield layout("process", "sockets", "unread", "unsent", "memory")
    for one in processes[:most]:
        yield layout(f"{printable(one.comm)}({one.pid})", *_loads(one.load))


def _loads(load: Load) -> tuple[Any, ...]:
    return load.sockets, size(load.unread), size(load.unsent), size(load.memory)


def _top(title: str, sockets: Iterable[TopSocket]) -> Iterator[str]:
    yield title
    for one in sockets:
        holders = () if isinstance(one.owners, Absent) else one.owners[:2]
        held = " ".join(map(holder_word, holders)) or "-"
        ends = end(one.local) + ("" if isinstance(one.peer, Absent) else f" -> {end(one.peer)}")
        yield f"{size(one.value):>9}  {one.address:#x}  {one.kind:<8} {ends}  {held}"
