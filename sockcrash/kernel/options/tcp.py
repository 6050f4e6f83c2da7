# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level IPPROTO_TCP (net/ipv4/tcp.c, do_tcp_setsockopt and do_tcp_getsockopt)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.layout import Convert, Field, Place, resolve
from sockcrash.kernel.options import settings
from sockcrash.kernel.options.codecs import (
    BLOB,
    BYTES,
    COUNT,
    INT,
    MICROSECONDS,
    MILLISECONDS,
    SECONDS,
    SWITCH,
    UINT,
    Codec,
    choice,
    fixed_text,
    record,
    with_text,
)
from sockcrash.kernel.options.congestion_info import CC_INFO
from sockcrash.kernel.options.origins import DEFAULT, KERNEL, SET, captured, kernel, marked, unless
from sockcrash.kernel.options.row import Default, Option, absent, field, no_trace, nonzero
from sockcrash.kernel.options.tcp_info import INFO
from sockcrash.kernel.options.tcp_keys import KEY_ROWS
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS", "ULP_NAME", "seconds_of_retransmissions")

_OFF, _CORK = 1, 2  # TCP_NAGLE_OFF, TCP_NAGLE_CORK
_NEVER_SET = 0xFFFFFFFF
_RCVBUF_LOCK = 2
_DELACK_MAX_US = 200_000  # TCP_DELACK_MAX
_RTO_MIN_US, _RTO_MAX_MS = 200_000, 120_000  # TCP_RTO_MIN, TCP_RTO_MAX


def _tcp(*paths: str | Place, name: str = "") -> Field:
    return field("tcp_sock", *paths, name=name)


def _icsk(*paths: str | Place, name: str = "") -> Field:
    return field("inet_connection_sock", *paths, name=name)


def _row(name: str, number: int, codec: Codec, *fields: Field, **more: Any) -> Option:
    return Option("IPPROTO_TCP", name, number, codec, fields, kinds=("tcp",), **more)


def _switch(name: str, number: int, member: str, **more: Any) -> Option:
    return _row(name, number, SWITCH, _tcp(member), default=0, **more)


def _gone(name: str, number: int, why: str) -> Option:
    return _row(name, number, INT, **no_trace(why), origin=kernel)


_STATE = field("sock", "__sk_common.skc_state")
_MPTCP = _tcp("is_mptcp")
_REPAIR = _tcp("repair")


def _or_setting(setting: settings.Setting, *, jiffies: bool = False) -> dict[str, Any]:
    """A member of which 0 stands for the sysctl, both perhaps in jiffies."""

    def seconds(context: Context, number: Any) -> Any:
        return number // context.clock.hz if jiffies and isinstance(number, int) else number

    return {
        "value": lambda context, own: seconds(context, own or context.setting(setting)),
        "default": Default(lambda context, *_: seconds(context, context.setting(setting)), setting),
        "origin": marked(0),
    }


def _linger2(context: Context, own: int) -> Any:
    """Jiffies; negative means no FIN_WAIT2 at all."""
    if own < 0:
        return own
    setting = own or context.setting(settings.TCP_FIN_TIMEOUT)
    return setting // context.clock.hz if isinstance(setting, int) else setting


def _is_off(_context: Context, nonagle: int) -> int:
    return int(bool(nonagle & _OFF))


def _is_corked(_context: Context, nonagle: int) -> int:
    return int(bool(nonagle & _CORK))


# TCP_MAXSEG: 34dfde4ad87b shows user_mss before a connection only; then it is the effective one.
def _maxseg(_context: Context, cache: int, user: int, repair: int, clamp: int, state: int) -> int:
    if repair:
        return clamp
    return user if user and state in (uapi.CLOSE, uapi.LISTEN) else cache


def _maxseg_text(_context: Context, value: int, _cache: int, user: int, *_: int) -> str:
    return f"{BYTES.text(value)} (asked for {user})" if user and user != value else BYTES.text(value)


