# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading sockets: records where that is the answer, numbers where the kernel computes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drgn.helpers.common.prog import takes_program_or_default

from sockcrash.decode import decode
from sockcrash.decode.inheritance import OptionReader
from sockcrash.decode.owner import Owners
from sockcrash.decode.want import EVERYTHING, Want
from sockcrash.errors import UsageError
from sockcrash.helpers.arguments import complain, handle_of, kernel_of_program
from sockcrash.kernel.options import ROWS
from sockcrash.model import Absent, OptionValue, Owner, SocketRecord, Timer

if TYPE_CHECKING:
    from drgn import Object, Program

    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.model.waiting import Queue

__all__ = (
    "read_record",
    "sk_option",
    "sk_options",
    "sk_owners",
    "sk_queues",
    "sk_record",
    "sk_timers",
    "tcp_flight",
    "tcp_receive_window",
)


def read_record(
    kernel: Kernel,
    handle: Handle,
    *,
    every: bool = False,
    levels: frozenset[str] = frozenset(),
    names: frozenset[str] = frozenset(),
) -> SocketRecord:
    """The whole record of one socket, with the options that are wanted of it (see OptionReader)."""
    options = OptionReader(kernel, complain, every=every, levels=levels, names=names)
    return decode(kernel, handle, Owners(kernel, complain, many=False), options)


@takes_program_or_default
def sk_record(prog: Program, sk: Object | SocketRecord | int | str, *, every: bool = False) -> SocketRecord:
    """
    Read everything of a socket: who, where, state, members by their names in C, timers, owners, options.

    >>> record = sk_record("ino:11092")
    >>> record.state, record.tcp["snd_wnd"], record.owners
    ('ESTABLISHED', 0, (Owner(kind='fd', pid=116, comm='python3', fd=293, ...),))

    :param sk: ``struct sock *``, or anything that :func:`find_sock()` takes.
    :param every: With every option, not only those that an untouched socket would show otherwise.
    :return: A record with no drgn object in it. What is not there is an ``Absent``, which says why.
    :raises drgn.FaultError: if nothing of it can be read.
    """
    kernel = kernel_of_program(prog)
    return read_record(kernel, handle_of(kernel, sk), every=every)


@takes_program_or_default
def sk_options(
    prog: Program, sk: Object | SocketRecord | int | str, *, every: bool = False
) -> tuple[OptionValue, ...] | Absent:
    """
    Get the options of a socket: value, who set it, default, what getsockopt(2) would give, the member that holds it.

    >>> [(option.name, option.text, option.origin) for option in sk_options(sk)]
    [('SO_KEEPALIVE', 'on', 'set'), ('TCP_NODELAY', 'on', 'set')]

    :param sk: ``struct sock *``, or anything that :func:`find_sock()` takes.
    :param every: All of them, not only those that an untouched socket would show otherwise.
    :return: Options in the order of their levels and numbers; none of a mini socket. An ``Absent`` if they are
        unreadable.
    """
    kernel = kernel_of_program(prog)
    options = read_record(kernel, handle_of(kernel, sk), every=every).options
    return () if options is None else options


@takes_program_or_default
def sk_option(prog: Program, sk: Object | SocketRecord | int | str, name: str) -> OptionValue:
    """
    Get one option of a socket.

    >>> sk_option(sk, "TCP_NODELAY").value
    1

    :param sk: ``struct sock *``, or anything that :func:`find_sock()` takes.
    :param name: The name that setsockopt(2) knows it by; ``LEVEL.NAME`` where two levels have it.
    :return: The option; its ``value`` is an ``Absent`` if this kernel or this socket has no such option.
    :raises sockcrash.errors.UsageError: if no option is called that.
    :raises LookupError: if a socket of this kind can't have it, or it is unreadable.
    """
    level, _, wanted = name.upper().rpartition(".")
    if not any(row.name == wanted and level in ("", row.level) for row in ROWS):
        raise UsageError(f"no socket option is called {name!r}")
    kernel = kernel_of_program(prog)
    handle = handle_of(kernel, sk)
    options = read_record(kernel, handle, names=frozenset({wanted})).options
    if isinstance(options, Absent):
        raise LookupError(f"the options of the socket at {handle.address:#x} can't be read: {options}")
    for option in options or ():
        if level in ("", option.level):
            return option
    raise LookupError(f"a {handle.kind.name} socket has no {name}")


