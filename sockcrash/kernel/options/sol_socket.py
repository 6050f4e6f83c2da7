# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level SOL_SOCKET that are settings of the socket (net/core/sock.c, sk_setsockopt and sk_getsockopt)."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from sockcrash.kernel import uapi
from sockcrash.kernel.devices import device_name
from sockcrash.kernel.layout import Field, Place
from sockcrash.kernel.options import settings
from sockcrash.kernel.options.codecs import (
    BYTES,
    COUNT,
    INT,
    MICROSECONDS,
    RATE,
    SWITCH,
    Codec,
    choice,
    flag_names,
    flags,
    record,
    with_text,
)
from sockcrash.kernel.options.origins import DEFAULT, KERNEL, SET, captured, differs, marked, unless
from sockcrash.kernel.options.row import (
    EVERY_KIND,
    INET_KINDS,
    SET_ONLY,
    Default,
    Option,
    absent,
    bit,
    field,
    nonzero,
)
from sockcrash.kernel.options.timeouts import INFINITE, TIMEVAL, timeval, timeval_text
from sockcrash.model import Absent

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

UNLIMITED = (1 << 64) - 1
_UNIX = ("unix",)
_PASSING = ("unix", "netlink")
_STREAMS = ("tcp", "mptcp")
_OTHERS = tuple(kind for kind in EVERY_KIND if kind not in _STREAMS)
_BY_BIND = ("raw", "ping")  # INET_PROTOSW_REUSE


def _sock(*paths: str | Place, name: str = "") -> Field:
    return field("sock", *paths, name=name)


def _flag(name: str) -> Field:
    """A bit of sk_flags, by its name in enum sock_flags."""
    return bit("sock", "__sk_common.skc_flags", name)


