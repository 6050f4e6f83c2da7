# SPDX-License-Identifier: LGPL-2.1-or-later
"""How options are written and judged: bytes as C lays them out, words, who wrote a value; all without a kernel."""

from __future__ import annotations

import struct
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockcrash.decode.options import _Blocks, _make
from sockcrash.kernel.clock import Clock
from sockcrash.kernel.options import BoundOption, ip, tcp
from sockcrash.kernel.options.codecs import BLOB, INT, SWITCH, choice, fixed_text, flag_names, items, record
from sockcrash.kernel.options.context import Context
from sockcrash.kernel.options.origins import captured, differs, marked, unless
from sockcrash.kernel.options.row import Default, Option, field
from sockcrash.kernel.options.settings import RMEM_DEFAULT, TCP_KEEPALIVE_TIME, TCP_RMEM, WMEM_MAX
from sockcrash.kernel.options.sol_socket import ROWS as SOCKET_ROWS
from sockcrash.kernel.options.timeouts import INFINITE, TIMEVAL, timeval, timeval_text
from sockcrash.model import Absent, OptionValue, Reason

HZ = 250
GONE = Absent(Reason.NOT_IN_KERNEL)


def context(kind: str = "tcp", *, accepted: bool = False, **settings: Any) -> Context:
    """Surroundings without a kernel behind them."""
    known = {TCP_KEEPALIVE_TIME.name: 7200 * HZ, TCP_RMEM.name: 131072}
    known |= {RMEM_DEFAULT.name: 212992, WMEM_MAX.name: 212992}
    return Context(cast("Any", None), Clock(HZ, 0, 0), kind, 2, 0, {**known, **settings}, accepted)


def row(name: str, kind: str, rows: tuple[Option, ...] = SOCKET_ROWS) -> Option:
    """The row of a kind."""
    (found,) = (one for one in rows if one.name == name and kind in one.kinds)
    return found


def test_numbers_are_packed_as_c_does() -> None:
    assert INT.pack(-1, "<") == b"\xff\xff\xff\xff"
    assert INT.pack(0x80000000, "<") == struct.pack("<I", 0x80000000)
    assert INT.pack(1, ">") == b"\0\0\0\1"
    assert record("ii", ("onoff", "linger"), str).pack({"onoff": 1, "linger": 7}, "<") == struct.pack(
        "<ii", 1, 7
    )
    assert items("HBBI", str).pack([[6, 0, 0, 0xFFFF]], "<") == bytes.fromhex("06000000ffff0000")
    assert fixed_text(16).pack("cubic", "<") == b"cubic" + bytes(11)
    assert fixed_text(16).pack("", "<") == b""
    assert BLOB.pack("0102", "<") == b"\1\2"


def test_words() -> None:
    assert [SWITCH.text(value) for value in (0, 1, 2)] == ["off", "on", "2"]
    assert choice({0: "DONT"}).text(7) == "7"
    assert flag_names({1: "A", 2: "B"}, 0) == "0"
    assert flag_names({1: "A", 2: "B", 4: "C"}, 0x83) == "A|B|0x80"


@pytest.mark.parametrize(
    ("jiffies", "value", "words"),
    [
        (INFINITE, {"sec": 0, "usec": 0}, "none"),
        (0, {"sec": 0, "usec": 0}, "never wait"),
        (875, {"sec": 3, "usec": 500000}, "3.5 s"),
        (1, {"sec": 0, "usec": 4000}, "0.004 s"),
    ],
)
def test_timeouts(jiffies: int, value: dict[str, int], words: str) -> None:
    """sock_get_timeout(): infinite and "never wait" read alike, but don't mean the same."""
    assert timeval(context(), jiffies) == value
    assert timeval_text(context(), value, jiffies) == words
    assert TIMEVAL.pack(value, "<") == struct.pack("<qq", value["sec"], value["usec"])


@pytest.mark.parametrize(
    ("jiffies", "raw", "words"),
    [
        (3 * HZ, "0100000003000000", "on, 3 s"),
        (INFINITE, "01000000df4f8d97", "on, without end"),  # as Linux 7.2 answers after l_linger = -1
    ],
)
def test_lingering(jiffies: int, raw: str, words: str) -> None:
    one = row("SO_LINGER", "tcp")
    assert one.value
    assert one.text
    value = one.value(context(), 1, jiffies)

    assert one.codec.pack(value, "<") == bytes.fromhex(raw)
    assert one.text(context(), value, 1, jiffies) == words


def test_a_time_to_linger_that_no_kernel_writes_is_none() -> None:
    one = row("SO_LINGER", "tcp")
    assert one.value
    with pytest.raises(struct.error):
        one.codec.pack(one.value(context(), 1, 1 << 62), "<")


@pytest.mark.parametrize(("count", "seconds"), [(0, 0), (1, 1), (2, 3), (3, 7), (8, 247)])
def test_deferred_accept_is_a_sum_of_doubling_time_outs(count: int, seconds: int) -> None:
    """The kernel's own figures: 1, 2, 4 ... up to 120 seconds; setting 5 reads as 7."""
    assert tcp.seconds_of_retransmissions(count) == seconds


def test_origins() -> None:
    here = context()

    assert [differs(here, value, 0) for value in (0, 1)] == ["default", "set"]
    assert [captured(here, value, 1) for value in (1, 0)] == ["default", None]
    assert [marked(1)(here, 5, 5, "own", mark) for mark in (0, 1)] == ["default", "set"]
    assert marked(1)(here, 6, 5, "own", 0) == "kernel"
    assert unless(lambda _c, value, *_: value == 2, None)(here, 2, 0) is None


