# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a setsockopt(2) can be seen on its way through the kernel: functions, their arguments, members behind them.

Written as fetch arguments of tracefs's kprobe events (Documentation/trace/kprobetrace.rst). Positions of arguments:
net/socket.c, __sys_setsockopt(); security/security.c, security_socket_setsockopt(); io_uring, io_uring_cmd_sock().
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sockcrash.kernel.fields import IDENTITY, row
from sockcrash.kernel.layout import Group

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("HEAD", "VALUE_BYTES", "Place", "places", "runs")

_HEAD_NAMES = (
    "skc_family", "skc_state", "skc_daddr", "skc_rcv_saddr", "skc_dport", "skc_num", "skc_v6_daddr", "skc_v6_rcv_saddr",
)  # fmt: skip
HEAD = Group(
    "head",
    (
        *IDENTITY.narrowed(_HEAD_NAMES).fields,
        row("sk_type", "struct sock"),
        row("sk_protocol", "struct sock"),
    ),
)
"""What a traced call says of its socket: members of struct sock, of which ``runs`` are fetched."""

_URING_SETSOCKOPT = 3  # enum io_uring_socket_op, SOCKET_URING_OP_SETSOCKOPT
_WORD = 8
_GAP = 3  # words between two others that cost no more than a second fetch argument
VALUE_BYTES = 32
"""How much of a value is read at the entry of a call: each word costs. A longer one has its second half elsewhere."""

_SOCKET = Group(
    "socket of a call",
    (
        row("sk", "struct socket"),
        row("socket", "struct socket_alloc"),
        row("inode", "struct socket_alloc", "vfs_inode.i_ino"),
    ),
)
# net/ipv4/igmp.c, ip_mc_source(); net/ipv6/mcast.c, ip6_mc_source()
_SOURCES = Group(
    "source of a request",
    (
        row("source4", "struct ip_mreq_source", "imr_sourceaddr"),
        row("source6", "struct group_source_req", "gsr_source"),
    ),
)
# 2d2e5ff79d1d (v6.7): optlen came with the operation itself.
_URING = Group(
    "command of io_uring",
    (
        row("sqe", "struct io_uring_cmd"),
        *(
            row(name, "struct io_uring_sqe")
            for name in ("cmd_op", "fd", "level", "optname", "optlen", "optval")
        ),
    ),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A function to be probed: at its entry the fetch arguments ``fetch``; ``value`` are those that read the option,
    ``head`` those that read HEAD.

    ``returns``: at its return instead. ``only`` is a condition on the arguments that a call must meet.
    """

    name: str
    function: str
    fetch: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    returns: bool = False
    only: str = ""


def places(kernel: Kernel) -> tuple[Place, ...]:
    """The functions of this kernel. ``enter``, ``socket``, ``source*`` and ``exit`` of system calls, ``uring_*`` of
    io_uring."""
    enter = ("fd=$arg1:s32", "level=$arg2:s32", "optname=$arg3:s32", "optlen=$arg5:s32")
    found = [
        Place("enter", "__sys_setsockopt", enter, _value("$arg4")),
        _socket(kernel),
        Place("exit", "__sys_setsockopt", ("ret=$retval:s32",), returns=True),
        *_sources(kernel),
        *_uring(kernel),
    ]
    return tuple(one for one in found if _exists(kernel, one.function))


def _value(pointer: str) -> tuple[str, ...]:
    """``mapped`` is a string because the kernel tells of those alone whether they could be read: a value may lie in a
    page that is not in memory yet. Numbers are then what the buffer held before."""
    return (
        f"at={pointer}:x64",
        f"mapped=+0({pointer}):ustring",
        f"value=+0({pointer}):x64[{VALUE_BYTES // _WORD}]",
    )


def runs(kernel: Kernel) -> dict[str, tuple[int, int]]:
    """Where in a struct sock the words are that HEAD is in: fetch argument -> byte offset, number of words."""
    spots = [bound.spot for bound in kernel.bounds(HEAD) if bound.spot]
    words = {
        word
        for one in spots
        for word in range(one.offset // _WORD, -(-(one.offset + one.size * one.count) // _WORD))
    }
    found: list[list[int]] = []
    for word in sorted(words):
        if found and word - found[-1][1] <= _GAP:
            found[-1][1] = word + 1
        else:
            found.append([word, word + 1])
    return {f"head{first * _WORD}": (first * _WORD, end - first) for first, end in found}


def _socket(kernel: Kernel) -> Place:
    at = kernel.offsets(_SOCKET)
    sk = f"+{at['sk']}($arg1)"
    fetch = (f"sk={sk}:x64", f"inode={at['inode'] - at['socket']:+}($arg1):u64")
    head = (f"{name}=+{offset}({sk}):x64[{words}]" for name, (offset, words) in runs(kernel).items())
    return Place("socket", "security_socket_setsockopt", fetch, head=tuple(head))


def _sources(kernel: Kernel) -> tuple[Place, ...]:
    """Where the source of a multicast request is seen: it lies too far behind to be read of every value."""
    at = kernel.offsets(_SOURCES)
    if len(at) < len(_SOURCES.fields):
        return ()
    return (
        Place("source4", "ip_mc_source", (f"source=+{at['source4']}($arg4):x32[1]",)),
        Place("source6", "ip6_mc_source", (f"source=+{at['source6']}($arg4):x64[3]",)),
    )


def _uring(kernel: Kernel) -> tuple[Place, ...]:
    """Nothing where io_uring has no such operation."""
    at = kernel.offsets(_URING)
    if len(at) < len(_URING.fields):
        return ()
    entry = f"+{at['sqe']}($arg1)"
    optval = f"+{at['optval']}({entry})"
    fetch = (
        f"op=+{at['cmd_op']}({entry}):s32",
        *(f"{name}=+{at[name]}({entry}):s32" for name in ("fd", "level", "optname")),
        f"optlen=+{at['optlen']}({entry}):s32",
    )
    return (
        Place("uring_enter", "io_uring_cmd_sock", fetch, _value(optval), only=f"op == {_URING_SETSOCKOPT}"),
        Place("uring_exit", "io_uring_cmd_sock", ("ret=$retval:s32",), returns=True),
    )


def _exists(kernel: Kernel, function: str) -> bool:
    try:
        kernel.prog.symbol(function)
    except LookupError:
        return False
    return True
