# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lines of /proc/net, as Linux 6.12 printed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.locate.proc_text import clue_of
from sockcrash.locate.text import Reading, read_text

if TYPE_CHECKING:
    from sockcrash.locate.clue import Clue

TCP = (
    "   0: 0100007F:4261 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 997 1 {} 100 0 0 10 0 "
    "                      "
)
TIMEWAIT = "  12: 0100007F:BF06 0100007F:423F 06 00000000:00000000 03:00001234 00000000     0        0 0 3 {}"
TCP6 = (
    "   2: 00000000000000000000000001000000:B8A6 0000000000000000FFFF00000100007F:42CE 01 00000000:00000000 "
    "02:0001DCCE 00000000     0        0 891 2 {} 20 0 0 10 -1"
)
UDP = "   78: 0100007F:14EB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 691 2 {} 0       "
UNIX = "{}: 00000002 00000000 00010000 0001 01   692 /run/a name with spaces"
UNIX_UNNAMED = "{}: 00000003 00000000 00000000 0001 03  1209"
PACKET = "{} 2      3    0000   0     0 0      0      855   "
NETLINK = "{} 0   -4119      00000440 0        0        0     2        0        579     "
HIDDEN, REAL = "00000000d12617d3", "ffff8881a2b3c4d0"
HEADERS = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode   ",
    "  sl  local_address                         remote_address                        st tx_queue rx_queue",
    "Num       RefCount Protocol Flags    Type St Inode Path",
    "sk               RefCnt Type Proto  Iface R Rmem   User   Inode",
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode",
)  # fmt: skip


def only(line: str) -> Clue:
    """The one clue of a text in which nothing is wrong."""
    reading = read_text(line)
    assert reading.wrong == {}
    ((number, clue),) = reading.clues
    assert clue.how == f"/proc/net line {number}"
    return clue


@pytest.mark.parametrize(
    ("line", "kinds", "inode", "ends"),
    [
        (TCP, ("tcp", "tcp-timewait", "tcp-request"), 997, "127.0.0.1:16993-0.0.0.0:0"),
        (TIMEWAIT, ("tcp", "tcp-timewait", "tcp-request"), None, "127.0.0.1:48902-127.0.0.1:16959"),
        (TCP6, ("tcp", "tcp-timewait", "tcp-request"), 891, "[::1]:47270-[::ffff:127.0.0.1]:17102"),
        (UDP, ("udp", "udplite", "raw", "ping"), 691, "127.0.0.1:5355-0.0.0.0:0"),
        (UNIX, ("unix",), 692, "None"),
        (UNIX_UNNAMED, ("unix",), 1209, "None"),
        (PACKET, ("packet",), 855, "None"),
        (NETLINK, ("netlink",), 579, "None"),
    ],
)
@pytest.mark.parametrize("pointer", [HIDDEN, REAL, "0000000000000000"])
def test_lines(line: str, kinds: tuple[str, ...], inode: int | None, ends: str, pointer: str) -> None:
    clue = only(line.format(pointer))
    assert (clue.kinds, clue.inode, str(clue.ends)) == (kinds, inode, ends)
    assert clue.address == (int(REAL, 16) if pointer == REAL else None)


@pytest.mark.parametrize("header", HEADERS)
def test_headers(header: str) -> None:
    assert read_text(header) == Reading()


def test_what_grep_puts_in_front() -> None:
    assert only(f"/proc/net/tcp:{TCP.format(HIDDEN)}").inode == 997
    assert only(f"/proc/123/net/unix:{UNIX.format(REAL)}").address == int(REAL, 16)
    assert read_text(f"/proc/net/tcp6:{HEADERS[1]}") == Reading()


def test_words_are_in_the_order_of_their_machine() -> None:
    assert str(clue_of(TCP.format(HIDDEN), "", "<").ends) == "127.0.0.1:16993-0.0.0.0:0"
    assert str(clue_of(TCP.format(HIDDEN), "", ">").ends) == "1.0.0.127:16993-0.0.0.0:0"


@pytest.mark.parametrize(
    "line",
    [
        TCP.format(HIDDEN)[:60],
        TCP.format(HIDDEN).replace("997", "x"),
        UNIX.format(HIDDEN).replace("692", "-"),
        UNIX_UNNAMED.format(HIDDEN).replace("1209", "0"),
        PACKET.format(HIDDEN)[:-20],
    ],
)
def test_damaged_lines_are_refused(line: str) -> None:
    reading = read_text(f"{TCP.format(HIDDEN)}\n{line}\n")
    assert [number for number, _ in reading.clues] == [1]
    assert list(reading.wrong.values()) == [[2]]


def test_ss_and_proc_mixed() -> None:
    reading = read_text(
        f"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 sk:1\n{TCP.format(HIDDEN)}\nESTAB 0 0 127.0.0.1:1 127.0.0.1:2 sk:2\n"
    )
    assert [clue.how for _, clue in reading.clues] == ["ss line 1", "/proc/net line 2", "ss line 3"]


LINES = st.sampled_from([TCP, TIMEWAIT, TCP6, UDP, UNIX, UNIX_UNNAMED, PACKET, NETLINK]).map(
    lambda line: line.format(REAL)
)


@given(LINES, st.integers(0, 200), st.text(max_size=5))
def test_damage_is_a_clue_or_refused(line: str, at: int, damage: str) -> None:
    reading = read_text(line[:at] + damage + line[at + len(damage) :])
    assert all(clue.specific for _, clue in reading.clues)
