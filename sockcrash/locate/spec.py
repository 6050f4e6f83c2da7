# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a user's way of naming sockets is read: the text of a SPEC into its parts, without looking at any kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sockcrash.errors import UsageError

__all__ = ("FORMS", "Spec", "parse_spec")

FORMS = """\
A socket is named by one of:
  ffff8802305a0800, 0xffff8802305a0800   an address of struct sock, socket or file
  sk:1001              as ss -e prints it (hexadecimal)
  cookie:4097          SO_COOKIE's number (or cookie:0x1001)
  ino:12453            the inode, as in /proc/PID/fd: socket:[12453]
  fd:PID/FD            a descriptor
  pid:PID              all sockets of a process"""

_BARE = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9a-fA-F]{9,16}|0")


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed SPEC. ``form`` is address, sk, cookie, ino, fd or pid; ``number`` its number, ``fd`` the descriptor."""

    text: str
    form: str
    number: int
    fd: int | None = None


def parse_spec(text: str) -> Spec:
    """Parse one SPEC; UsageError shows the forms."""
    if _BARE.fullmatch(text):
        return Spec(text, "address", int(text, 16))
    form, colon, rest = text.partition(":")
    if not colon:
        raise UsageError(f"{text!r} names no socket", hint=FORMS)
    if form == "sk":
        return _sk(text, rest)
    if form == "fd":
        pid, slash, fd = rest.partition("/")
        if not slash:
            raise UsageError(f"{text!r}: a descriptor is named fd:PID/FD", hint=FORMS)
        return Spec(text, "fd", _number(text, pid), _number(text, fd))
    if form in ("cookie", "ino", "pid"):
        return Spec(text, form, _number(text, rest, hexadecimal=form == "cookie"))
    raise UsageError(f"{text!r} names no socket: {form}: is no form of SPEC", hint=FORMS)


def _sk(text: str, digits: str) -> Spec:
    if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,16}", digits):
        raise UsageError(f"{text!r}: after sk: come hexadecimal digits, as ss -e prints them", hint=FORMS)
    return Spec(text, "sk", int(digits, 16))


def _number(text: str, digits: str, *, hexadecimal: bool = False) -> int:
    if re.fullmatch(r"[0-9]{1,20}", digits):
        return int(digits)
    if hexadecimal and re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", digits):
        return int(digits, 16)
    raise UsageError(f"{text!r}: {digits!r} is no number", hint=FORMS)