def seconds_of_retransmissions(count: int, first: int = 1, limit: int = 120) -> int:
    """retrans_to_secs(): how long ``count`` time-outs last that double from ``first`` up to ``limit`` seconds."""
    period = 0
    for _ in range(count):
        period += first
        first = min(first * 2, limit)
    return period


def _clamp_origin(
    _context: Context, value: int, default: int, _clamp: int, state: int, joined: bool, locks: int, low: int
) -> str | None:
    """The kernel computes it when a connection starts, and tcp_disconnect() clears it.

    Before, SO_RCVLOWAT and (tcp_set_rcvbuf, in 7.2) SO_RCVBUF set it too.
    """
    if state != uapi.LISTEN and (state != uapi.CLOSE or joined):
        return KERNEL
    if value == default:
        return DEFAULT
    return None if locks & _RCVBUF_LOCK or low != 1 else SET


def _congestion_origin(
    _context: Context, value: str, default: str, _name: str, marked_: int, mptcp: int | Absent
) -> str | None:
    """The mark is exact, but MPTCP passes its own default to subflows as if it were set."""
    if marked_ and not (mptcp and value == default):
        return SET
    return DEFAULT if value == default else None


def _lowat_origin(context: Context, value: int, default: int, _own: int, mptcp: int | Absent) -> str | None:
    """MPTCP makes it unlimited in its subflows; one that fell back may have been accepted since."""
    if value == _NEVER_SET and (mptcp or context.accepted):
        return KERNEL if mptcp else None
    return DEFAULT if value == default else SET


def _fastopen_origin(_context: Context, value: int, default: int, _queue: int, backlog: int) -> str | None:
    """inet_listen() sets it to the backlog where net.ipv4.tcp_fastopen has bit 0x400."""
    if value == default:
        return DEFAULT
    return None if value == backlog else SET


def _quickack(context: Context, pingpong: int) -> int | Absent:
    """inet_csk_in_pingpong_mode(); the threshold is 1 where it is no sysctl (4d8f24eeedc5)."""
    threshold = context.setting(settings.TCP_PINGPONG_THRESH)
    if isinstance(threshold, Absent):
        return threshold if threshold.lost else int(pingpong < 1)
    return int(pingpong < threshold)


def _timestamp(context: Context, _state: int, offset: int, in_us: Any) -> int:
    """The TSval of now."""
    if isinstance(in_us, int):
        now = context.clock.mono_ns // (1000 if in_us else 1_000_000) + offset
        return (now | 1 if in_us else now & ~1) & 0xFFFFFFFF
    return context.clock.mono_ns // 1_000_000 + offset & 0xFFFFFFFF


def _name_of(pointer: str, name: str, shared: bool = True) -> Field:
    place = (Place(f"{pointer}->name"),)
    return Field(f"{name} raw", "struct inet_connection_sock", place, (Convert(name, "text"),), shared)


def _ulp(_context: Context, name: Any) -> Any:
    return "" if isinstance(name, Absent) and name.reason is Reason.NOT_APPLICABLE else name


def _queue_seq(_context: Context, queue: int, write_seq: int, rcv_nxt: int) -> Any:
    return {2: write_seq, 1: rcv_nxt}.get(queue, absent("EINVAL: TCP_REPAIR_QUEUE chooses none"))


_NO_REPAIR = absent("EINVAL: TCP_REPAIR is off")
_WINDOW = ("snd_wl1", "snd_wnd", "max_window", "rcv_wnd", "rcv_wup")


def _repair_window(_context: Context, repair: int, *members: int) -> Any:
    return dict(zip(_WINDOW, members, strict=True)) if repair else absent("EPERM: TCP_REPAIR is off")


def _saved_syn(context: Context, pointer: int) -> Any:
    """The headers of the SYN; the first getsockopt that gets them frees them."""
    if not pointer:
        return ""
    kernel_ = context.kernel
    _, data, _ = resolve(kernel_.prog, "struct saved_syn", "data")
    try:
        lengths = struct.unpack(kernel_.byte_order + "III", kernel_.read(pointer, 12))
        return kernel_.read(pointer + data.offset, min(sum(lengths), 4096)).hex()
    except drgn.FaultError as error:
        return kernel_.unreadable(error)