def _row(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("SOL_SOCKET", name, number, codec, fields, **more)


def _switch(name: str, number: int, *fields: Field, **more: Any) -> Option:
    return _row(name, number, SWITCH, *fields, default=more.pop("default", 0), **more)


# SO_SNDBUF and SO_RCVBUF: the kernel doubles what was asked for, between a minimum and net.core.?mem_max.
_LOCKS = _sock("sk_userlocks")
# 04190bf8944d (v5.15) brought SO_BUF_LOCK; this member came one release later.
_RESERVED = _sock("sk_reserved_mem")
_SNDBUF_LOCK, _RCVBUF_LOCK = 1, 2
_SNDBUF_MIN, _RCVBUF_MIN = 4608, 2304


def _asked_for(lock: int, minimum: int, limit: settings.Setting, source: settings.Setting) -> Any:
    def text(context: Context, value: int, _member: int, locks: int, *_: Any) -> str:
        words = BYTES.text(value)
        if not locks & lock:
            return words
        if value == context.setting(source):
            return f"{words} (locked)"
        if value == minimum:
            return f"{words} (asked for {value // 2} or less)"
        maximum = context.setting(limit)
        more = " or more" if isinstance(maximum, int) and value == 2 * maximum else ""
        return f"{words} (asked for {value // 2}{more})"

    return text


def _buffer_origin(lock: int, otherwise: str | None) -> Any:
    """The lock is a mark of setting the size; where there is SO_BUF_LOCK (v5.15), not if the size is the default."""

    def rule(
        _context: Context, value: int, default: int, _member: int, locks: int, reserved: Any
    ) -> str | None:
        if locks & lock:
            return SET if value != default or isinstance(reserved, Absent) else None
        return DEFAULT if value == default else otherwise

    return rule


def _buffer(name: str, number: int, member: str, lock: int, minimum: int) -> tuple[Option, ...]:
    send = number == 7
    limit = settings.WMEM_MAX if send else settings.RMEM_MAX
    tcp, others = (
        (settings.TCP_WMEM, settings.WMEM_DEFAULT) if send else (settings.TCP_RMEM, settings.RMEM_DEFAULT)
    )
    return tuple(
        _row(
            name, number, BYTES, _sock(member), marks=(_LOCKS, _RESERVED), kinds=kinds,
            text=_asked_for(lock, minimum, limit, source), origin=_buffer_origin(lock, otherwise),
            default=Default(lambda context, *_, source=source: context.setting(source), source),
        )
        for kinds, source, otherwise in ((_STREAMS, tcp, KERNEL), (_OTHERS, others, None))
    )  # fmt: skip


# SO_PRIORITY: IP_TOS writes it too (__ip_sock_set_tos), by ip_tos2prio of net/ipv4/route.c.
_TOS_TO_PRIORITY = (0, 0, 0, 0, 2, 2, 2, 2, 6, 6, 6, 6, 4, 4, 4, 4)


def _from_tos(_context: Context, value: int, _member: int, tos: int) -> bool:
    return value == _TOS_TO_PRIORITY[(tos & 0x1E) >> 1]


def _priority_text(context: Context, value: int, member: int, tos: int) -> str:
    return f"{value} (as IP_TOS makes it)" if value and _from_tos(context, value, member, tos) else str(value)


def _timeout(name: str, number: int, member: str) -> Option:
    return _row(
        name, number, TIMEVAL, _sock(member), value=timeval, text=timeval_text, default={"sec": 0, "usec": 0},
        origin=marked(0, holds=lambda jiffies: jiffies != INFINITE),
    )  # fmt: skip


def _device(context: Context, ifindex: int) -> Any:
    return device_name(context.kernel, context.net, ifindex) if ifindex else ""


def _device_text(context: Context, value: int, *_: Any) -> str:
    return f"{value} ({device_name(context.kernel, context.net, value)})" if value else "none"


def _perhaps_not_bound_by_option(context: Context, *_: Any) -> bool:
    """An accepted socket has its listener's device or the SYN's; connect(2) and bind(2) to link-local set it."""
    return context.accepted or context.family == uapi.AF_INET6


# SO_INCOMING_CPU: sk_incoming_cpu_update() writes it with every packet of a connection, sk_clone() in accepted sockets.
_NO_CPU = -1


def _cpu_of_tcp(_context: Context, value: int, default: int, _cpu: int, began: bool) -> str:
    """Sequence numbers start with the first connection, and stay; a listener has none."""
    return DEFAULT if value == default else KERNEL if began else SET


def _cpu_of_udp(_context: Context, value: int, default: int, _cpu: int, joined: bool) -> str | None:
    return DEFAULT if value == default else KERNEL if joined else None


def _incoming_cpu() -> tuple[Option, ...]:
    cpu = _sock("__sk_common.skc_incoming_cpu")
    codec = with_text(INT, lambda value: "none" if value == _NO_CPU else str(value))
    rules: tuple[tuple[tuple[str, ...], tuple[Field, ...], Any], ...] = (
        (("tcp",), (nonzero("tcp_sock", "write_seq"),), _cpu_of_tcp),
        (("udp", "udplite"), (nonzero("sock", "__sk_common.skc_dport"),), _cpu_of_udp),
        (("mptcp",), (), unless(lambda context, *_: context.accepted, KERNEL)),
        (tuple(kind for kind in EVERY_KIND if kind not in ("tcp", "udp", "udplite", "mptcp")), (), differs),
    )
    return tuple(
        _row(
            "SO_INCOMING_CPU",
            49,
            codec,
            cpu,
            marks=marks,
            default=_NO_CPU,
            origin=origin,
            kinds=kinds,
            inherited=False,
        )
        for kinds, marks, origin in rules
    )


def _buf_lock_origin(
    context: Context, value: int, default: int, _locks: int, sndbuf: int, rcvbuf: int
) -> str | None:
    """Setting a size locks it too: a lock that a size off the default explains is none of its own."""
    if value == default:
        return DEFAULT
    streams = context.kind in _STREAMS
    send, receive = (
        (settings.TCP_WMEM, settings.TCP_RMEM) if streams else (settings.WMEM_DEFAULT, settings.RMEM_DEFAULT)
    )
    sizes = ((_SNDBUF_LOCK, sndbuf, send), (_RCVBUF_LOCK, rcvbuf, receive))
    locked = [(size, context.setting(setting)) for lock, size, setting in sizes if value & lock]
    explained = all(isinstance(usual, int) and size != usual for size, usual in locked)
    return KERNEL if explained else None


_TXTIME_FLAGS = {1: "SOF_TXTIME_DEADLINE_MODE", 2: "SOF_TXTIME_REPORT_ERRORS"}
_CLOCKS = {0: "CLOCK_REALTIME", 1: "CLOCK_MONOTONIC", 11: "CLOCK_TAI"}
_TXTIME = record(
    "iI",
    ("clockid", "flags"),
    lambda value: (
        f"{_CLOCKS.get(value['clockid'], value['clockid'])} {flag_names(_TXTIME_FLAGS, value['flags'])}"
    ),
)


def _linger(context: Context, on: int, jiffies: int) -> dict[str, int]:
    """A negative time is without end on later kernels; getsockopt copies out the lower half of its seconds then."""
    seconds = jiffies // context.clock.hz
    if jiffies == INFINITE:
        seconds = ctypes.c_int(seconds).value
    return {"onoff": on, "linger": seconds}


def _linger_text(value: dict[str, int]) -> str:
    return f"on, {value['linger']} s" if value["onoff"] else "off"


def _lingers(_context: Context, value: dict[str, int], _on: int, jiffies: int) -> str:
    return "on, without end" if value["onoff"] and jiffies == INFINITE else _linger_text(value)


_IN_SOCKET = "sk_socket->flags"  # struct socket.flags, bits SOCK_PASSCRED 3, SOCK_PASSSEC 4, SOCK_PASSPIDFD 7
_SCM = {name: _sock(f"sk_scm_{name}") for name in ("credentials", "security", "pidfd", "rights")}


def _passing(name: str, number: int, member: str, flag: int) -> tuple[Option, ...]:
    """SO_PASSCRED and SO_PASSSEC: a bit of struct socket for every family, since v6.16 of struct sock for a few."""
    moved = Place(_IN_SOCKET, bit=flag)
    older = Field(f"{name} in socket", "struct sock", (moved,))
    # Where the new member exists, sockets that can't receive SCM_CREDENTIALS answer EOPNOTSUPP.
    return (
        _switch(name, number, Field(f"sk_scm_{member}", "struct sock", (Place(f"sk_scm_{member}"), moved)),
            kinds=_PASSING),
        _switch(
            name, number, older, _SCM[member], lenient=True, value=_only_without_scm,
            kinds=tuple(kind for kind in EVERY_KIND if kind not in _PASSING),
        ),
    )  # fmt: skip


_NO_SCM = absent("EOPNOTSUPP: these sockets can't receive control messages of that kind")


def _only_without_scm(_context: Context, old: Any, new: Any) -> Any:
    return _NO_SCM if isinstance(new, int) else old


# SO_PASSPIDFD: 5e2ff6704a27 (v6.5) for every family; the first member that came later tells whether it is there.
_PASSPIDFD = (
    _switch(
        "SO_PASSPIDFD", 76, Field("sk_scm_pidfd", "struct sock", (Place("sk_scm_pidfd"), Place(_IN_SOCKET, bit=7))),
        kinds=_UNIX, given=(field("inet_sock", "inet_flags"),),
    ),
    _switch(
        "SO_PASSPIDFD", 76, Field("SO_PASSPIDFD in socket", "struct sock", (Place(_IN_SOCKET, bit=7),)),
        _SCM["pidfd"],
        lenient=True, value=_only_without_scm, kinds=tuple(kind for kind in EVERY_KIND if kind not in _UNIX),
        given=(field("inet_sock", "inet_flags"),),
    ),
)  # fmt: skip


def _txrehash_of_others(_context: Context, value: Any, shared_byte: Any) -> Any:
    """Since v6.16 the byte is sk_scm_* for sockets that are not TCP, and the option EOPNOTSUPP."""
    return absent("EOPNOTSUPP: for TCP only") if isinstance(shared_byte, int) else value


ROWS = (
    _switch("SO_DEBUG", 1, _flag("SOCK_DBG")),
    *(
        _row(
            "SO_REUSEADDR", 2, choice({0: "off", 1: "on", 2: "forced by TCP_REPAIR"}), _sock("__sk_common.skc_reuse"),
            default=default, kinds=kinds, origin=unless(lambda _context, value, *_: value == 2, KERNEL),
        )
        for default, kinds in ((1, _BY_BIND), (0, tuple(kind for kind in EVERY_KIND if kind not in _BY_BIND)))
    ),
    _switch("SO_DONTROUTE", 5, _flag("SOCK_LOCALROUTE")),
    _switch("SO_BROADCAST", 6, _flag("SOCK_BROADCAST")),
    *_buffer("SO_SNDBUF", 7, "sk_sndbuf", _SNDBUF_LOCK, _SNDBUF_MIN),
    *_buffer("SO_RCVBUF", 8, "sk_rcvbuf", _RCVBUF_LOCK, _RCVBUF_MIN),
    _switch("SO_KEEPALIVE", 9, _flag("SOCK_KEEPOPEN")),
    _switch("SO_OOBINLINE", 10, _flag("SOCK_URGINLINE")),
    _switch("SO_NO_CHECK", 11, _sock("sk_no_check_tx")),
    _row(
        "SO_PRIORITY", 12, INT, _sock("sk_priority"), marks=(field("inet_sock", "tos"),), default=0,
        origin=unless(_from_tos, None), text=_priority_text, inherited=False, kinds=(*INET_KINDS, "mptcp"),
    ),
    _row("SO_PRIORITY", 12, INT, _sock("sk_priority"), default=0, kinds=("unix", "packet", "netlink", "vsock",
        "xdp", "other")),
    _row(
        "SO_LINGER", 13, record("ii", ("onoff", "linger"), _linger_text), _flag("SOCK_LINGER"),
        _sock("sk_lingertime"),
        value=_linger, text=_lingers, default={"onoff": 0, "linger": 0},
    ),
    _row("SO_BSDCOMPAT", 14, SWITCH, value=lambda _context: 0, default=0, origin=lambda *_: DEFAULT),
    _switch("SO_REUSEPORT", 15, _sock("__sk_common.skc_reuseport")),
    *_passing("SO_PASSCRED", 16, "credentials", 3),
    _row("SO_RCVLOWAT", 18, BYTES, _sock("sk_rcvlowat"), default=1, origin=unless(lambda _c, value, *_: value == 0,
        KERNEL)),
    _row("SO_SNDLOWAT", 19, BYTES, value=lambda _context: 1, default=1, origin=lambda *_: DEFAULT),
    _timeout("SO_RCVTIMEO_OLD", 20, "sk_rcvtimeo"),
    _timeout("SO_SNDTIMEO_OLD", 21, "sk_sndtimeo"),
    _row(
        "SO_BINDTODEVICE", 25, Codec("string", lambda name, _order: name.encode() + b"\0" if name else b"",
            lambda name: name or "none"),
        _sock("__sk_common.skc_bound_dev_if"), value=_device, default="",
        origin=unless(_perhaps_not_bound_by_option, None), fresh=True,
    ),
    *_passing("SO_PASSSEC", 34, "security", 4),
    _row("SO_MARK", 36, INT, _sock("sk_mark"), default=0, origin=unless(lambda context, *_: context.accepted, None)),
    _switch("SO_RXQ_OVFL", 40, _flag("SOCK_RXQ_OVFL")),
    _switch("SO_WIFI_STATUS", 41, _flag("SOCK_WIFI_STATUS")),
    _row(
        "SO_PEEK_OFF", 42, with_text(INT, lambda value: "off" if value == -1 else str(value)), _sock("sk_peek_off"),
        Field("set_peek_off", "struct sock", (Place("sk_socket->ops->set_peek_off"),), shared=True), default=-1,
        value=lambda _context, offset,
        supported: offset if supported else absent("EOPNOTSUPP: this protocol has no such thing"),
    ),
    _switch("SO_NOFCS", 43, _flag("SOCK_NOFCS")),
    _switch("SO_LOCK_FILTER", 44, _flag("SOCK_FILTER_LOCKED")),
    _switch("SO_SELECT_ERR_QUEUE", 45, _flag("SOCK_SELECT_ERR_QUEUE")),
    _row(
        "SO_BUSY_POLL", 46, MICROSECONDS, _sock("sk_ll_usec"), origin=captured,
        default=Default(lambda context, *_: context.setting(settings.BUSY_READ), settings.BUSY_READ),
    ),
    _row(
        "SO_MAX_PACING_RATE", 47, with_text(RATE,
            lambda value: "unlimited" if value == UNLIMITED else RATE.text(value)),
        _sock("sk_max_pacing_rate"), default=UNLIMITED,
    ),
    *_incoming_cpu(),
    _switch("SO_ZEROCOPY", 60, _flag("SOCK_ZEROCOPY")),
    _row(
        "SO_TXTIME", 61, _TXTIME, _sock("sk_clockid"), _sock("sk_txtime_deadline_mode"),
        _sock("sk_txtime_report_errors"),
        value=lambda _context, clock, deadline, errors: {"clockid": clock, "flags": deadline | errors << 1},
        default={"clockid": 0, "flags": 0}, marks=(_flag("SOCK_TXTIME"),), origin=marked(3, otherwise=None),
    ),
    _row(
        "SO_BINDTOIFINDEX", 62, INT, _sock("__sk_common.skc_bound_dev_if"), default=0,
        origin=unless(_perhaps_not_bound_by_option, None), text=_device_text, fresh=True,
    ),
    _timeout("SO_RCVTIMEO_NEW", 66, "sk_rcvtimeo"),
    _timeout("SO_SNDTIMEO_NEW", 67, "sk_sndtimeo"),
    _switch("SO_PREFER_BUSY_POLL", 69, _sock("sk_prefer_busy_poll")),
    _row(
        "SO_BUSY_POLL_BUDGET", 70, COUNT, _sock("sk_busy_poll_budget"), value=lambda _context, budget: budget or 8,
        default=8,
        raw=SET_ONLY,
    ),
    _row(
        "SO_BUF_LOCK", 72, flags({1: "SOCK_SNDBUF_LOCK", 2: "SOCK_RCVBUF_LOCK"}), _LOCKS, value=lambda _context,
        locks: locks & 3,
        default=0, marks=(_sock("sk_sndbuf"), _sock("sk_rcvbuf")), origin=_buf_lock_origin, given=(_RESERVED,),
    ),
    _row("SO_RESERVE_MEM", 73, BYTES, _sock("sk_reserved_mem"), default=0, inherited=False),
    *(
        _row(
            "SO_TXREHASH", 74, SWITCH, _sock("sk_txrehash"), *others, kinds=kinds, origin=captured,
            lenient=bool(others),
            value=_txrehash_of_others if others else None,
            default=Default(lambda context, *_: context.setting(settings.TXREHASH), settings.TXREHASH) if inet else 0,
        )
        for kinds, inet, others in (
            (("tcp",), True, ()),
            (("udp", "udplite", "raw", "ping", "inet", "mptcp"), True, (_SCM["credentials"],)),
            (("unix", "packet", "netlink", "vsock", "xdp", "other"), False, (_SCM["credentials"],)),
        )
    ),
    _switch("SO_RCVMARK", 75, _flag("SOCK_RCVMARK")),
    *_PASSPIDFD,
    _switch("SO_RCVPRIORITY", 82, _flag("SOCK_RCVPRIORITY")),
    _switch("SO_PASSRIGHTS", 83, _SCM["rights"], kinds=_UNIX, default=1),
    _switch("SO_INQ", 84, field("unix_sock", "recvmsg_inq"), kinds=_UNIX, raw=SET_ONLY),
)  # fmt: skip