def test_keepalive_time_is_a_setting_until_it_is_set() -> None:
    one = row("TCP_KEEPIDLE", "tcp", tcp.ROWS)
    assert one.value
    assert isinstance(one.default, Default)

    assert one.value(context(), 0) == 7200
    assert one.value(context(), 77 * HZ) == 77
    assert one.default.by(context(), 77 * HZ) == 7200
    # Set to just what the sysctl says: the mark tells.
    assert one.origin(context(), 7200, 7200, 7200 * HZ) == "set"
    assert one.value(context(**{TCP_KEEPALIVE_TIME.name: GONE}), 0) is GONE


@pytest.mark.parametrize(
    ("kind", "size", "locks", "origin", "words"),
    [
        ("tcp", 131072, 0, "default", "131072 bytes"),
        ("tcp", 400000, 0, "kernel", "400000 bytes"),
        ("tcp", 400000, 2, "set", "400000 bytes (asked for 200000)"),
        ("tcp", 131072, 2, None, "131072 bytes (locked)"),
        ("tcp", 2304, 2, "set", "2304 bytes (asked for 1152 or less)"),
        ("udp", 60000, 0, None, "60000 bytes"),
        ("udp", 60000, 1, None, "60000 bytes"),
    ],
)
def test_receive_buffers(kind: str, size: int, locks: int, origin: str | None, words: str) -> None:
    """The lock bit 2 is the receive buffer's; TCP tunes an unlocked one itself."""
    one = row("SO_RCVBUF", kind)
    default = one.default.by(context(kind))
    known = context(kind, **{"net.core.rmem_max": 212992})

    assert one.origin(known, size, default, size, locks, 0) == origin
    assert one.text
    assert one.text(known, size, size, locks, 0) == words


def test_a_priority_that_a_tos_explains_is_not_called_set() -> None:
    one = row("SO_PRIORITY", "udp")

    assert one.origin(context("udp"), 6, 0, 6, 0x10) is None
    assert one.origin(context("udp"), 5, 0, 5, 0x10) == "set"


@pytest.mark.parametrize(
    ("tos", "priority", "accepted", "origin"),
    [
        (0, 0, False, "default"),
        (2, 0, False, "kernel"),
        (0x10, 6, False, "set"),
        (0x10, 0, True, None),
        (0x10, 6, True, "set"),
    ],
)
def test_tos_of_tcp(tos: int, priority: int, accepted: bool, origin: str | None) -> None:
    """ECN bits are the kernel's; an accepted socket may reflect the SYN's, unless its priority was set with it."""
    one = row("IP_TOS", "tcp", ip.ROWS)

    assert one.origin(context(accepted=accepted), tos, 0, tos, priority) == origin


def undone(data: str, faddr: int = 0, **members: int) -> str:
    """IP options as getsockopt gives them, from what the kernel keeps."""
    names = ("optlen", "srr", "rr", "ts", "rr_needaddr", "ts_needtime", "ts_needaddr")
    content = bytearray.fromhex(data)
    ip._undo(content, (faddr, *(members.get(name, 0) for name in names)), "<")
    return content.hex()


def test_ip_options_are_given_back_as_they_were_set() -> None:
    """ip_options_compile() takes the first hop out of a source route, and makes room where routers will write."""
    route = undone("830b04" + "0a000002" * 2, faddr=0x0100000A, srr=20)
    record_route = undone("01070b08aabbccdd00000000", rr=21, rr_needaddr=1)
    times = undone("440c0900" + "11223344" * 2, ts=20, ts_needtime=1)

    assert route == "830b04" + "0a000001" + "0a000002"
    assert record_route == "01070b04" + "00000000" * 2
    assert times == "440c0500" + "00000000" + "11223344"


def test_differs_is_what_an_untouched_socket_would_not_show() -> None:
    def option(value: Any, origin: str | None, default: Any) -> OptionValue:
        return OptionValue("SOL_SOCKET", "SO_X", 1, value, "", origin, b"", None, default)

    assert option(1, "set", 1).differs
    assert option(1, None, 0).differs
    assert not option(0, None, 0).differs
    assert not option(1, "kernel", 0).differs
    assert not option(1, None, None).differs
    assert not option(GONE, None, 0).differs


def test_members_that_no_kernel_writes_cost_their_option_alone() -> None:
    """A dump may hold garbage anywhere: here an offset behind the end of what it leads into."""
    one = Option(
        "SOL_SOCKET", "SO_X", 1, INT, (field("struct sock", "sk_x"),), value=lambda _context, at: (7, 8)[at]
    )
    bound = BoundOption(one, (), itemgetter(slice(None)), lively=False, member="sk_x", lost=None, raw=GONE)

    assert _make(context(), bound, (1,)).value == 8
    assert _make(context(), bound, (2,)).value == Absent(Reason.UNREADABLE, "what lies there can't be right")


def test_sockets_that_differ_in_turn_get_each_their_own_options() -> None:
    row: Any = SimpleNamespace(places=(0, 1), inputs=itemgetter(0, 1))
    block: Any = SimpleNamespace(
        lively=False,
        fresh=False,
        rows=[row],
        inputs=row.inputs,
        remembered=lambda _, inputs, values: [inputs],
    )
    blocks = _Blocks([block])
    sockets = [(1, 2), (1, 3), (1, 2), (1, 2), (Absent(Reason.UNREADABLE), 2), (1, 2)]
    for values in sockets:
        expected: Any = [([values], None)]
        assert blocks.runs(cast("Any", None), values) == expected
