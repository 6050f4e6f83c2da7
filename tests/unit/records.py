# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records written by hand, for what works on records alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode.tcp import COMPUTED_NAMES
from sockcrash.kernel.fields import SOCK
from sockcrash.kernel.fields_tcp import REQUEST, TCP, TIMEWAIT
from sockcrash.model import Absent, Endpoint, Owner, Reason, Section, SocketRecord, Timer

if TYPE_CHECKING:
    from sockcrash.kernel.layout import Group

NOT_IN_KERNEL = Absent(Reason.NOT_IN_KERNEL)
UNREADABLE = Absent(Reason.UNREADABLE, "0xffff888000001000")
STOPPED = Absent(Reason.NOT_APPLICABLE, "not running")
MINI = Absent(Reason.NOT_APPLICABLE, "a mini socket has none")
ADDRESS = 0xFF1DEEA4829E1B00


def names_of(group: Group) -> tuple[str, ...]:
    """Every name of a section made of a group's rows."""
    return tuple(name for field in group.fields for name in (field.name, *(c.name for c in field.converts)))


SOCK_NAMES = (*names_of(SOCK), "drops")
TCP_NAMES = (*names_of(TCP), *COMPUTED_NAMES)


def section(names: tuple[str, ...], **values: Any) -> Section:
    """A section of zeroes with some values; ``__`` in a keyword stands for a dot."""
    given = {name.replace("__", "."): value for name, value in values.items()}
    assert set(given) <= set(names), set(given) - set(names)
    return Section(
        {name: number for number, name in enumerate(names)}, tuple(given.get(name, 0) for name in names)
    )


def sock_section(**values: Any) -> Section:
    """A struct sock's section."""
    return section(SOCK_NAMES, **values)


def tcp_section(**values: Any) -> Section:
    """A tcp_sock's section: an idle connection unless something else is said."""
    idle: dict[str, Any] = {
        "congestion": "cubic",
        "congestion_ops": b"cubic",
        "ca_state": "Open",
        **dict.fromkeys(("chrono_stat", "received_ecn_bytes", "delivered_ecn_bytes"), (0, 0, 0)),
        "negotiated": ["ts", "sack", "wscale"],
        "ulp": Absent(Reason.NOT_APPLICABLE, "NULL pointer"),
        "ulp_ops": Absent(Reason.NOT_APPLICABLE, "NULL pointer"),
        "snd_wnd": 65536,
        "receive_window_bytes": 65536,
    }
    return section(TCP_NAMES, **{**idle, **values})


def timer(name: str, left: int | None = None) -> Timer:
    """A timer that fires in ``left`` ms; None: that does not run."""
    return Timer(name, left is not None, STOPPED if left is None else left)


def tcp_record(**changes: Any) -> SocketRecord:
    """An established connection between 127.0.0.1:41000 and 127.0.0.1:80, held by one process."""
    values: dict[str, Any] = {
        "address": ADDRESS,
        "kind": "tcp",
        "how": "ino:11138",
        "family": "AF_INET",
        "type": "SOCK_STREAM",
        "protocol": "IPPROTO_TCP",
        "state": "ESTABLISHED",
        "local": Endpoint(address="127.0.0.1", port=41000),
        "peer": Endpoint(address="127.0.0.1", port=80),
        "inode": 11138,
        "cookie": 0x1001,
        "netns": 4026531840,
        "uid": 33,
        "cgroup": "/system.slice",
        "ifindex": 0,
        "device": Absent(Reason.NOT_APPLICABLE, "not bound to a device"),
        "mark": 0,
        "v6only": Absent(Reason.NOT_APPLICABLE, "no IPv6 socket"),
        "owners": (Owner("fd", 132, "nginx", 3),),
        "sock": sock_section(sk_rcvbuf=131072, sk_sndbuf=16384),
        "tcp": tcp_section(),
        "timers": (timer("retransmit"), timer("keepalive")),
    }
    return SocketRecord(**{**values, **changes})


def timewait_record(**changes: Any) -> SocketRecord:
    """A TIME_WAIT object."""
    return tcp_record(
        **{
            "kind": "tcp-timewait",
            "state": "TIME_WAIT",
            **dict.fromkeys(("inode", "uid", "cgroup"), MINI),
            "owners": (Owner("timewait"),),
            "sock": Section({}, ()),
            "tcp": Section({}, ()),
            "minisock": section(names_of(TIMEWAIT), tw_snd_nxt=7, tw_entry_stamp=NOT_IN_KERNEL),
            "timers": (timer("time-wait", 56_000),),
            **changes,
        }
    )


def request_record(**changes: Any) -> SocketRecord:
    """A NEW_SYN_RECV object of a listener."""
    return timewait_record(
        **{
            "kind": "tcp-request",
            "state": "NEW_SYN_RECV",
            "owners": (Owner("request", listener=0xFFFF888012345678),),
            "minisock": section(names_of(REQUEST), num_retrans=1, num_timeout=2, mss=1460),
            "timers": (timer("syn-ack", 3_000),),
            **changes,
        }
    )
