# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the families other than TCP have to say on one screen: labelled lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Reason, Section, SocketRecord
from sockcrash.render.units import count, either, milliseconds, show, some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("family_lines",)

# include/uapi/linux/if_packet.h
_FANOUT = {0: "hash", 1: "lb", 2: "cpu", 3: "rollover", 4: "rnd", 5: "qm", 6: "cbpf", 7: "ebpf"}
_VERSIONS = {0: "TPACKET_V1", 1: "TPACKET_V2", 2: "TPACKET_V3"}
_SHUTDOWN = {1: "shut down for reading", 2: "shut down for writing", 3: "shut down both ways"}


def family_lines(record: SocketRecord) -> Iterator[tuple[str, str]]:
    """Label and text of each line about the socket's own section."""
    for name, section in record.sections().items():
        if name in _LINES:
            yield from _LINES[name](record, section)


def _there(value: Any) -> bool:
    return not (isinstance(value, Absent) and value.reason is Reason.NOT_APPLICABLE)


def _queues(section: Section, what: str = "") -> str:
    return f"receive {show(section['recv_q'])}, send {show(section['send_q'])} bytes of memory{what}"


def _udp(_record: SocketRecord, udp: Section) -> Iterator[tuple[str, str]]:
    reader = udp["reader_queue.qlen"]
    waiting = f", {count(reader, 'datagram')} in the reader's queue" if some(reader) else ""
    yield "queues", _queues(udp, waiting)
    if udp["corked"] == 1 or udp["pending"]:
        yield "corked", f"{count(udp['len'], 'byte')} wait to become a datagram"


def _raw(_record: SocketRecord, raw: Section) -> Iterator[tuple[str, str]]:
    yield "queues", _queues(raw)


def _unix(record: SocketRecord, unix: Section) -> Iterator[tuple[str, str]]:
    if record.state == "LISTEN":
        pending = unix["pending_inodes"]
        inodes = show(pending) if isinstance(pending, Absent) else ", ".join(map(str, pending))
        who = f": clients with inode {inodes}" if some(pending) else ""
        yield (
            "queues",
            f"{show(unix['recv_q'])} of {show(unix['send_q'])} connections wait to be accepted{who}",
        )
    else:
        yield (
            "queues",
            f"unread {count(unix['recv_q'], 'byte')}, sent and unread {show(unix['send_q'])} bytes of memory",
        )
    if _there(unix["peer"]):
        yield "peer", _hex(unix["peer"])
    if _there(unix["path_inode"]):
        yield "file", f"inode {show(unix['path_inode'])} on device {_device(unix['path_device'])}"
    if some(unix["scm_stat.nr_fds"]):
        yield "in flight", f"{count(unix['scm_stat.nr_fds'], 'descriptor')} in its messages"
    closed = _SHUTDOWN.get(record.sock["sk_shutdown"]) if record.sock else None
    if closed:
        yield "closed", closed


def _device(number: int | Absent) -> str:
    """A kernel's dev_t as ``major:minor``."""
    return show(number) if isinstance(number, Absent) else f"{number >> 20}:{number & 0xFFFFF}"


def _netlink(record: SocketRecord, netlink: Section) -> Iterator[tuple[str, str]]:
    yield (
        "netlink",
        f"{show(record.protocol)}, {either(netlink['kernel_socket'], 'of the kernel', 'of a process')}",
    )
    yield "queues", _queues(netlink, ", congested" if netlink["congested"] else "")
    groups = netlink["memberships"]
    if some(groups):
        yield "groups", show(groups) if isinstance(groups, Absent) else ", ".join(map(str, groups))


def _packet(_record: SocketRecord, packet: Section) -> Iterator[tuple[str, str]]:
    yield (
        "packet",
        (
            f"{either(packet['running'], 'receiving', 'not receiving')},"
            f" {_VERSIONS.get(packet['tp_version'], '?')}"
        ),
    )
    yield "queues", _queues(packet)
    yield (
        "statistics",
        f"{count(packet['stats.tp_packets'], 'packet')}, dropped {show(packet['stats.tp_drops'])}",
    )
    if _there(packet["fanout.id"]):
        kind = _FANOUT.get(packet["fanout.type"], show(packet["fanout.type"]))
        members = count(packet["fanout.num_members"], "member")
        yield "fan-out", f"group {show(packet['fanout.id'])} by {kind}, {members}"
    for name in ("rx_ring", "tx_ring"):
        if _there(packet[f"{name}.block_nr"]):
            yield (
                name,
                (
                    f"{show(packet[f'{name}.block_nr'])} blocks of {show(packet[f'{name}.block_size'])} bytes,"
                    f" {show(packet[f'{name}.frame_nr'])} frames of {show(packet[f'{name}.frame_size'])}"
                ),
            )


def _vsock(_record: SocketRecord, vsock: Section) -> Iterator[tuple[str, str]]:
    yield (
        "buffer",
        (
            f"{count(vsock['buffer_size'], 'byte')} (minimum {show(vsock['buffer_min_size'])},"
            f" maximum {show(vsock['buffer_max_size'])}), connect time-out {milliseconds(vsock['connect_timeout_ms'])}"
        ),
    )
    closed = _SHUTDOWN.get(vsock["peer_shutdown"])
    if closed:
        yield "peer", closed


def _xdp(_record: SocketRecord, xdp: Section) -> Iterator[tuple[str, str]]:
    yield "xdp", f"{show(xdp['state_name'])}, {either(xdp['zc'], 'zero-copy', 'copy')} mode"
    rings = (
        ("receive", "rx.nentries"),
        ("send", "tx.nentries"),
        ("fill", "fq.nentries"),
        ("completion", "cq.nentries"),
    )
    yield "rings", ", ".join(f"{label} {show(xdp[name])}" for label, name in rings)
    if _there(xdp["umem.id"]):
        yield (
            "umem",
            (
                f"{show(xdp['umem.id'])}: {count(xdp['umem.size'], 'byte')}"
                f" in chunks of {show(xdp['umem.chunk_size'])},"
                f" headroom {show(xdp['umem.headroom'])}, used by {count(xdp['umem.users'], 'socket')}"
            ),
        )
    yield "losses", f"dropped {show(xdp['rx_dropped'])}, ring full {show(xdp['rx_queue_full'])}"


def _mptcp(record: SocketRecord, mptcp: Section) -> Iterator[tuple[str, str]]:
    if record.state == "LISTEN":
        yield "queues", f"accept queue {show(mptcp['recv_q'])} of {show(mptcp['send_q'])}"
    else:
        mode = either(mptcp["fallback"], "fallen back to plain TCP", "multipath")
        yield "mptcp", f"{mode}, token {_hex(mptcp['token'])}, congestion {show(mptcp['congestion'])}"
        yield "queues", _queues(mptcp)
        yield (
            "sequence",
            "  ".join(
                f"{name} {show(mptcp[name])}" for name in ("snd_una", "snd_nxt", "write_seq", "ack_seq")
            ),
        )
    flows = mptcp["subflows"]
    yield "subflows", show(flows) if isinstance(flows, Absent) else ", ".join(map(hex, flows)) or "none"


def _hex(value: int | Absent) -> str:
    return show(value) if isinstance(value, Absent) else f"{value:#x}"


_LINES: dict[str, Callable[[SocketRecord, Section], Iterator[tuple[str, str]]]] = {
    "udp": _udp,
    "raw": _raw,
    "unix": _unix,
    "netlink": _netlink,
    "packet": _packet,
    "vsock": _vsock,
    "xdp": _xdp,
    "mptcp": _mptcp,
}
