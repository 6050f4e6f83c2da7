# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which texts a UNIX socket's name answers to: what people type, what ss and /proc/net/unix print, and our own form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields_unix import UNIX, UNIX_ADDRESS

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("name_of", "spellings", "unescaped")

_FAMILY_BYTES = 2  # sockaddr_un.sun_family, before sun_path
_MAX_NAME = 1 << 12
_ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def spellings(name: bytes) -> set[str]:
    """How a name (an abstract one with its leading NUL) is written.

    ss and /proc/net/unix print ``@`` for every NUL of an abstract name; ``sockcrash`` only for the first one, and
    bytes that can't be printed as escapes (``unescaped`` takes those back).
    """
    if name[:1] != b"\0":
        return {_text(name)}
    return {_text(b"@" + name[1:]), _text(name.replace(b"\0", b"@"))}


def unescaped(text: str) -> str:
    """A text with the escapes of our own output taken back: ``\\x0a``, and two backslashes for one."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text
    raw = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"\\", raw)
    return _text(raw)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def name_of(kernel: Kernel, sk: int) -> bytes | None:
    """The name of the ``struct unix_sock *``, None if it has none or it can't be read; a path ends with its NUL."""
    try:
        (own,) = kernel.reader(UNIX).sections(sk)
        address = own["addr"]
        if not isinstance(address, int) or not address:
            return None
        (section,) = kernel.reader(UNIX_ADDRESS).sections(address)
        start, length = kernel.offsets(UNIX_ADDRESS)["name"], section["len"]
        if not isinstance(length, int) or not _FAMILY_BYTES < length <= _MAX_NAME:
            return None
        name = kernel.read(address + start, length)[_FAMILY_BYTES:]
    except drgn.FaultError:
        return None
    return name if name[:1] == b"\0" else name.split(b"\0", 1)[0]
