# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls as lines, as JSON, counted; arguments into calls; what became of an option."""

from __future__ import annotations

import dataclasses
import json
import struct
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from sockcrash.kernel.options.timeouts import TIMEVAL
from sockcrash.model import Absent, Endpoint, OptionValue, Reason
from sockcrash.render.json import dumps
from sockcrash.trace.arguments import Arguments
from sockcrash.trace.call import Call, Head, Held, Traced
from sockcrash.trace.calls import Began, Finished
from sockcrash.trace.check import compared
from sockcrash.trace.load import SHED
from sockcrash.trace.objects import call_object, summary_object
from sockcrash.trace.summary import Summary
from sockcrash.trace.text import call_text, summary_text
from test_schema import SCHEMA, TARGET

SECRET = Absent(Reason.SECRET, "never fetched")
HEAD = Head(
    "AF_INET", "SOCK_STREAM", "IPPROTO_TCP", "ESTABLISHED",
    Endpoint("127.0.0.1", 6390), Endpoint("127.0.0.1", 46440),
)  # fmt: skip
SOCKET = Traced(0xFFFF888012345600, 12345, HEAD)
CALL = Call(
    1_700_000_000.5, 2100, "redis-server", 118, 118, "syscall", 8, "IPPROTO_TCP", 6, "TCP_NODELAY", 1, 4, 1, "on",
    b"\1\0\0\0", late=False, switch=True, result=0, socket=SOCKET,
)  # fmt: skip
KEY = dataclasses.replace(
    CALL, name="TCP_FASTOPEN_KEY", number=33, length=16, value=SECRET, text="", raw=SECRET, switch=None, result=-22,
    pid=None, tid=130, comm="evil\x1b[2J",
)  # fmt: skip
LINGER = dataclasses.replace(
    CALL, name="SO_LINGER", level="SOL_SOCKET", value={"onoff": 1, "linger": 3}, text="on, 3 s", switch=None,
    socket=Absent(Reason.NOT_APPLICABLE, "the descriptor is no socket"), result=None, ns=None, late=True,
)  # fmt: skip


def test_a_line_says_who_what_and_how_it_ended() -> None:
    text = call_text(CALL)

    assert text.partition(" ")[2] == (
        "redis-server(118) fd 8 tcp 127.0.0.1:6390 -> 127.0.0.1:46440 ESTABLISHED 0xffff888012345600: "
        "enabling TCP_NODELAY ... success (2.1 µs)"
    )


def test_a_socket_of_which_only_the_address_was_fetched() -> None:
    call = dataclasses.replace(CALL, socket=dataclasses.replace(SOCKET, head=SHED))
    written = json.loads(dumps(call_object(call)))
    jsonschema.Draft202012Validator(SCHEMA).validate(written)
    socket = written["trace"]["socket"]

    assert " fd 8 socket 0xffff888012345600: enabling" in call_text(call)
    assert {name: value for name, value in socket.items() if value is not None} == {
        "address": "0xffff888012345600", "inode": 12345,
    }  # fmt: skip
    assert set(written["absent"]) == {
        f"trace.socket.{name}" for name, value in socket.items() if value is None
    }
    assert set(written["absent"].values()) == {"unreadable: not fetched: more than 10000 calls a second"}


def test_a_line_of_a_failure_of_a_nameless_thread() -> None:
    text = call_text(KEY)

    assert "\x1b" not in text
    assert "(?) thread 130" in text
    assert "setting TCP_FASTOPEN_KEY (value not shown: it may hold a key, 16 bytes) ... EINVAL" in text


def test_a_line_of_what_was_read_late_and_has_no_end() -> None:
    assert "setting SO_LINGER to on, 3 s, as it was after the call ... its end was not seen" in call_text(
        LINGER
    )


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (Held(1, "on", "same"), "took effect: on"),
        (Held(425984, "425984 bytes", "lowered"), "lowered to 425984 bytes"),
        (Held(0, "off", "ignored"), "ignored: it holds off"),
        (Absent(Reason.UNREADABLE, "the socket was gone"), "not read back (the socket was gone)"),
    ],
)
def test_what_became_of_it(held: Any, text: str) -> None:
    assert call_text(dataclasses.replace(CALL, check=held)).endswith(text)


