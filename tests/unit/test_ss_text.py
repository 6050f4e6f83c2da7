# SPDX-License-Identifier: LGPL-2.1-or-later
"""ss's text: every form that its options give, and what may stand between. Lines are as real ss prints them."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.locate.text import Reading, line_numbers, read_text

if TYPE_CHECKING:
    from sockcrash.locate.clue import Clue

TCP = ("tcp", "tcp-timewait", "tcp-request")


def only(text: str) -> Clue:
    """The one clue of a text in which nothing is wrong."""
    reading = read_text(text)
    assert reading.wrong == {}
    ((_, clue),) = reading.clues
    return clue


def refused(text: str) -> str:
    """Why nothing is found in a text."""
    reading = read_text(text)
    assert reading.clues == []
    (why,) = reading.wrong
    return why


def ends_of(clue: Clue) -> str:
    return str(clue.ends)


HEADERS = (
    "State      Recv-Q Send-Q       Local Address:Port        Peer Address:Port Process",
    "Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:PortProcess",
    "Netid  State      Recv-Q Send-Q Local Address:Port                 Peer Address:Port                ",
    "State      Recv-Q Send-Q        Local Address:Port          Peer Address:Port\nProcess",
    "Netid State  Recv-Q\nSend-Q Local Address:Port\n  Peer Address:PortProcess",
    "spilled keysState  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process",
)


@pytest.mark.parametrize("header", HEADERS)
def test_headers_name_nothing_and_are_no_fault(header: str) -> None:
    assert read_text(header) == Reading()
    assert only(f"{header}\nESTAB 0 0 127.0.0.1:1 127.0.0.1:2").how == f"ss line {header.count(chr(10)) + 2}"


@pytest.mark.parametrize(
    ("line", "cookie", "inode", "ends", "kinds"),
    [
        (
            'tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=623,fd=3)) ino:623 '
            "sk:1001 cgroup:/system.slice/ssh.service <->",
            0x1001, 623, "0.0.0.0:22-0.0.0.0:0", TCP,
        ),
        (
            'LISTEN 0 16 *:8443 *:* users:(("liveconfig/SRVR",pid=3279783,fd=11),("liveconfig",pid=3279782,fd=11)) '
            "ino:788096034 sk:2016 cgroup:/system.slice/liveconfig.service v6only:1 <->        ",
            0x2016, 788096034, "*:8443-*:0", None,
        ),
        ("udp   UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* uid:101 ino:29400 sk:7 <->", 7, 29400,
         "127.0.0.53%lo:53-0.0.0.0:0", ("udp",)),
        ("ESTAB 0 0 [fe80::1]%eth0:546 [fe80::2]:547 ino:0 sk:9 <->", 9, None,
         "[fe80::1%eth0]:546-[fe80::2]:547", None),
        ("tcp ESTAB 0 0 ::1:631 ::1:40000", None, None, "[::1]:631-[::1]:40000", TCP),  # before iproute2 4.15
        ("tcp LISTEN 0 5 :::22 :::*", None, None, "[::]:22-[::]:0", TCP),
        ("udp UNCONN 0 0 fe80::1%eth0:546 :::*", None, None, "[fe80::1%eth0]:546-[::]:0", ("udp",)),
        ("ESTAB 0 0 [::ffff:127.0.0.1]:1 [::ffff:127.0.0.1]:2", None, None,
         "[::ffff:127.0.0.1]:1-[::ffff:127.0.0.1]:2", None),
        ("tcp ESTAB 0 0 127.0.0.1:ssh 127.0.0.1:41000", None, None, "127.0.0.1:22-127.0.0.1:41000", TCP),
        ("raw UNCONN 0 0 0.0.0.0:icmp 0.0.0.0:*", None, None, "0.0.0.0:1-0.0.0.0:0", ("raw", "ping")),
        ("TIME-WAIT 0 0 127.0.0.1:33156 127.0.0.1:16959 timer:(timewait,51sec,0) ino:0 sk:17b", 0x17B, None,
         "127.0.0.1:33156-127.0.0.1:16959", (*TCP, "mptcp")),
        ("p_raw UNCONN 0 0 [0]:* * ino:681 sk:22 ver:0 cpy_thresh:0 flags( 0 ) skmem:(r0,rb212992)", 0x22, 681,
         "None", ("packet",)),
        ("p_dgr UNCONN 0 0 *:eth0 * ino:682 sk:23", 0x23, 682, "None", ("packet",)),
        ("mptcp LISTEN 0 16 127.0.0.1:16992 0.0.0.0:* ino:1001 sk:142 cgroup:/ <->", 0x142, 1001,
         "127.0.0.1:16992-0.0.0.0:0", ("mptcp",)),
        ("sctp LISTEN 0 5 127.0.0.1:9 0.0.0.0:* ino:5 sk:6", 6, 5, "127.0.0.1:9-0.0.0.0:0", ()),
    ],
)  # fmt: skip
def test_records(
    line: str, cookie: int | None, inode: int | None, ends: str, kinds: tuple[str, ...] | None
) -> None:
    clue = only(line)
    assert (clue.cookie, clue.inode, ends_of(clue)) == (cookie, inode, ends)
    if kinds is not None:
        assert clue.kinds == kinds


def test_the_number_after_sk_was_an_address_before_linux_4_1() -> None:
    clue = only("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 ino:1234 sk:ffff88007861ec00 <->")
    assert clue.address == 0xFFFF88007861EC00
    assert only("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 ino:1234 sk:ffff8800").address is None


UNIX = [
    ("u_str LISTEN 0      5      /run/x.sock 692             * 0    skmem:(r0) <-> ino:8 dev:0/24 peers:", 692),
    ("u_str ESTAB  0      0                             * 1074            * 1073 <->   ", 1074),
    ("u_dgr UNCONN 0      0      /run/my sock/with 7 words 8971                 * 0                    ", 8971),
    ("u_dgr UNCONN 0 0 @abs trac 695 * 0 users:((\"a b\",pid=1,fd=2))", 695),
    ("u_str ESTAB 0 0 /run/dbus 100 /run/client 101", 100),  # with the peer's name, as old ones print it
    ("ESTAB 0 0 * 1210 * 1209", 1210),  # ss -A unix_stream
    ("LISTEN 0 5 /run/x 77 * 0", 77),
    ("u_str ESTAB 0 0 * 1209 * 1210 <-> ino:8 dev:0/24 peers: 5 6", 1209),
]  # fmt: skip


@pytest.mark.parametrize(("line", "inode"), UNIX)
def test_unix_sockets_go_by_the_inode_between_the_names(line: str, inode: int) -> None:
    """The ino: behind them is that of a file."""
    clue = only(line)
    assert (clue.kinds, clue.inode, clue.cookie) == (("unix",), inode, None)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (
            "nl     UNCONN     0      0      rtnl:kernel                 *                     ",
            ("netlink", 0, 0),
        ),
        ("nl UNCONN 0 0 rtnl:NetworkManager/878 *", ("netlink", 0, 878)),
        ("nl UNCONN 0 0 uevent:my proc/12 *", ("netlink", 15, 12)),
        ("nl UNCONN 0 0 uevent:-4118 *", ("netlink", 15, 2**32 - 4118)),
        (
            "UNCONN 4352   0                  4:268              *     sk=0 cb=0 groups=0x00000000",
            ("netlink", 4, 268),
        ),
        ("v_str ESTAB 0 0 1:5000 1:1234", ("vsock", 1, 5000, 1, 1234)),
        ("v_str LISTEN 0 0 *:5000 *:*", ("vsock", 2**32 - 1, 5000, 2**32 - 1, 2**32 - 1)),
    ],
)
def test_names_of_other_families(line: str, name: tuple[object, ...]) -> None:
    assert only(line).names == {name}


def test_lines_below_belong_to_the_record_above() -> None:
    text = (
        "ESTAB  0      0          127.0.0.1:55192    127.0.0.1:16992\n"
        "\t ino:1003 sk:143 cgroup:/ <->\n"
        "\t skmem:(r0,rb131072,t0) ts sack cubic wscale:7,7 rto:204 rtt:0.3/0.1 bytes_sent:5 ESTABx 1\n"
        "\n"
        "LISTEN 0      16         127.0.0.1:16992      0.0.0.0:*     ino:1001 sk:142\n"
        "\t subflows_max:2 remote_key token:4b6e4750 write_seq:c219044609db763a\n"
    )
    reading = read_text(text)
    assert reading.wrong == {}
    assert [(line, clue.cookie, clue.inode) for line, clue in reading.clues] == [
        (1, 0x143, 1003),
        (5, 0x142, 1001),
    ]


def test_windows_line_ends_and_indented_records() -> None:
    reading = read_text(
        "  ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 sk:1\r\n> ESTAB 0 0 127.0.0.1:3 127.0.0.1:4 sk:2\r\n"
    )
    assert reading.wrong == {}
    assert [clue.cookie for _, clue in reading.clues] == [1, 2]


def test_keys_that_ss_spills_in_front_of_a_record() -> None:
    assert (
        only(
            "\\246Kf\\230<\x07Fx\udcff 0 0LISTEN     0      16    10.77.1.1:16982   0.0.0.0:*  ino:1271 sk:16c"
        ).cookie
        == 0x16C
    )


# ---- what names of processes, sockets and cgroups can hold


@pytest.mark.parametrize(
    "users",
    [
        'users:(("a b",pid=1,fd=2))',
        'users:(("sk:7 ino:9",pid=1,fd=2))',
        'users:(("a)) sk:7",pid=1,fd=2))',
        'users:(("x",pid=1,fd=2),("b)) sk:7 ",pid=3,fd=4))',
        'users:(("say \\"hi\\"",pid=1,fd=2))',
        'users:(("",pid=1,fd=2))',
        'users:(("ESTAB 0 0 a b",pid=1,fd=2))',
        'users:(("x",pid=1,tid=2,fd=3))',
        'users:(("x",pid=1,proc_ctx=unconfined_u:unconfined_r:unconfined_t:s0,fd=3))',
        'users:(("sshd",1234,3),("sshd",1235,3))',
    ],
)
def test_names_of_processes_are_no_tokens(users: str) -> None:
    clue = only(f"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 {users} ino:5 sk:6 cgroup:/ sk:8 ino:10 <->")
    assert (clue.cookie, clue.inode) == (6, 5)


@pytest.mark.parametrize(
    "line",
    [
        'ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:(("a sk:7',  # a name with a newline in it
        "u_str LISTEN 0 5 /tmp/x 99 * 0 692 * 0 <->",  # a name that looks like the columns
        "u_str ESTAB 0 0 /run/x 0 * 0",  # not accepted yet
        "ESTAB 0 0 127.0.0.1:1",
        "ESTAB 0 0 host.example:1 127.0.0.1:2",
        "ESTAB 0 0 127.0.0.1:70000 127.0.0.1:2",
        "ESTAB 0 0 127.0.0.1:nosuchservice 127.0.0.1:2",
        "v_str UNCONN 0 0 *:* *:*",
        "tcp UNCONN 0 0 *:* *:*",
        "p_raw UNCONN 0 0 *:eth0 *",
        "Total: 59 (kernel 0)",
        "TCP:   16 (estab 3, closed 2, orphaned 1, timewait 2)",
        "$ ss -tan",
    ],
)
def test_what_names_no_socket_is_refused_without_repeating_it(line: str) -> None:
    why = refused(line)
    assert not set(why.split()) & {"host.example:1", "nosuchservice", "/tmp/x", "eth0", "59"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ESTAB 0 0 127.0.0.1:17000 127.0.0.1:39082 ino:5 sk:1", "001 cgroup:/ <->"),
        ("ESTAB 0 0 127.0.0.1:17000 127.0.0.1:39", "082 ino:5 sk:1001 cgroup:/ <->"),
        ("ESTAB 0 0 127.0.0.1:17000 127.0.0.1:39082 ino:1", "234"),
        ('ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:(("a', 'b",pid=1,fd=2)) ino:5 sk:6'),
    ],
)
def test_a_line_that_was_broken_in_two_is_not_trusted(first: str, second: str) -> None:
    assert refused(f"{first}\n{second}\n") in (
        "a line that was broken in two",
        "its users:((...)) has no end",
    )


def test_what_follows_a_record_without_being_part_of_it_does_not_spoil_it() -> None:
    reading = read_text("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 sk:1\nroot@host:~# exit\n")
    assert [clue.cookie for _, clue in reading.clues] == [1]
    assert reading.wrong == {"no socket in it": [2]}


def test_line_numbers() -> None:
    assert line_numbers([3]) == "line 3"
    assert line_numbers([9, 3, 8, 7]) == "lines 3, 7-9"
    assert line_numbers([1, 2]) == "lines 1-2"


# ---- anything at all

PIECES = st.sampled_from(
    [
        "ESTAB", "LISTEN", " ", "  ", "0", "127.0.0.1:1", "[::1]:2", "*:*", "users:((", '"a",pid=1,fd=2', "))",
        "ino:5", "sk:ff", "sk:ffffffffffffffff", "\n", "\n\t", "u_str", "nl", "v_str", "* 5 * 6", "@x", "<->", "\r",
        "\0", "\udcff", ":", "%lo", "   0: 0100007F:4261 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0",
        "        0 9 1 00000000d12617d3",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=8), max_size=40).map("".join))
def test_any_text_is_read(text: str) -> None:
    reading = read_text(text)
    for number, clue in reading.clues:
        assert 1 <= number <= text.count("\n") + 1
        assert clue.specific
    assert all(lines for lines in reading.wrong.values())


@pytest.mark.parametrize(
    "line",
    [
        "ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:((" + '("a",pid=1,fd=2),' * 20000,
        "ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 " + 'users:(("' * 20000,
        "ESTAB " * 50000,
        "u_str ESTAB 0 0 " + "/a 1 " * 20000,
        "u_str ESTAB 0 0 " + "* 1 " * 20000,
        "tcp " * 50000,
        "0" * 200000,
        " " * 200000 + "x",
        "Netid " * 50000 + "x",
        "ESTAB 0 0 " + "1:" * 50000,
        "ESTAB 0 0 [" + "%" * 50000 + "]:1 *:*",
        "0: " + "0" * 100000,
        "00000000: " + "00000000 " * 20000,
        "nl UNCONN 0 0 rtnl:" + "a/" * 50000,
    ],
)
def test_no_line_takes_long(line: str) -> None:
    started = time.process_time()
    read_text(line)
    assert time.process_time() - started < 2


def test_ten_thousand_records() -> None:
    text = "".join(
        f'ESTAB 0 0 10.0.{n >> 8}.{n & 255}:{n} 10.1.0.1:44 users:(("nginx",pid={n},fd={n})) ino:{n + 1} sk:{n + 1:x}\n'
        for n in range(10000)
    )
    started = time.process_time()
    assert len(read_text(text).clues) == 10000
    assert time.process_time() - started < 5


def test_the_words_of_services_are_those_of_this_machine() -> None:
    port = socket.getservbyname("domain", "udp")
    assert ends_of(only("udp UNCONN 0 0 127.0.0.53%lo:domain 0.0.0.0:*")) == f"127.0.0.53%lo:{port}-0.0.0.0:0"
