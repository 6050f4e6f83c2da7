# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Sockets
-------

The ``sockcrash.helpers`` module provides helpers for drgn sessions and scripts: finding sockets by any of their names,
reading them, and going on with drgn from there.

They work on any :class:`~drgn.Program` of a Linux kernel, with DWARF or without, and keep drgn's manner: C names, and
drgn's default program argument. Where a socket is wanted, ``struct sock *``, ``struct socket *``,
``struct file *``, an address, a SPEC or a record will do. An Object of a socket's struct is believed; whatever else
names one is proved first.
"""

from __future__ import annotations

from sockcrash.helpers.finding import (
    find_sock,
    for_each_sock,
    for_each_tcp_sock,
    inet_csk,
    inet_sk,
    sk_kind,
    tcp_sk,
)
from sockcrash.helpers.reading import (
    sk_option,
    sk_options,
    sk_owners,
    sk_queues,
    sk_record,
    sk_timers,
    tcp_flight,
    tcp_receive_window,
)

__all__ = (
    "find_sock",
    "for_each_sock",
    "for_each_tcp_sock",
    "inet_csk",
    "inet_sk",
    "sk_kind",
    "sk_option",
    "sk_options",
    "sk_owners",
    "sk_queues",
    "sk_record",
    "sk_timers",
    "tcp_flight",
    "tcp_receive_window",
    "tcp_sk",
)
