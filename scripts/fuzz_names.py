# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cases of scripts/fuzz: SPECs, texts of ss and of /proc/net, and datagrams of sock_diag, damaged in many ways."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, repeat
from random import Random
from typing import TYPE_CHECKING

from sockcrash.errors import UsageError
from sockcrash.locate import sock_diag_inet, sock_diag_others
from sockcrash.locate.netlink import DiagError, attributes, collect
from sockcrash.locate.netns import check_netns
from sockcrash.locate.spec import parse_spec
from sockcrash.locate.text import read_text
from sockcrash.locate.unix_name import spellings, unescaped

if TYPE_CHECKING:
    from sockcrash.locate.answer import Answer
    from sockcrash.locate.tuple import Ends

SPECS = (
    "ffff8802305a0800", "0x0", "sk:1001", "cookie:0x1001", "ino:12453", "fd:1/7", "pid:1", "udp::53", "unix:/run/x",
    "tcp:127.0.0.1:975-192.168.1.200:2049", "tcp:[fe80::1%br-lan]:80-[::ffff:1.2.3.4]:http", "raw:*:icmp-1.2.3.4:*",
    r"unix:@a\x00b\\", "-", "@f",
)  # fmt: skip
LINES = (
    'tcp   LISTEN 0      128    0.0.0.0:22      0.0.0.0:*    users:(("sshd",pid=623,fd=3)) ino:623 sk:1001 cgroup:/a',
    "ESTAB  0      0     [fe80::1]%lo:55192    [::1]:16992 timer:(keepalive,545min,0) ino:1003 sk:143 v6only:1 <->",
    "\t skmem:(r0,rb131072,t0,tb2626560) ts sack cubic wscale:7,7 rto:204 rtt:0.3/0.1 bytes_sent:5",
    "u_str ESTAB  0      0         /run/a b 1074            * 1073 <-> ino:8 dev:0/24 peers: 5 6",
    "nl UNCONN 0 0 rtnl:Network Manager/878 * sk=0 cb=0 groups=0x00000000",
    "v_str ESTAB 0 0 1:5000 *:1234",
    "p_raw UNCONN 0 0 [0]:eth0 * ino:681 sk:22 flags( 0 )",
    "Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess",
    "   0: 0100007F:4261 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 997 1 "
    "ffff8881a2b3c4d0 100 0 0 10 0",
    "  12: 00000000000000000000000001000000:BF06 00000000000000000000000000000000:423F 06 00000000:00000000 "
    "03:00001234 00000000     0        0 0 3 0000000000000000",
    "00000000d12617d3: 00000002 00000000 00010000 0001 01   692 /run/x",
    "ffff8881a2b3c4d0 0   -4119      00000440 0        0        0     2        0        579",
    "",
)  # fmt: skip
CHARACTERS = " \t\n\r\0:%-*[]()\"',.@/\\x0fF9\x1b\udcff\u0661é"
READERS: tuple[Callable[[bytes], Answer], ...] = (
    *(sock_diag_inet.answer(kind) for kind in sock_diag_inet.PROTOCOLS),
    sock_diag_others.unix_answer,
    sock_diag_others.packet_answer,
    sock_diag_others.netlink_answer,
    sock_diag_others.vsock_answer,
)
NUMBER = 77
LONGEST = 1 << 17


def damaged(random: Random, text: str) -> str:
    """A text with something inserted, cut, doubled or exchanged."""
    for _ in range(random.choice((0, 1, 1, 2, 5, 20))):
        at, other = random.randrange(len(text) + 1), random.randrange(len(text) + 1)
        way = random.randrange(5)
        if way == 0:
            text = text[:at] + random.choice(CHARACTERS) + text[at:]
        elif way == 1:
            text = text[:at] + text[at + random.randrange(1, 9) :]
        elif way == 2:
            piece = text[min(at, other) : max(at, other)]
            text = text[:at] + piece * min(random.choice((1, 2, 50)), LONGEST // (len(text) + 1)) + text[at:]
        elif way == 3:
            text = text[:at] + random.choice(CHARACTERS) * random.choice((1, 8, 1000)) + text[at + 1 :]
        else:
            text = text[:at] + chr(random.randrange(1, 0x3000)) + text[at + 1 :]
    return text


def try_specs(random: Random) -> None:
    """Read a SPEC and a namespace; what was read as ends is written as such again."""
    for _ in range(50):
        text = damaged(random, random.choice(SPECS))
        with suppress(UsageError):
            check_netns(text)
        unescaped(text)
        try:
            spec = parse_spec(text)
        except UsageError:
            continue
        if spec.ends is not None and spec.ends.scopes <= {"lo"}:
            again: Ends | None = parse_spec(f"{spec.form}:{spec.ends}").ends
            assert again == spec.ends, text
    spellings(random.randbytes(random.randrange(1, 110)))


def try_texts(random: Random) -> None:
    """Read a text of many lines."""
    lines = [damaged(random, random.choice(LINES)) for _ in range(random.randrange(60))]
    text = random.choice(("\n", "\n", "\r\n", "\n\t", " ")).join(lines)
    reading = read_text(damaged(random, text), random.choice("<>"))
    assert all(clue.specific and number >= 1 for number, clue in reading.clues)


def datagrams(random: Random) -> Iterator[bytes]:
    """Some answers and an end, damaged."""
    for _ in range(random.randrange(4)):
        data = bytearray()
        for _ in range(random.randrange(1, 5)):
            body = random.randbytes(random.choice((0, 4, 16, 72, 72, 100, 300)))
            if body and random.randrange(2):
                body = bytes([random.choice((1, 2, 10, 16, 17, 40))]) + body[1:]
            kind = random.choice((20, 20, 20, 2, 3, 1, 4, random.randrange(1 << 16)))
            length = random.choice((16 + len(body), 16 + len(body), random.randrange(1 << 8), 0xFFFFFFFF))
            data += (
                struct.pack("=IHHII", length, kind, random.choice((2, 0x12)), random.choice((NUMBER, 1)), 0)
                + body
            )
            data += bytes(-len(data) % 4)
        if data and random.randrange(3) == 0:
            data[random.randrange(len(data))] = random.randrange(256)
        yield bytes(data)
    yield struct.pack("=IHHIIi", 20, 3, 2, NUMBER, 0, random.choice((0, -2, 7)))


def try_datagrams(random: Random) -> None:
    """Gather and read answers."""
    for _ in range(50):
        with suppress(DiagError):
            for body in collect(chain(datagrams(random), repeat(b"", 3)), NUMBER).bodies:
                for read in READERS:
                    with suppress(DiagError):
                        read(body)
                with suppress(DiagError):
                    attributes(body, random.randrange(40))


def try_names(random: Random) -> None:
    """One case of one of them."""
    random.choice((try_specs, try_texts, try_texts, try_datagrams))(random)
