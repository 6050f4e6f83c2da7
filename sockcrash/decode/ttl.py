# SPDX-License-Identifier: LGPL-2.1-or-later
"""When the kernel will give a TCP connection up if nothing changes, and which sysctl or option decides that."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sockcrash.decode.ladder import (
    Keepalive,
    Limit,
    Probing,
    Retransmitting,
    Wheel,
    grain_at,
    grain_of,
    keepalive,
    probing,
    retransmitting,
)
from sockcrash.kernel.options import settings
from sockcrash.kernel.units import signed32
from sockcrash.model import Absent, Reason, Section
from sockcrash.model.waiting import GivesUp, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.kernel.clock import Clock
    from sockcrash.model import Timer

__all__ = ("NO_TIMER", "RTO_MAX", "TIMEWAIT", "Facts", "connection_gives_up", "unwatched")

# include/net/tcp.h, in seconds: TCP_RTO_MAX, TCP_TIMEWAIT_LEN; TCP_RTO_MIN and TCP_TIMEOUT_INIT in ms
RTO_MAX, TIMEWAIT, _RTO_MIN_MS, _TIMEOUT_INIT_MS = 120, 60, 200, 1000
_ORPHAN_RETRIES = 8  # where the sysctl is 0 and the peer was heard of (tcp_orphan_retries)
_THIN = 4  # tcp_stream_is_thin
_OPENING = ("SYN_SENT", "SYN_RECV")
NO_TIMER = Absent(Reason.NOT_APPLICABLE, "no timer runs that could end it")
_NEVER_IDLE = Absent(
    Reason.NOT_APPLICABLE, "idle without SO_KEEPALIVE: stays until a process or the peer ends it"
)
_LISTENER = Absent(Reason.NOT_APPLICABLE, "a listener ends with those who hold it")
_ANSWERS = "unless the peer acknowledges"
_TIMED_OUT = "ETIMEDOUT"
Case = TypeVar("Case", Retransmitting, Probing, Keepalive)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one full TCP socket: its state, the sections tcp and tcp_timers, timers by name,
    the sysctls of its namespace."""

    state: str
    dead: bool
    keepopen: bool
    error: int
    tcp: Section
    armed: Section
    timers: Mapping[str, Timer]
    sysctl: Mapping[str, Any]
    clock: Clock

    def jiffies(self, ms: int) -> int:
        """Milliseconds as jiffies, upwards (msecs_to_jiffies)."""
        return -(-ms * self.clock.hz // 1000)

    def left(self, name: str) -> int | None:
        """Jiffies until a timer fires, None when it does not run."""
        timer = self.timers[name]
        return (
            None
            if not timer.pending or isinstance(timer.expires_in_ms, Absent)
            else self.jiffies(timer.expires_in_ms)
        )

    @property
    def wheel(self) -> Wheel:
        """The timer wheel now."""
        return Wheel(self.clock.jiffies, self.clock.hz)

    def grain(self, flags: str, delay: int) -> int:
        """How coarse the wheel is where a timer waits; by what it was set to where its flags are not known."""
        own = self.armed[flags]
        return grain_of(delay) if isinstance(own, Absent) else grain_at(own)

    def setting(self, setting: settings.Setting, otherwise: int = 0) -> Limit:
        """A sysctl; ``otherwise`` where this kernel has none."""
        value = self.sysctl[setting.name]
        return Limit(setting.name, otherwise if isinstance(value, Absent) else value)

    def option_or(self, own: int, option: str, setting: settings.Setting) -> Limit:
        """A member of which 0 stands for the sysctl."""
        return Limit(option, own) if own else self.setting(setting)

    @property
    def rto_max(self) -> int:
        """The largest RTO in jiffies: a member since v6.15, a constant before."""
        own = self.tcp["icsk_rto_max"]
        return RTO_MAX * self.clock.hz if isinstance(own, Absent) else own


# What is needed of the tcp section: without it nothing can be said.
_NEEDED = (
    "icsk_rto", "icsk_retransmits", "icsk_probes_out", "icsk_backoff", "icsk_user_timeout", "icsk_syn_retries",
    "retrans_stamp", "packets_out", "snd_wnd", "notsent_bytes", "linger2", "keepalive_time", "keepalive_intvl",
    "keepalive_probes", "rcv_tstamp", "icsk_ack.lrcvtime",
)  # fmt: skip
_NEEDED_SETTINGS = (
    settings.TCP_RETRIES2,
    settings.TCP_ORPHAN_RETRIES,
    settings.TCP_SYN_RETRIES,
    settings.TCP_KEEPALIVE_TIME,
    settings.TCP_KEEPALIVE_INTVL,
    settings.TCP_KEEPALIVE_PROBES,
    settings.TCP_FIN_TIMEOUT,
)


def unwatched(state: str, keepopen: bool, timers: Collection[Timer]) -> Absent | None:
    """Why no timer ends a full socket; None where one runs."""
    if state == "LISTEN":
        return _LISTENER
    return None if any(timer.pending for timer in timers) else _unwatched(state, keepopen, timers)


def connection_gives_up(facts: Facts) -> GivesUp | Absent:
    """When the kernel ends a full socket by itself of which a timer runs; absent when it never does."""
    missing = [facts.tcp[name] for name in _NEEDED] + [facts.sysctl[one.name] for one in _NEEDED_SETTINGS]
    lost = next((value for value in missing if isinstance(value, Absent)), facts.clock.lost)
    if lost is not None:
        return lost
    for name in ("retransmit", "loss-probe", "rack-reorder"):
        if facts.left(name) is not None:
            return _retransmission(facts, name)
    if facts.left("persist") is not None:
        return _window(facts)
    if facts.left("fin-wait2") is not None:
        return _fin_wait2(facts)
    if facts.left("keepalive") is not None and facts.keepopen and facts.state != "SYN_SENT":
        if not facts.tcp["packets_out"] and not facts.tcp["notsent_bytes"]:
            return _keepalive(facts)
        return NO_TIMER
    return _unwatched(facts.state, facts.keepopen, facts.timers.values())


def _unwatched(state: str, keepopen: bool, timers: Collection[Timer]) -> Absent:
    """A timer that can't be read may end it."""
    for timer in timers:
        if isinstance(timer.pending, Absent):
            return timer.pending
    return _NEVER_IDLE if state == "ESTABLISHED" and not keepopen else NO_TIMER


def _made(
    run: Callable[[Case], tuple[int, Limit, tuple[Step, ...]]],
    case: Case,
    because: str,
    unless: str,
    waited_ms: int | None,
) -> GivesUp:
    at, limit, steps = run(case)
    return GivesUp(because, case.wheel.ms(at), limit.name, limit.value, unless, _TIMED_OUT, steps, waited_ms)


def _retransmission(facts: Facts, timer: str) -> GivesUp:
    tcp = facts.tcp
    opening = facts.state in _OPENING
    first = {
        "loss-probe": "sends a tail loss probe",
        "rack-reorder": "marks what was reordered too long as lost",
    }
    shut = not tcp["snd_wnd"] and not facts.dead and not opening
    linear = facts.setting(settings.TCP_SYN_LINEAR_TIMEOUTS).value if facts.state == "SYN_SENT" else 0
    own = tcp["icsk_syn_retries"]
    case = Retransmitting(
        facts.wheel,
        facts.left(timer) or 0,
        facts.grain("xmit_flags", tcp["icsk_rto"]),
        tcp["icsk_rto"],
        facts.rto_max,
        facts.jiffies(_TIMEOUT_INIT_MS if opening else _RTO_MIN_MS),
        tcp["icsk_retransmits"],
        _since_first(facts),
        lambda rto: _boundary(facts, rto),
        what="sends the SYN again" if opening else "sends the oldest segment again",
        first=first.get(timer, ""),
        user_timeout=tcp["icsk_user_timeout"],
        tries_limit=_counted(facts, own, linear) if opening else None,
        linear=linear,
        linear_so_far=tcp["icsk_retransmits"],
        thin=_is_thin(facts),
        quiet=_age(facts, tcp["rcv_tstamp"]) if shut else None,
    )
    because = "orphan" if facts.dead and not opening else "connect" if opening else "retransmission"
    waited = None if case.since is None else max(0, case.since)
    return _made(retransmitting, case, because, _ANSWERS, waited)


def _counted(facts: Facts, own: int, linear: int) -> Limit:
    limit = facts.option_or(own, "TCP_SYNCNT", settings.TCP_SYN_RETRIES)
    return Limit(limit.name, limit.value + linear)


def _since_first(facts: Facts) -> int | None:
    """Milliseconds since retrans_stamp, which is in ms, or in µs with tcp_usec_ts."""
    stamp = facts.tcp["retrans_stamp"]
    if not stamp:
        return None
    unit = 1000 if facts.tcp["tcp_usec_ts"] == 1 else 1_000_000
    now = facts.clock.mono_ns // unit
    passed = signed32(now - stamp)
    return passed // 1000 if unit == 1000 else passed


def _boundary(facts: Facts, rto: int) -> Limit:
    """How many retransmissions the time that is waited stands for."""
    if facts.state in _OPENING:
        return facts.option_or(facts.tcp["icsk_syn_retries"], "TCP_SYNCNT", settings.TCP_SYN_RETRIES)
    if facts.dead:
        return _orphan_limit(facts, rto < facts.rto_max)
    return facts.setting(settings.TCP_RETRIES2)


def _orphan_limit(facts: Facts, alive: bool) -> Limit:
    limit = facts.setting(settings.TCP_ORPHAN_RETRIES)
    retries = 0 if facts.error and not alive else limit.value
    return Limit(limit.name, retries or (_ORPHAN_RETRIES if alive else 0))


def _is_thin(facts: Facts) -> bool:
    """Whether time-outs don't double the RTO: few segments in flight, and TCP_THIN_LINEAR_TIMEOUTS or the sysctl.

    (A stream in its first slow start is not thin, but the first time-out ends that.)
    """
    tcp = facts.tcp
    wanted = tcp["thin_lto"] == 1 or facts.setting(settings.TCP_THIN_LINEAR_TIMEOUTS).value
    return bool(wanted) and facts.state == "ESTABLISHED" and tcp["packets_out"] < _THIN


def _age(facts: Facts, stamp: int) -> int:
    """Jiffies since a ``tcp_jiffies32`` stamp."""
    return max(0, signed32(facts.clock.jiffies - stamp))


def _window(facts: Facts) -> GivesUp:
    tcp = facts.tcp
    stamp = tcp["icsk_probes_tstamp"]
    case = Probing(
        facts.wheel,
        facts.left("persist") or 0,
        facts.grain("xmit_flags", tcp["icsk_rto"]),
        tcp["icsk_rto"],
        facts.rto_max,
        facts.jiffies(_RTO_MIN_MS),
        tcp["icsk_probes_out"],
        tcp["icsk_backoff"],
        _age(facts, stamp) if isinstance(stamp, int) and stamp else None,
        facts.setting(settings.TCP_RETRIES2).value,
        lambda alive: _orphan_limit(facts, alive) if facts.dead else facts.setting(settings.TCP_RETRIES2),
        orphan=facts.dead,
        answered=bool(tcp["icsk_user_timeout"] and tcp["icsk_backoff"] and not tcp["icsk_probes_out"]),
        user_timeout=tcp["icsk_user_timeout"],
    )
    because = "orphan" if facts.dead else "zero-window"
    waited = None if case.since is None else case.wheel.ms(case.since)
    made = _made(probing, case, because, "unless the peer opens its window", waited)
    if made.decided_by == "TCP_USER_TIMEOUT" or facts.dead:
        return made
    return replace(made, unless="unless the peer answers a probe, which it may do for ever")


def _keepalive(facts: Facts) -> GivesUp:
    tcp, left = facts.tcp, facts.left("keepalive") or 0
    case = Keepalive(
        facts.wheel,
        left,
        facts.grain("keepalive_flags", left),
        min(_age(facts, tcp["icsk_ack.lrcvtime"]), _age(facts, tcp["rcv_tstamp"])),
        facts.option_or(tcp["keepalive_time"], "TCP_KEEPIDLE", settings.TCP_KEEPALIVE_TIME).value,
        facts.option_or(tcp["keepalive_intvl"], "TCP_KEEPINTVL", settings.TCP_KEEPALIVE_INTVL).value,
        tcp["icsk_probes_out"],
        facts.option_or(tcp["keepalive_probes"], "TCP_KEEPCNT", settings.TCP_KEEPALIVE_PROBES),
        user_timeout=tcp["icsk_user_timeout"],
    )
    return _made(keepalive, case, "keepalive", "unless the peer answers", case.wheel.ms(case.quiet))


def _fin_wait2(facts: Facts) -> GivesUp:
    """A closed socket waits for the peer's FIN, what exceeds TIME_WAIT's length by itself (tcp_fin_time)."""
    tcp, hz, wheel = facts.tcp, facts.clock.hz, facts.wheel
    limit = facts.option_or(tcp["linger2"], "TCP_LINGER2", settings.TCP_FIN_TIMEOUT)
    rto, left = tcp["icsk_rto"], facts.left("fin-wait2") or 0
    more = max(limit.value, (rto << 2) - (rto >> 1)) - TIMEWAIT * hz if tcp["linger2"] >= 0 else 0
    at = wheel.fires(left, facts.grain("keepalive_flags", left))
    if more > 0:
        at = wheel.after(at, more)
    then = "gone, after a time as a mini socket" if more > 0 else "a reset is sent"
    seconds = limit.value // hz
    return GivesUp("fin-wait2", wheel.ms(at), limit.name, seconds, "unless the peer closes too", then)
