# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the members of a tcp_sock say together: queues, windows, rates, time spent, as tcp_get_info() computes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from sockcrash.decode.computed import Computed, extension
from sockcrash.kernel import uapi
from sockcrash.kernel.fields_tcp import TCP
from sockcrash.kernel.units import signed32
from sockcrash.model import Absent, Reason, Section

if TYPE_CHECKING:
    from sockcrash.kernel.clock import Clock
    from sockcrash.kernel.view import Kernel

__all__ = ("COMPUTED", "COMPUTED_NAMES", "tcp_section")

_LISTENING = Absent(Reason.NOT_APPLICABLE, "a listener has no stream")
_NO_SAMPLE = Absent(Reason.NOT_ASSIGNED, "no sample yet")


def tcp_section(kernel: Kernel, state: int, tcp: Section, computed: Computed) -> Section:
    """The tcp section with those of COMPUTED behind its members that are wanted."""
    listening = _LISTENING if state == uapi.LISTEN else None
    return extension(kernel, tcp, TCP, computed).of(tcp, kernel.clock(), instead=listening)


def _delivery_rate(_clock: Clock, rate: int, interval_us: int, mss: int) -> int | Absent:
    """tcp_compute_delivery_rate(): bytes per second."""
    return rate * mss * 1_000_000 // interval_us if rate and interval_us else _NO_SAMPLE


def _chrono(*kinds: int) -> Callable[..., int | Absent]:
    """enum tcp_chrono: 1 busy, 2 limited by the peer's window, 3 by the send buffer; µs in any of ``kinds``."""

    def compute(clock: Clock, stat: tuple[int, ...], kind: int, start: int) -> int | Absent:
        if clock.lost is not None and (kind in kinds or not clock.rate):
            return clock.lost
        spent = 0
        for one in kinds:
            spent += stat[one - 1]
        if kind in kinds:
            spent += clock.jiffies - start & 0xFFFFFFFF
        return spent * 1_000_000 // clock.rate

    return compute


def _options(_clock: Clock, tstamp: int, sack: int, wscale: int, ecn: int, fastopen: int) -> tuple[str, ...]:
    return _negotiated(bool(tstamp), bool(sack), bool(wscale), ecn & 0x19, bool(fastopen))


@cache
def _negotiated(tstamp: bool, sack: bool, wscale: bool, ecn: int, fastopen: bool) -> tuple[str, ...]:
    """What the handshake agreed on, as ss names it (tcpi_options)."""
    on = (("ts", tstamp), ("sack", sack), ("wscale", wscale), ("ecn", ecn & 0x11), ("ecnseen", ecn & 8))
    return tuple(name for name, bit in (*on, ("fastopen", fastopen)) if bit)


def _total_rto_time(clock: Clock, total: int, stamp: int) -> int | Absent:
    if clock.lost is not None and stamp:
        return clock.lost
    return total + ((clock.mono_ns // 1_000_000 - stamp) & 0xFFFFFFFF if stamp else 0)


_CHRONO = ("chrono_stat", "chrono_type", "chrono_start")

# name, the members it is made of, how. Sequence numbers and their differences are modulo 2**32.
COMPUTED: Computed = (
    ("ca_state", ("icsk_ca_state",), lambda _, state: uapi.name_of(uapi.CA_STATES, state)),
    # tcp_packets_in_flight(), segments
    (
        "in_flight",
        ("packets_out", "sacked_out", "lost_out", "retrans_out"),
        lambda _, packets, sacked, lost, again: packets - (sacked + lost) + again,
    ),
    ("send_queue_bytes", ("write_seq", "snd_una"), lambda _, end, start: end - start & 0xFFFFFFFF),
    ("unacked_bytes", ("snd_nxt", "snd_una"), lambda _, end, start: end - start & 0xFFFFFFFF),
    ("notsent_bytes", ("write_seq", "snd_nxt"), lambda _, end, start: max(0, signed32(end - start))),
    ("receive_queue_bytes", ("rcv_nxt", "copied_seq"), lambda _, end, start: max(0, signed32(end - start))),
    # tcp_receive_window(): what of the offered window is left
    (
        "receive_window_bytes",
        ("rcv_wup", "rcv_wnd", "rcv_nxt"),
        lambda _, start, size, now: max(0, signed32(start + size - now)),
    ),
    ("delivery_rate_bytes_per_s", ("rate_delivered", "rate_interval_us", "mss_cache"), _delivery_rate),
    # tcp_get_info_chrono_stats(): time limited by window or buffer is busy time too
    ("busy_us", _CHRONO, _chrono(1, 2, 3)),
    ("rwnd_limited_us", _CHRONO, _chrono(2)),
    ("sndbuf_limited_us", _CHRONO, _chrono(3)),
    ("total_rto_time_ms", ("total_rto_time", "rto_stamp"), _total_rto_time),
    (
        "negotiated",
        ("rx_opt.tstamp_ok", "rx_opt.sack_ok", "rx_opt.wscale_ok", "ecn_flags", "syn_data_acked"),
        _options,
    ),
)

COMPUTED_NAMES = tuple(name for name, _, _ in COMPUTED)
