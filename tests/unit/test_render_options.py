# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options as people read them: one socket in full, several side by side, and a few lines in a record's story."""

from __future__ import annotations

from typing import Any

from records import NOT_IN_KERNEL, UNREADABLE, tcp_record
from sockcrash.model import Absent, OptionValue, Reason
from sockcrash.render.options import OPTION_COLUMNS, option_rows, options_sentences, options_text
from sockcrash.render.options_matrix import matrix

LISTENER = 0xFFFF888000000100
WIDE = 110


def nodelay(on: bool, **changes: Any) -> OptionValue:
    values: dict[str, Any] = {
        "level": "IPPROTO_TCP", "name": "TCP_NODELAY", "number": 1, "value": int(on), "text": "on" if on else "off",
        "origin": "set" if on else "default", "raw": bytes([on, 0, 0, 0]), "member": "tcp_sock.nonagle", "default": 0,
        "default_text": "off",
    }  # fmt: skip
    return OptionValue(**{**values, **changes})


RCVBUF = OptionValue(
    "SOL_SOCKET", "SO_RCVBUF", 8, 65536, "65536 bytes (asked for 32768)", "set", b"\0\0\1\0", "sock.sk_rcvbuf", 131072,
    "net.ipv4.tcp_rmem", LISTENER, "131072 bytes",
)  # fmt: skip
PEERSEC = OptionValue(
    "SOL_SOCKET",
    "SO_PEERSEC",
    31,
    Absent(Reason.NOT_APPLICABLE, "kept by the module"),
    "",
    None,
    NOT_IN_KERNEL,
    None,
)
QUICKACK = nodelay(True, name="TCP_QUICKACK", number=12, origin=None)


def lines(*options: OptionValue, every: bool = False) -> list[str]:
    return list(options_text(tcp_record(options=options), every=every))


def test_one_socket() -> None:
    title, buffer, peersec, gap, delay = lines(RCVBUF, PEERSEC, nodelay(True))

    assert title.split() == ["option", "value", "origin", "default", "stored", "in"]
    assert "65536 bytes (asked for 32768)  set, by listener 0xffff888000000100" in buffer
    assert "131072 bytes (net.ipv4.tcp_rmem)" in buffer
    assert peersec.split("  ")[0] == "SO_PEERSEC"
    assert "(kept by the module)" in peersec
    assert gap == ""  # another level
    assert delay.split() == ["TCP_NODELAY", "on", "set", "off", "tcp_sock.nonagle"]


def test_a_question_mark_where_nobody_can_tell() -> None:
    assert "  ?  " in lines(QUICKACK)[1]


def test_nothing_is_said_in_words() -> None:
    assert lines() == ["as in an untouched socket"]
    assert lines(every=True) == ["no such option"]
    (told,) = options_text(tcp_record(options=UNREADABLE), every=True)
    assert "unreadable" in told


def test_terminals_are_safe() -> None:
    evil = nodelay(True, name="SO_BINDTODEVICE", text="\x1b[31meth0")

    assert "\x1b" not in "".join(lines(evil))
    assert "\x1b" not in "".join(options_sentences(tcp_record(options=(evil,))))
    assert "\x1b" not in "".join(matrix([tcp_record(options=(evil,))]))


def test_sentences_of_a_story() -> None:
    many = [nodelay(True, name=f"SO_NUMBER_{number}") for number in range(30)]
    told = list(options_sentences(tcp_record(options=(*many, RCVBUF, QUICKACK))))

    assert all(len(line) <= WIDE for line in told)
    assert " ".join(told).startswith("SO_NUMBER_0 on, SO_NUMBER_1 on,")
    assert f"by listener {LISTENER:#x}: SO_RCVBUF 65536 bytes (asked for 32768)" in " ".join(told)
    assert told[-1].startswith("set, or a default of before: TCP_QUICKACK on")
    assert list(options_sentences(tcp_record(options=()))) == ["as in an untouched socket"]


def test_the_odd_one_out() -> None:
    """Sockets that are alike share a column, the largest group first; rows in which columns differ have a star."""
    alike = [tcp_record(address=number, options=(RCVBUF, nodelay(False))) for number in range(1, 7)]
    odd = tcp_record(address=0xBAD, options=(RCVBUF, nodelay(True)))
    told = list(matrix([odd, *alike]))

    assert told[0].startswith("[1] 6 sockets: ")
    assert "and 2 more" in told[0]
    assert told[1].startswith("[2] tcp ")
    assert told[1].endswith(" 0xbad")
    assert told[-2].startswith("  SO_RCVBUF")
    assert told[-1].split() == ["*", "TCP_NODELAY", "off", "on"]


def test_a_dot_where_an_option_is_as_ever() -> None:
    told = list(matrix([tcp_record(options=()), tcp_record(address=1, options=(nodelay(True),))]))

    assert told[-1].split() == ["*", "TCP_NODELAY", ".", "on"]


def test_many_columns_make_blocks() -> None:
    told = list(matrix([tcp_record(address=n, options=(nodelay(True, text=f"v{n}"),)) for n in range(1, 9)]))
    rows = [line.split() for line in told if "TCP_NODELAY" in line]

    assert rows == [
        ["*", "TCP_NODELAY", *(f"v{n}" for n in range(1, 7))],
        ["*", "TCP_NODELAY", "v7", "v8"],
    ]


def test_one_whose_options_are_unreadable_has_its_column() -> None:
    told = "\n".join(
        matrix([tcp_record(options=(nodelay(True),)), tcp_record(address=1, options=UNREADABLE)])
    )

    assert "unreadable" in told


def test_rows_have_all_columns() -> None:
    (row, gone) = option_rows(tcp_record(options=(RCVBUF, PEERSEC)))
    named = dict(zip(OPTION_COLUMNS, row, strict=True))

    assert (named["option"], named["raw"], named["inherited from"]) == (
        "SO_RCVBUF",
        "00000100",
        f"{LISTENER:#x}",
    )
    assert (named["value"], named["default"], named["default from"]) == (
        "65536",
        "131072",
        "net.ipv4.tcp_rmem",
    )
    assert dict(zip(OPTION_COLUMNS, gone, strict=True))["raw"] == NOT_IN_KERNEL