def test_objects_fit_the_schema() -> None:
    schema = jsonschema.Draft202012Validator(SCHEMA)
    summary = Summary(command_status=3, lost_events=2)
    for one in (CALL, KEY, LINGER, dataclasses.replace(CALL, check=Held(1, "on", "same"))):
        written = json.loads(dumps(call_object(one)))
        schema.validate(written)
        summary.add(one)
    assert written["absent"] == {}
    schema.validate(summary_object(summary, TARGET))
    lost = call_object(KEY)["absent"]
    assert lost["trace.value"] == lost["trace.raw"] == "secret: never fetched"
    assert lost["trace.pid"].startswith("unreadable")
    assert set(call_object(LINGER)["absent"]) == {"trace.socket", "trace.result", "trace.duration_us"}


def test_the_summary_counts_by_process_and_option() -> None:
    summary = Summary(command_status=1, lost_events=5)
    for one in (CALL, CALL, dataclasses.replace(CALL, result=-1, ns=4100), KEY, LINGER):
        summary.add(one)

    text = "\n".join(summary_text(summary))

    assert summary.calls == 5
    assert [line.split() for line in text.splitlines() if line.startswith("redis-server(118)")] == [
        ["redis-server(118)", "TCP_NODELAY", "3", "1", "2.8"],
        ["redis-server(118)", "SO_LINGER", "1", "0", "?", "1", "without", "an", "end"],
    ]
    assert "LOST: 5 events" in text
    assert "status 1" in text
    assert list(summary_text(Summary())) == ["no setsockopt calls were seen"]


@pytest.mark.parametrize(
    ("name", "given", "held", "default", "verdict"),
    [
        ("SO_RCVBUF", 1000, 2304, 131072, "raised"),
        ("SO_RCVBUF", 50000, 100000, 131072, "same"),
        ("SO_RCVBUF", 1 << 30, 425984, 131072, "lowered"),
        ("TCP_DEFER_ACCEPT", 5, 7, 0, "raised"),
        ("TCP_KEEPIDLE", 5, 7200, 7200, "ignored"),
        ("TCP_CONGESTION", "reno", "reno", "cubic", "same"),
        ("TCP_CONGESTION", "bbr", "cubic", "cubic", None),
        ("SO_RCVTIMEO_OLD", {"sec": 0, "usec": 1}, {"sec": 0, "usec": 4000}, {"sec": 0, "usec": 0}, "rounded"),
        ("SO_LINGER", {"onoff": 1, "linger": 3}, {"onoff": 1, "linger": 3}, {}, "same"),
        ("IP_ADD_MEMBERSHIP", {"group": "224.1.1.1"}, [{"group": "224.1.1.1", "ifindex": 1}], [], "same"),
        ("IP_ADD_MEMBERSHIP", {"group": "224.1.1.1"}, [], [], "ignored"),
        ("SO_ATTACH_BPF", 5, {"type": "socket_filter"}, SECRET, None),
    ],
)  # fmt: skip
def test_what_was_given_against_what_is_held(
    name: str, given: Any, held: Any, default: Any, verdict: str | None
) -> None:
    call = dataclasses.replace(CALL, name=name, value=given, switch=None)
    option = OptionValue("SOL_SOCKET", name, 1, held, "", "set", b"", None, default)

    assert compared(call, option) == verdict


def arguments(late: bytes = b"") -> Arguments:
    """Of a kernel of which only the order of bytes matters."""
    kernel: Any = SimpleNamespace(byte_order="<", reader=lambda _group: None, bounds=lambda _group: ())
    return Arguments(kernel, lambda _tid, _address, size: late[:size])


def began(level: int, number: int, length: int, *, light: bool = False, **more: Any) -> Finished:
    fields = {"fd": 3, "level": level, "optname": number, "optlen": length, "at": 0x7F00, **more}
    return Finished(Began(5, 7, "syscall", fields, "x", 7, light=light), 10, 0)


