# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one socket option is: where its value lies, how getsockopt(2) writes it, what an untouched socket holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sockcrash.kernel.layout import Convert, Field, Place
from sockcrash.kernel.options.origins import Origin, differs
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockcrash.kernel.options.codecs import Codec
    from sockcrash.kernel.options.settings import Setting

__all__ = (
    "EVERY_KIND",
    "INET_KINDS",
    "LEVELS",
    "SET_ONLY",
    "Default",
    "Option",
    "absent",
    "bit",
    "field",
    "first_lost",
    "no_trace",
    "nonzero",
)

# Option levels of include/linux/socket.h and include/uapi/linux/in.h; AF_VSOCK is its own level.
LEVELS = {
    "SOL_SOCKET": 1, "IPPROTO_IP": 0, "IPPROTO_TCP": 6, "IPPROTO_IPV6": 41, "IPPROTO_UDP": 17, "IPPROTO_UDPLITE": 136,
    "IPPROTO_ICMPV6": 58, "SOL_RAW": 255, "SOL_MPTCP": 284, "SOL_TLS": 282, "SOL_PACKET": 263, "SOL_NETLINK": 270,
    "SOL_XDP": 283, "AF_VSOCK": 40,
}  # fmt: skip

INET_KINDS = ("tcp", "udp", "udplite", "raw", "ping", "inet")
EVERY_KIND = (*INET_KINDS, "mptcp", "unix", "packet", "netlink", "vsock", "xdp", "other")


@dataclass(frozen=True, slots=True)
class Default:
    """What an untouched socket holds: ``by(context, *inputs)``, and the sysctl that it comes from, if any."""

    by: Callable[..., Any]
    source: Setting | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A row: one option of one level.

    ``fields`` are the members that make the value: ``value(context, *fields)``, or the first of them as it is.
    ``marks`` are further members that only ``default``, ``origin`` and ``text`` look at; those get fields and marks.
    A field that is absent makes the value absent, unless the row is ``lenient`` and the field is not lost. ``default``
    is a plain value or a Default; None stands for facts, which have none. ``kinds`` and ``families`` say which sockets
    have the option. ``also`` names other levels at which the kernel answers it alike. ``text(context, value, *inputs)``
    and ``bytes_of(context, value, *inputs)`` stand for the codec's where those aren't enough. getsockopt(2) gives it in
    kernels that have all of ``given``; ``raw`` is the reason why its bytes are never shown. ``fresh`` rows look at the
    clock, or at what their first field points to, so that equal fields don't mean equal values unless the first is 0.
    ``carried`` is the index of the field by which an accepted socket is compared with its listener, where that is not
    the value; what accept(2) does not take over from the listener is not ``inherited``.
    """

    level: str
    name: str
    number: int
    codec: Codec
    fields: tuple[Field, ...] = ()
    value: Callable[..., Any] | None = None
    default: Any = None
    origin: Origin = differs
    marks: tuple[Field, ...] = ()
    kinds: tuple[str, ...] = EVERY_KIND
    families: tuple[int, ...] = ()
    also: tuple[str, ...] = ()
    text: Callable[..., str] | None = None
    bytes_of: Callable[..., bytes] | None = None
    given: tuple[Field, ...] = ()
    raw: Absent | None = None
    lenient: bool = False
    fresh: bool = False
    carried: int | None = None
    inherited: bool = True


def field(ctype: str, *paths: str | Place, name: str = "", shared: bool = False) -> Field:
    """A Field of ``struct ctype`` with its places, newest first; its name is the first path unless one is given."""
    places = tuple(path if isinstance(path, Place) else Place(path) for path in paths)
    return Field(name or places[0].path, f"struct {ctype}", places, shared=shared)


def nonzero(ctype: str, path: str) -> Field:
    """Whether a member is not 0, for rules that ask no more: many sockets have that alike."""
    return Field(f"{path} raw", f"struct {ctype}", (Place(path),), (Convert(path, "nonzero"),))


def bit(ctype: str, path: str, enumerator: str, *older: Place, name: str = "") -> Field:
    """One bit of a member by the name of its enumerator, and where older kernels keep it."""
    return Field(name or enumerator, f"struct {ctype}", (Place(path, bit=enumerator), *older))


def absent(why: str, reason: Reason = Reason.NOT_APPLICABLE) -> Absent:
    """A value that is not there, and why."""
    return Absent(reason, why)


def first_lost(values: Iterable[Any]) -> Absent | None:
    """The first of some members that can't be told."""
    return next((one for one in values if one.__class__ is Absent and one.lost), None)


def no_trace(why: str) -> dict[str, Any]:
    """Of an option whose effect can't be seen in memory: its value, and why there is none."""
    gone = absent(why)
    return {"value": lambda *_: gone, "raw": gone}


SET_ONLY = absent("set-only: getsockopt does not return it")
