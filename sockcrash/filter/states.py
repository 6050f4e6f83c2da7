# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of states and of groups of states, as ss takes them (misc/ss.c, scan_state)."""

from __future__ import annotations

__all__ = ("EVERY_STATE", "STATE_NAMES")

_NAMES = {
    "established": ("ESTABLISHED", "CONNECTED"),
    "syn-sent": ("SYN_SENT",),
    # ss shows a request of a listener, NEW_SYN_RECV, as SYN-RECV too.
    "syn-recv": ("SYN_RECV", "NEW_SYN_RECV"),
    "fin-wait-1": ("FIN_WAIT1",),
    "fin-wait-2": ("FIN_WAIT2",),
    "time-wait": ("TIME_WAIT",),
    "unconnected": ("CLOSE", "UNCONNECTED"),
    "close-wait": ("CLOSE_WAIT",),
    "last-ack": ("LAST_ACK",),
    "listening": ("LISTEN",),
    "closing": ("CLOSING",),
    "bound-inactive": ("BOUND_INACTIVE",),
}
_ALSO = {
    "close": "unconnected", "closed": "unconnected", "unconn": "unconnected", "estab": "established",
    "listen": "listening", "syn-rcv": "syn-recv",
}  # fmt: skip
EVERY_STATE = frozenset(state for states in _NAMES.values() for state in states)


def _without(*names: str) -> frozenset[str]:
    return EVERY_STATE - {state for name in names for state in _NAMES[name]}


_BUCKET = frozenset((*_NAMES["syn-recv"], *_NAMES["time-wait"]))
STATE_NAMES: dict[str, frozenset[str]] = {
    **{state.lower().replace("_", "-"): frozenset((state,)) for state in EVERY_STATE},
    **{name: frozenset(states) for name, states in _NAMES.items()},
    **{name: frozenset(_NAMES[same]) for name, same in _ALSO.items()},
    "all": EVERY_STATE,
    "connected": _without("unconnected", "listening"),
    "synchronized": _without("unconnected", "listening", "syn-sent"),
    "bucket": _BUCKET,
    "big": EVERY_STATE - _BUCKET,
}
