# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding sockets and being precise about what they are, as drgn Objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from drgn import Object, Program, cast
from drgn.helpers.common.prog import takes_program_or_default

from sockcrash.decode import decode
from sockcrash.decode.inheritance import OptionReader
from sockcrash.decode.owner import Owners
from sockcrash.errors import UsageError
from sockcrash.helpers.arguments import (
    complain,
    handle_of,
    kernel_of_program,
    netns_inode,
    object_of,
)
from sockcrash.kernel.sockets import KINDS
from sockcrash.locate import all_sockets, in_namespace
from sockcrash.locate.netns import find_netns

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.filter import Filter
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.address import Handle
    from sockcrash.model import SocketRecord

__all__ = ("find_sock", "for_each_sock", "for_each_tcp_sock", "inet_csk", "inet_sk", "sk_kind", "tcp_sk")


def inet_sk(sk: Object) -> Object:
    """
    Get the Internet part of a socket (``inet_sk()`` in ``include/net/inet_sock.h``).

    >>> inet_sk(sk).inet_saddr
    (__be32)16777343

    :param sk: ``struct sock *`` of an AF_INET or AF_INET6 socket that is no mini socket.
    :return: ``struct inet_sock *``
    """
    return cast("struct inet_sock *", sk)


def inet_csk(sk: Object) -> Object:
    """
    Get the connection part of a socket (``inet_csk()`` in ``include/net/inet_connection_sock.h``).

    >>> inet_csk(sk).icsk_rto
    (__u32)52

    :param sk: ``struct sock *`` of a TCP or MPTCP socket that is no mini socket.
    :return: ``struct inet_connection_sock *``
    """
    return cast("struct inet_connection_sock *", sk)


def tcp_sk(sk: Object) -> Object:
    """
    Get the TCP part of a socket (``tcp_sk()`` in ``include/linux/tcp.h``).

    >>> tcp_sk(find_sock("tcp:127.0.0.1:16971")).snd_wnd
    (u32)0

    :param sk: ``struct sock *`` of a TCP socket for which :func:`sk_kind()` is ``"tcp"``.
    :return: ``struct tcp_sock *``
    """
    return cast("struct tcp_sock *", sk)


@takes_program_or_default
def find_sock(prog: Program, spec: Object | SocketRecord | int | str) -> Object:
    """
    Find one socket by any of its names, and prove that it is one.

    >>> find_sock("fd:116/293")
    *(struct sock *)0xff15ce13c3346300 = {
        ...
    }

    :param spec: A SPEC as on the command line (``"ino:11092"``, ``"tcp::16971"``, ``"sk:141"``, ...), an address, a
        record, or a ``struct socket *`` or ``struct file *``.
    :return: ``struct sock *``; for a mini socket ``struct tcp_timewait_sock *`` or ``struct tcp_request_sock *``.
    :raises sockcrash.errors.NotASocketError: if nothing goes by it, or what does is no socket.
    :raises sockcrash.errors.UsageError: if several sockets do, or it is no SPEC.
    """
    kernel = kernel_of_program(prog)
    return object_of(kernel, handle_of(kernel, spec))


@takes_program_or_default
def sk_kind(prog: Program, sk: Object | SocketRecord | int | str) -> str:
    """
    Tell which kind of socket object this is, before its struct is read.

    TCP's TIME_WAIT and NEW_SYN_RECV objects are shorter than a ``struct sock``. (drgn's ``sk_fullsock()`` takes a
    SYN_RECV socket for one of those, and a NEW_SYN_RECV object for none.)

    >>> sk_kind(sk)
    'tcp'

    :param sk: ``struct sock *``, or anything that :func:`find_sock()` takes.
    :return: ``tcp``, ``tcp-timewait``, ``tcp-request``, ``mptcp``, ``udp``, ``udplite``, ``raw``, ``ping``, ``unix``,
        ``packet``, ``netlink``, ``vsock``, ``xdp``, ``inet`` or ``other``.
    :raises drgn.FaultError: if its first members can't be read.
    """
    return handle_of(kernel_of_program(prog), sk).kind.name


@takes_program_or_default
def for_each_sock(
    prog: Program,
    *,
    kind: str | None = None,
    netns: Object | int | str | None = None,
    filter: str | None = None,
) -> Iterator[Object]:
    """
    Iterate over all sockets of all families: in the tables of the kernel, held by processes, MPTCP's subflows.

    >>> for sk in for_each_sock(kind="udp", filter="recv_q > 0"):
    ...     print(hex(sk), sk.sk_rcvbuf)

    :param kind: Only this kind, as :func:`sk_kind()` names it.
    :param netns: Only this namespace: ``struct net *``, its inode, or ``NAME``, ``ino:N``, ``pid:N``.
    :param filter: Only those that this filter selects, in the language of ``sockcrash list``.
    :return: Iterator of ``struct sock *``; of mini sockets ``struct tcp_timewait_sock *`` and
        ``struct tcp_request_sock *``.
    :raises sockcrash.errors.UsageError: if there is no such kind, or the filter is none.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"{kind!r} is no kind of socket", hint=f"there are {', '.join(KINDS)}")
    kernel = kernel_of_program(prog)
    inode = netns_inode(kernel, netns)
    matches = None
    if filter is not None:
        from sockcrash.filter import parse_filter

        matches = _matcher(kernel, parse_filter(filter))
    return (
        object_of(kernel, handle)
        for handle in all_sockets(kernel, complain)
        if kind in (None, handle.kind.name)
        and in_namespace(kernel, handle, inode, complain)
        and (matches is None or matches(handle))
    )


@takes_program_or_default
def for_each_tcp_sock(
    prog: Program,
    *,
    netns: Object | int | str | None = None,
    filter: str | None = None,
) -> Iterator[Object]:
    """
    Iterate over TCP sockets: listeners, connections, orphans; no mini sockets.

    >>> sum(tp.packets_out.value_() for tp in for_each_tcp_sock())
    42

    :param netns: As of :func:`for_each_sock()`.
    :param filter: As of :func:`for_each_sock()`.
    :return: Iterator of ``struct tcp_sock *``.
    """
    return map(tcp_sk, for_each_sock(prog, kind="tcp", netns=netns, filter=filter))


def _matcher(kernel: Kernel, selected: Filter) -> Callable[[Handle], bool]:
    selected.resolve(lambda name: find_netns(kernel, name, complain))
    owners = Owners(kernel, complain, many=True) if "owners" in selected.want.parts else None
    options = OptionReader(kernel, complain, names=selected.options) if selected.options else None
    return lambda handle: selected.matches(decode(kernel, handle, owners, options, selected.want))
