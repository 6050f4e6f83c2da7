# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a user's way of naming sockets is read: the text of a SPEC into its parts, without looking at any kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sockcrash.errors import UsageError
from sockcrash.locate.tuple import PROTOCOLS, Ends, parse_ends

__all__ = ("FORMS", "Spec", "parse_spec")

FORMS = """\
A socket is named by one of:
  ffff8802305a0800, 0xffff8802305a0800   an address of struct sock, socket or file
  sk:1001              as ss -e prints it (hexadecimal)
  cookie:4097          SO_COOKIE's number (or cookie:0x1001)
  ino:12453            the inode, as in /proc/PID/fd: socket:[12453]
  fd:PID/FD            a descriptor
  pid:PID              all sockets of a process
  tcp:127.0.0.1:975-192.168.1.200:2049   its two ends, IPv6 in brackets; also udp:, udplite:, raw:, mptcp:
  tcp:127.0.0.1:975, tcp::2049           either end, or just its port
  unix:/run/x.sock, unix:@abstract       the name of a UNIX socket
  diag:tcp, diag:udp:127.0.0.1:53      what the running kernel tells over sock_diag, of a kind, with such an end
  - or @FILE           text of ss, or lines of /proc/net/tcp and the like"""

_BARE = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9a-fA-F]{9,16}|0")


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed SPEC.

    ``form``: address, sk, cookie, ino, fd, pid, one of the protocols of ``tuple.PROTOCOLS``, unix, diag, or text.
    ``number`` belongs to the first six, ``fd`` to fd, ``ends`` to a protocol and diag; ``name`` is that of a UNIX
    socket, the kind of diag, or the path of a text, ``-`` for standard input; ``content`` the text itself once it has
    been read.
    """

    text: str
    form: str
    number: int = 0
    fd: int | None = None
    ends: Ends | None = None
    name: str = ""
    content: str | None = None

    @property
    def plural(self) -> bool:
        """Whether many sockets may go by it."""
        return self.form in ("pid", "unix", "diag", "text", *PROTOCOLS)


def parse_spec(text: str) -> Spec:
    """Parse one SPEC; UsageError shows the forms."""
    if _BARE.fullmatch(text):
        return Spec(text, "address", int(text, 16))
    if text == "-" or (text.startswith("@") and len(text) > 1):
        return Spec(text, "text", name=text.removeprefix("@"))
    form, colon, rest = text.partition(":")
    if not colon:
        raise UsageError(f"{text!r} names no socket.{_guess(text)}", hint=FORMS)
    if form == "sk":
        return _sk(text, rest)
    if form == "fd":
        pid, slash, fd = rest.partition("/")
        if not slash:
            raise UsageError(f"{text!r}: a descriptor is named fd:PID/FD", hint=FORMS)
        return Spec(text, "fd", _number(text, pid), _number(text, fd))
    if form in ("cookie", "ino", "pid"):
        return Spec(text, form, _number(text, rest, hexadecimal=form == "cookie"))
    if form in PROTOCOLS:
        return _of_ends(text, form, rest)
    if form == "diag":
        return _diag(text, rest)
    if form == "unix":
        if rest in ("", "@"):
            raise UsageError(f"{text!r}: after unix: comes a path, or @ and an abstract name", hint=FORMS)
        return Spec(text, "unix", name=rest)
    raise UsageError(f"{text!r} names no socket: {form}: is no form of SPEC.{_guess(text)}", hint=FORMS)


def _guess(text: str) -> str:
    """`` Did you mean ...?`` for a bare number, and an end that lacks its protocol; or an empty string."""
    if text.isascii() and text.isdigit():
        return f" Did you mean tcp::{text}, pid:{text} or ino:{text}?"
    try:
        _of_ends(text, "tcp", text)
    except UsageError:
        return ""
    return f" Did you mean tcp:{text}?"


def _sk(text: str, digits: str) -> Spec:
    if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,16}", digits):
        raise UsageError(f"{text!r}: after sk: come hexadecimal digits, as ss -e prints them", hint=FORMS)
    return Spec(text, "sk", int(digits, 16))


def _of_ends(text: str, protocol: str, rest: str) -> Spec:
    try:
        return Spec(text, protocol, ends=parse_ends(rest, protocol))
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}", hint=FORMS) from None


def _diag(text: str, rest: str) -> Spec:
    from sockcrash.locate.sock_diag import KINDS

    kind, colon, ends = rest.partition(":")
    if kind not in KINDS:
        raise UsageError(f"{text!r}: after diag: comes one of {', '.join(KINDS)}", hint=FORMS)
    if colon and kind not in PROTOCOLS:
        raise UsageError(f"{text!r}: {kind} sockets have no ends to choose by", hint=FORMS)
    return Spec(text, "diag", ends=_of_ends(text, kind, ends).ends if colon else None, name=kind)


def _number(text: str, digits: str, *, hexadecimal: bool = False) -> int:
    if re.fullmatch(r"[0-9]{1,20}", digits):
        return int(digits)
    if hexadecimal and re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", digits):
        return int(digits, 16)
    raise UsageError(f"{text!r}: {digits!r} is no number", hint=FORMS)
