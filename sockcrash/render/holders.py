# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who holds a socket: in a sentence, in a word, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sockcrash.model import Absent, Owner, SocketRecord
from sockcrash.render.escape import printable
from sockcrash.render.units import end, show

__all__ = ("holder_text", "holder_word", "holders_text", "other_end_lines", "owner_object")

_ADDRESSES = frozenset({"listener", "socket"})
# What JSON has of each kind; a value that is not known is null.
_KEYS: dict[str, tuple[str, ...]] = {
    "accept-queue": ("listener",),
    "io-uring": ("pid", "comm", "fd"),
    "kernel": ("user", "callback", "module", "program", "remote"),
    "mptcp-subflow": ("socket",),
    "request": ("listener",),
    "scm-rights": ("socket", "depth"),
    "sockmap": ("map", "user", "pid", "comm", "fd"),
}


def owner_object(owner: Owner) -> dict[str, Any]:
    """The JSON object of one owner."""
    if owner.kind == "fd":
        return {"kind": "fd", "pid": owner.pid, "comm": owner.comm, "fd": owner.fd}
    made: dict[str, Any] = {"kind": owner.kind}
    for key in _KEYS.get(owner.kind, ()):
        value = getattr(owner, key)
        made[key] = f"{value:#x}" if key in _ADDRESSES and value is not None else value
    return made


def holders_text(owners: tuple[Owner, ...] | Absent, peer: str = "") -> str:
    """All of them, for a person who knows the socket's ``peer``."""
    if isinstance(owners, Absent):
        return show(owners)
    return ", ".join(holder_text(owner, peer) for owner in owners) or "no descriptor"


def other_end_lines(record: SocketRecord) -> Iterator[str]:
    """The sockets at the other end, if they are on this kernel, and who holds them; why that can't be told."""
    if not isinstance(record.other_end, tuple):
        if record.other_end is not None and record.other_end.lost:
            yield show(record.other_end)
        return
    for one in record.other_end:
        elsewhere = "" if one.netns == record.netns else f" in netns {show(one.netns)}"
        yield f"{one.kind} {one.address:#x}{elsewhere}, held by {holders_text(one.owners, end(record.local))}"


def holder_text(owner: Owner, peer: str = "") -> str:
    """One of them in a few words."""
    if owner.kind == "kernel":
        return _kernel(owner, peer)
    said = _SAID.get(owner.kind)
    return owner.kind if said is None else said(owner)


def holder_word(owner: Owner) -> str:
    """One of them for a column: ``nginx(12):3``, or its kind; of the kernel, whose it is."""
    if owner.kind == "fd":
        return f"{printable(owner.comm or '?')}({owner.pid}):{owner.fd}"
    if owner.kind == "kernel" and owner.user:
        return f"kernel:{printable(owner.user.replace(' ', '-'))}"
    return owner.kind


def _task(owner: Owner) -> str:
    return f"{printable(owner.comm or '?')} (pid {owner.pid}) fd {owner.fd}"


def _address(value: int | None) -> str:
    return "unknown" if value is None else f"{value:#x}"


def _in_flight(owner: Owner) -> str:
    nested = ", which is in flight itself" if (owner.depth or 1) > 1 else ""
    return f"in flight (SCM_RIGHTS) in the queue of UNIX socket {_address(owner.socket)}{nested}"


def _sockmap(owner: Owner) -> str:
    name = f" {printable(owner.user)}" if owner.user else ""
    holder = "" if owner.pid is None else f" of {_task(owner)}"
    return f"sockmap{name} (BPF map {owner.map}){holder}"


def _kernel(owner: Owner, peer: str) -> str:
    if owner.user is None:
        return "the kernel"
    program = f", program {printable(owner.program)}" if owner.program else ""
    remote = f", the other side is {owner.remote}" if owner.remote and owner.remote != peer else ""
    called = f" ({owner.callback})" if owner.callback else ""
    return f"the kernel: {printable(owner.user)}{called}{program}{remote}"


_SAID: dict[str, Callable[[Owner], str]] = {
    "fd": _task,
    "accept-queue": lambda owner: (
        f"not accepted yet: the accept queue of listener {_address(owner.listener)}"
    ),
    "io-uring": lambda owner: f"a fixed file of the io_uring of {_task(owner)}",
    "mptcp-subflow": lambda owner: f"MPTCP socket {_address(owner.socket)}",
    "orphan": lambda _: "nobody: closed by its process, the kernel finishes it",
    "request": lambda owner: f"the handshake queue of listener {_address(owner.listener)}",
    "scm-rights": _in_flight,
    "sockmap": _sockmap,
    "timewait": lambda _: "the kernel (TIME_WAIT)",
}