def _jiffies_us(context: Context, jiffies: int) -> int:
    return jiffies * 1_000_000 // context.clock.hz


def _setting_or(setting: settings.Setting, constant: int) -> Default:
    def default(context: Context, *_: Any) -> Any:
        value = context.setting(setting)
        return constant if isinstance(value, Absent) and not value.lost else value

    return Default(default, setting)


ULP_NAME = _name_of("icsk_ulp_ops", "ulp")
# v6.15 brought the three options of timers; two of the members are older.
_TIMER_OPTIONS = (_icsk("icsk_rto_max"),)

ROWS = (
    _row("TCP_NODELAY", 1, SWITCH, _tcp("nonagle"), value=_is_off, default=0),
    _row(
        "TCP_MAXSEG", 2, BYTES, _tcp("mss_cache"), _tcp("rx_opt.user_mss"), _REPAIR, _tcp("rx_opt.mss_clamp"), _STATE,
        value=_maxseg, text=_maxseg_text, default=536, origin=marked(1), carried=1,
    ),
    _row("TCP_CORK", 3, SWITCH, _tcp("nonagle"), value=_is_corked, default=0),
    _row("TCP_KEEPIDLE", 4, SECONDS, _tcp("keepalive_time"), **_or_setting(settings.TCP_KEEPALIVE_TIME,
        jiffies=True)),
    _row("TCP_KEEPINTVL", 5, SECONDS, _tcp("keepalive_intvl"), **_or_setting(settings.TCP_KEEPALIVE_INTVL,
        jiffies=True)),
    _row("TCP_KEEPCNT", 6, COUNT, _tcp("keepalive_probes"), **_or_setting(settings.TCP_KEEPALIVE_PROBES)),
    _row("TCP_SYNCNT", 7, COUNT, _icsk("icsk_syn_retries"), **_or_setting(settings.TCP_SYN_RETRIES)),
    _row(
        "TCP_LINGER2", 8, with_text(SECONDS, lambda value: "none" if value < 0 else SECONDS.text(value)),
        _tcp("linger2"),
        value=_linger2, origin=marked(0), default=Default(lambda context, *_: _linger2(context, 0),
            settings.TCP_FIN_TIMEOUT),
    ),
    _row(
        "TCP_DEFER_ACCEPT", 9, SECONDS, _icsk("icsk_accept_queue.rskq_defer_accept"), default=0,
        value=lambda _context, count: seconds_of_retransmissions(count), inherited=False,
    ),
    _row(
        "TCP_WINDOW_CLAMP", 10, BYTES, _tcp("window_clamp"), default=0, origin=_clamp_origin,
        marks=(_STATE, nonzero("sock", "__sk_common.skc_dport"), field("sock", "sk_userlocks"), field("sock",
            "sk_rcvlowat")),
    ),
    INFO,
    _row("TCP_QUICKACK", 12, SWITCH, _icsk("icsk_ack.pingpong"), value=_quickack, origin=kernel),
    _row(
        "TCP_CONGESTION", 13, fixed_text(16), _name_of("icsk_ca_ops", "congestion"),
        marks=(_icsk("icsk_ca_setsockopt"), _MPTCP),
        default=Default(lambda context, *_: context.setting(settings.TCP_CONGESTION_CONTROL),
            settings.TCP_CONGESTION_CONTROL),
        origin=_congestion_origin,
    ),
    _switch("TCP_THIN_LINEAR_TIMEOUTS", 16, "thin_lto"),
    _row("TCP_THIN_DUPACK", 17, SWITCH, value=lambda _context: 0, default=0, origin=lambda *_: DEFAULT),
    _row("TCP_USER_TIMEOUT", 18, MILLISECONDS, _icsk("icsk_user_timeout"), default=0),
    _switch("TCP_REPAIR", 19, "repair"),
    _row(
        "TCP_REPAIR_QUEUE", 20, choice({0: "none", 1: "receive", 2: "send"}), _tcp("repair_queue"), _REPAIR,
        default=0,
        value=lambda _context, queue, repair: queue if repair else _NO_REPAIR,
    ),
    _row(
        "TCP_QUEUE_SEQ", 21, UINT, _tcp("repair_queue"), _tcp("write_seq"), _tcp("rcv_nxt"), value=_queue_seq,
        origin=kernel
    ),
    _gone("TCP_REPAIR_OPTIONS", 22, "set-only: it goes into what the handshake negotiated"),
    _row(
        "TCP_FASTOPEN", 23, INT, _icsk("icsk_accept_queue.fastopenq.max_qlen"), marks=(field("sock",
            "sk_max_ack_backlog"),),
        default=0, origin=_fastopen_origin, inherited=False,
    ),
    _row(
        "TCP_TIMESTAMP", 24, UINT, _STATE, _tcp("tsoffset"), _tcp("tcp_usec_ts"), value=_timestamp, origin=kernel,
        lenient=True, fresh=True,
        raw=absent("it depends on the moment of the call"),
    ),
    _row(
        "TCP_NOTSENT_LOWAT", 25, BYTES, _tcp("notsent_lowat"), default=0, marks=(_MPTCP,), origin=_lowat_origin,
    ),
    CC_INFO,
    _row("TCP_SAVE_SYN", 27, choice({0: "off", 1: "on", 2: "with link layer"}), _tcp("save_syn"), default=0),
    _row("TCP_SAVED_SYN", 28, BLOB, _tcp("saved_syn"), value=_saved_syn, origin=kernel, fresh=True),
    _row(
        "TCP_REPAIR_WINDOW", 29, record("5I", _WINDOW, lambda value: ", ".join(f"{k} {v}" for k,
            v in value.items())), _REPAIR,
        *(_tcp(name) for name in _WINDOW), value=_repair_window, origin=kernel,
    ),
    _switch("TCP_FASTOPEN_CONNECT", 30, "fastopen_connect"),
    _row(
        "TCP_ULP", 31, fixed_text(16), ULP_NAME, value=_ulp, default="", lenient=True,
        marks=(_MPTCP,), origin=unless(lambda _c, value, _name, _mptcp: value == "mptcp", KERNEL),
    ),
    _switch("TCP_FASTOPEN_NO_COOKIE", 34, "fastopen_no_cookie"),
    _gone("TCP_ZEROCOPY_RECEIVE", 35, "a call that does something, not a value"),
    _switch("TCP_INQ", 36, "recvmsg_inq"),
    _row("TCP_TX_DELAY", 37, MICROSECONDS, _tcp("tcp_tx_delay"), default=0),
    *KEY_ROWS,
    # c084ebd77a00 (v6.9); the sysctl came two releases later.
    _row(
        "TCP_IS_MPTCP", 43, SWITCH, value=lambda _context: 0, origin=kernel,
        given=(field("net", settings.TCP_RTO_MIN_US.path),),
    ),
    _row(
        "TCP_RTO_MAX_MS", 44, MILLISECONDS, *_TIMER_OPTIONS, default=_setting_or(settings.TCP_RTO_MAX_MS,
            _RTO_MAX_MS),
        value=lambda context, jiffies: jiffies * 1000 // context.clock.hz, origin=captured,
    ),
    _row(
        "TCP_RTO_MIN_US", 45, MICROSECONDS, _icsk("icsk_rto_min"), value=_jiffies_us, origin=captured,
        given=_TIMER_OPTIONS,
        default=_setting_or(settings.TCP_RTO_MIN_US, _RTO_MIN_US),
    ),
    _row(
        "TCP_DELACK_MAX_US", 46, MICROSECONDS, _icsk("icsk_delack_max"), value=_jiffies_us, given=_TIMER_OPTIONS,
        default=_DELACK_MAX_US,
    ),
)  # fmt: skip