@takes_program_or_default
def sk_timers(prog: Program, sk: Object | SocketRecord | int | str) -> tuple[Timer, ...]:
    """
    Get the timers of a socket: name, whether it is pending, milliseconds until it fires.

    >>> [timer for timer in sk_timers(sk) if timer.pending]
    [Timer(name='persist', pending=True, expires_in_ms=5580)]

    :param sk: ``struct sock *``, or anything that :func:`find_sock()` takes.
    :return: Its timers, those that don't run included; none of a family without timers.
    """
    kernel = kernel_of_program(prog)
    return decode(kernel, handle_of(kernel, sk), want=Want(parts=frozenset({"timers"}))).timers or ()


@takes_program_or_default
def sk_queues(prog: Program, sk: Object | SocketRecord | int | str) -> tuple[Queue, ...]:
    """
    Get the queues of a socket: name, buffers, their bytes and memory, of the accept queue its limit.

    >>> [queue for queue in sk_queues(sk) if queue.skbs]
    [Queue(name='write', skbs=789, bytes=1615872, ...)]

    :param sk: ``struct sock *``, or anything that :func:`find_sock()` takes.
    :return: Its queues, empty ones included; none of a mini socket.
    """
    kernel = kernel_of_program(prog)
    return decode(kernel, handle_of(kernel, sk), want=EVERYTHING).queues or ()


@takes_program_or_default
def sk_owners(prog: Program, sk: Object | SocketRecord | int | str) -> tuple[Owner, ...] | Absent:
    """
    Find out who holds a socket: processes with their descriptors, or what else does.

    >>> sk_owners("tcp::6390")
    (Owner(kind='fd', pid=118, comm='redis-server', fd=6, ...),)

    :param sk: ``struct sock *``, or anything that :func:`find_sock()` takes.
    :return: Its holders; an ``Absent`` where that can't be read. Looks through the files of all tasks.
    """
    kernel = kernel_of_program(prog)
    owners = Owners(kernel, complain, many=False)
    return decode(kernel, handle_of(kernel, sk), owners, want=Want(parts=frozenset({"owners"}))).owners


@takes_program_or_default
def tcp_flight(prog: Program, sk: Object | SocketRecord | int | str) -> int | Absent:
    """
    Count the segments in flight (``tcp_packets_in_flight()`` in ``include/net/tcp.h``; RFC 6675's pipe).

    >>> tcp_flight(tp)
    3

    :param sk: ``struct tcp_sock *``, or anything that :func:`find_sock()` takes.
    :return: Segments: those sent, less those SACKed or taken for lost, plus those sent again. An ``Absent`` of a
        listener.
    :raises LookupError: if it is no TCP socket.
    """
    return _computed(prog, sk, "in_flight")


@takes_program_or_default
def tcp_receive_window(prog: Program, sk: Object | SocketRecord | int | str) -> int | Absent:
    """
    Get what is left of the window that was offered (``tcp_receive_window()`` in ``include/net/tcp.h``).

    RFC 9293 calls it RCV.WND.

    >>> tcp_receive_window(tp)
    65536

    :param sk: ``struct tcp_sock *``, or anything that :func:`find_sock()` takes.
    :return: Bytes, never negative. An ``Absent`` of a listener.
    :raises LookupError: if it is no TCP socket.
    """
    return _computed(prog, sk, "receive_window_bytes")


def _computed(prog: Program, sk: Object | SocketRecord | int | str, name: str) -> int | Absent:
    kernel = kernel_of_program(prog)
    handle = handle_of(kernel, sk)
    if handle.kind.name != "tcp":
        raise LookupError(f"a {handle.kind.name} socket has no {name}")
    value: int | Absent = decode(kernel, handle, want=Want(frozenset({name}))).tcp[name]
    return value