def test_a_value_that_was_in_memory() -> None:
    call = arguments().call(began(6, 1, 4, mapped=b"\1\0", value=b"\1" + bytes(31)))

    assert (call.value, call.text, call.raw, call.late, call.switch) == (1, "on", b"\1\0\0\0", False, True)


def test_a_value_whose_page_came_with_the_call() -> None:
    stale = struct.pack("<I", 99) + bytes(28)

    assert arguments(b"\0" * 4).call(began(6, 1, 4, mapped=None, value=stale)).value == 0
    lost = arguments().call(began(6, 1, 4, mapped=None, value=stale))
    assert isinstance(lost.value, Absent)
    assert lost.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize(
    ("finished", "reason"),
    [
        (began(6, 33, 16), Reason.SECRET),
        (began(6, 33, 16, mapped=b"x", value=bytes(32)), Reason.SECRET),
        (began(132, 23, 16), Reason.NO_TYPE_INFO),
        (began(6, 1, 4, mapped=None, value=bytes(32), at=0), Reason.NOT_APPLICABLE),
        (began(1, 13, 4, mapped=b"", value=bytes(32)), Reason.NOT_APPLICABLE),
    ],
)
def test_a_value_that_there_is_not(finished: Finished, reason: Reason) -> None:
    call = arguments(b"k" * 16).call(finished)

    assert isinstance(call.value, Absent)
    assert call.value.reason is reason
    assert "6b6b" not in dumps(call_object(call))


def test_a_value_that_was_left_out_says_why_and_is_counted() -> None:
    """Never read from the caller's memory instead: in a loop that holds the value of another call by then."""
    summary = Summary()
    for number in (1, 1, 33):
        call = arguments(bytes(16)).call(began(6, number, 4, light=True))
        summary.add(call)
        assert isinstance(call.value, Absent)
        written = json.loads(dumps(call_object(call)))
        jsonschema.Draft202012Validator(SCHEMA).validate(written)
        if number == 1:
            assert "setting TCP_NODELAY (not fetched: more than 10000 calls a second, 4 bytes)" in call_text(
                call
            )
            assert (written["trace"]["value"], written["trace"]["raw"]) == (None, None)
            assert (
                written["absent"]["trace.value"] == "unreadable: not fetched: more than 10000 calls a second"
            )
        else:
            assert call.value.reason is Reason.SECRET

    assert "the values of 2 calls were not fetched: more than 10000 calls a second" in summary_text(summary)
    assert summary_object(summary, TARGET)["trace_summary"]["values_not_fetched"] == 2


def test_a_long_value_is_read_from_the_caller() -> None:
    call = arguments(bytes(range(40))).call(began(41, 54, 40, mapped=b"", value=bytes(range(32))))

    assert (call.raw, call.late) == (bytes(range(40)), True)


def test_an_unknown_option_of_a_negative_number_is_named_with_its_level() -> None:
    call = dataclasses.replace(CALL, name="-7", number=-7, switch=None, value="01000000", text="01000000")
    summary = Summary()
    summary.add(call)

    assert "setting option -7 of level IPPROTO_TCP to 01000000 ..." in call_text(call)
    assert "IPPROTO_TCP -7 " in "\n".join(summary_text(summary))


def test_an_error_has_the_name_that_the_kernel_and_strace_give_it() -> None:
    assert "... EOPNOTSUPP (" in call_text(dataclasses.replace(CALL, result=-95))
    assert call_object(dataclasses.replace(CALL, result=-524))["trace"]["error"] == "ENOTSUPP"


def test_a_part_of_a_second_that_is_more_than_one_is_shown_as_it_was_given() -> None:
    assert TIMEVAL.text({"sec": 1, "usec": 1_000_001}) == "1 s and 1000001 µs"
    assert TIMEVAL.text({"sec": 1, "usec": -1}) == "1 s and -1 µs"
    assert TIMEVAL.text({"sec": 1, "usec": 20}) == "1.00002 s"
