# SPDX-License-Identifier: LGPL-2.1-or-later
"""One line of /proc/net/tcp, udp, raw (and their siblings of IPv6), unix, packet or netlink: what it says of a socket.

Its pointer is the real address where the reader was allowed to see it (``kernel.kptr_restrict`` 1 and CAP_SYSLOG); else
it is hashed to 32 bits or zero, and the inode names the socket.
"""

from __future__ import annotations

import re
import struct

from sockcrash.locate.clue import Clue
from sockcrash.locate.tuple import PROTOCOLS, End, Ends

__all__ = ("HEADER", "clue_of", "looks_like")

_POINTER = r"(?P<pointer>[0-9a-f]{8}|[0-9a-f]{16})"
_END = r"(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}"
# grep puts the name of the file in front when it looks through several.
_FILE = r"(?:\S*/net/\w+:)?\s*"
_INET = re.compile(
    rf"{_FILE}\d+: (?P<local>{_END}) (?P<peer>{_END}) [0-9A-F]{{2}} [0-9A-F]{{8,16}}:[0-9A-F]{{8,16}} "
    rf"[0-9A-F]{{2}}:[0-9A-F]{{8,16}} [0-9A-F]{{8,16}}\s+\d+\s+\d+ (?P<inode>\d+) \d+ {_POINTER}"
    r"(?P<more>(?: -?\d+)*)\s*"
)
_UNIX = re.compile(
    rf"{_FILE}{_POINTER}: [0-9A-F]{{8}} [0-9A-F]{{8}} [0-9A-F]{{8}} [0-9A-F]{{4}} [0-9A-F]{{2}} +(?P<inode>\d+)(?: .*)?"
)
_PACKET = re.compile(rf"{_FILE}{_POINTER} +\d+ +\d+ +[0-9a-f]{{4}} +-?\d+ +[01] +\d+ +\d+ +(?P<inode>\d+)\s*")
_NETLINK = re.compile(
    rf"{_FILE}{_POINTER} +\d+ +-?\d+ +[0-9a-f]{{8}} +-?\d+ +-?\d+ +\S+ +\d+ +\d+ +(?P<inode>\d+)\s*"
)
_FAMILIES = ((_UNIX, ("unix",)), (_PACKET, ("packet",)), (_NETLINK, ("netlink",)))
HEADER = re.compile(
    r"(\S*/net/\w+:)?\s*(sl +local_address|Num +RefCount +Protocol|sk +RefCnt +Type|sk +Eth +Pid)\b"
)
_SHAPE = re.compile(rf"(\S*/net/\w+:|\s*\d+: [0-9A-F]{{8,32}}:|{_POINTER}(: | +\d))")
_KERNEL_SPACE = 0xFF00000000000000
# Behind the pointer: the number of drops. /proc/net/tcp has nothing there (mini sockets), or five numbers.
_DATAGRAM = ("udp", "udplite", "raw", "ping")


def looks_like(line: str) -> bool:
    """Whether a line is one of /proc/net's, well-formed or not."""
    return _SHAPE.match(line) is not None


def clue_of(line: str, how: str, byte_order: str = "<") -> Clue:
    """The clue that a line gives; ``byte_order`` is that of the machine it is from. ValueError says what is wrong."""
    ends: Ends | None = None
    found = _INET.fullmatch(line)
    if found:
        kinds = _DATAGRAM if len(found["more"].split()) == 1 else PROTOCOLS["tcp"]
        ends = Ends(_end(found["local"], byte_order), _end(found["peer"], byte_order))
    else:
        found, kinds = next(
            ((m, kinds) for shape, kinds in _FAMILIES if (m := shape.fullmatch(line))), (None, ())
        )
    if found is None:
        raise ValueError("no complete line of a file in /proc/net")
    pointer = int(found["pointer"], 16)
    address = pointer if pointer >= _KERNEL_SPACE else None
    clue = Clue(how=how, kinds=kinds, address=address, inode=int(found["inode"]) or None, ends=ends)
    if not clue.specific:
        raise ValueError("nothing in it names a socket: no inode, and its pointer is hidden")
    return clue


def _end(text: str, byte_order: str) -> End:
    """``0100007F:4261``: 32-bit words as numbers of that machine, the port as people read it."""
    address, _, port = text.partition(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return End(struct.pack(f"{byte_order}{len(words)}I", *words), int(port, 16))
