# SPDX-License-Identifier: LGPL-2.1-or-later
"""Is it still the same socket, what has changed, and how samples look."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from records import UNREADABLE, tcp_record, tcp_section
from sockcrash.cli import watch as watch_command
from sockcrash.model import Absent, Endpoint, Reason
from sockcrash.render.json import dumps
from sockcrash.watch.changes import Sample, next_sample
from sockcrash.watch.identity import why_another
from sockcrash.watch.text import end_object, fitting, sample_line, sample_object, screen
from test_schema import SCHEMA

NONE = Absent(Reason.NOT_ASSIGNED)
ORPHAN = Absent(Reason.NOT_APPLICABLE)


@pytest.mark.parametrize(
    ("before", "now", "word"),
    [
        ({"cookie": 7}, {"cookie": 8}, "cookie"),
        ({"cookie": 7}, {"cookie": NONE}, "cookie"),
        ({"cookie": 7, "inode": 5}, {"cookie": 7, "inode": ORPHAN}, None),
        (
            {"cookie": 7},
            {"cookie": 7, "local": Endpoint("10.0.0.1", 9), "peer": Endpoint("10.0.0.2", 8)},
            None,
        ),
        ({"cookie": NONE, "inode": 5}, {"cookie": 9, "inode": 5}, None),
        ({"cookie": NONE, "inode": 5}, {"cookie": NONE, "inode": 6}, "inode"),
        ({"cookie": NONE, "inode": 5}, {"cookie": NONE, "inode": ORPHAN}, None),
        ({"cookie": NONE, "inode": ORPHAN}, {"cookie": NONE, "inode": 6}, None),
        (
            {"cookie": NONE, "inode": ORPHAN},
            {"cookie": NONE, "inode": 6, "local": Endpoint("10.0.0.1", 9)},
            "ends",
        ),
        ({"cookie": NONE, "inode": ORPHAN}, {"cookie": NONE, "inode": ORPHAN, "netns": 12}, "netns"),
        (
            {"cookie": NONE, "inode": 5},
            {"cookie": NONE, "inode": ORPHAN, "state": "CLOSE", "local": Endpoint("10.0.0.1", 0)},
            "it was closed",
        ),
        ({}, {"family": "AF_INET6"}, "family"),
    ],
)
def test_another_socket(before: dict[str, Any], now: dict[str, Any], word: str | None) -> None:
    why = why_another(tcp_record(**before), tcp_record(**now))

    assert (why is None) is (word is None)
    assert (word or "") in (why or "")


def test_counters_that_go_back_tell_of_another_socket() -> None:
    nameless = {"cookie": NONE, "inode": ORPHAN}
    before = tcp_record(**nameless, tcp=tcp_section(bytes_received=100))

    assert "bytes_received" in str(
        why_another(before, tcp_record(**nameless, tcp=tcp_section(bytes_received=99)))
    )
    assert why_another(before, tcp_record(**nameless, tcp=tcp_section(bytes_received=101))) is None


def samples(*values: dict[str, Any], span: float = 2.0) -> list[Sample]:
    made: list[Sample] = []
    for number, one in enumerate(values):
        made.append(
            next_sample(made[-1] if made else None, 1000.25 + number, number * span, tcp_record(), one)
        )
    return made


def test_changes_and_rates() -> None:
    first, second = samples(
        {"snd_cwnd": 10, "bytes_acked": 1000, "total_retrans": (1 << 32) - 1, "rtt_us": 5},
        {"snd_cwnd": 20, "bytes_acked": 3000, "total_retrans": 1, "rtt_us": 5},
    )

    assert (first.changed, first.rates) == ({}, {})
    assert second.changed == {"snd_cwnd": 10, "bytes_acked": 1000, "total_retrans": (1 << 32) - 1}
    assert second.rates == {"bytes_acked": 1000.0, "total_retrans": 1.0}


def test_what_is_absent_has_no_rate() -> None:
    _, second = samples({"bytes_acked": UNREADABLE}, {"bytes_acked": 5})

    assert (second.changed, second.rates) == ({"bytes_acked": UNREADABLE}, {})


def test_lines() -> None:
    first, second, third = samples(
        {"snd_cwnd": 10, "bytes_acked": 1000, "drops": 1},
        {"snd_cwnd": 20, "bytes_acked": 3_401_000, "drops": 2},
        {"snd_cwnd": 20, "bytes_acked": 3_401_000, "drops": 2},
    )

    assert sample_line(first, first=True, several=False).endswith(
        ".25  state ESTABLISHED  snd_cwnd 10  bytes_acked 1000  drops 1"
    )
    assert sample_line(second, first=False, several=False).endswith(
        ".25  snd_cwnd 10 -> 20  bytes_acked 1.7 MB/s  drops +0.5/s"
    )
    assert sample_line(third, first=False, several=True).endswith(f" {third.record.address:#x}  -")


def test_a_screen_has_old_values_and_rates() -> None:
    text = "\n".join(
        screen(samples({"snd_cwnd": 10, "bytes_acked": 0}, {"snd_cwnd": 5, "bytes_acked": 8000}), 2.0)
    )

    assert "every 2 s" in text
    assert "was 10" in text
    assert "4.0 kB/s" in text


def test_objects_fit_the_schema() -> None:
    schema = jsonschema.Draft202012Validator(SCHEMA)
    for one in samples({"snd_cwnd": 10, "bytes_acked": UNREADABLE}, {"snd_cwnd": 12, "bytes_acked": 7}):
        schema.validate(json.loads(dumps(sample_object(one))))
    schema.validate(end_object(0xFFFF888000000000, "its memory was freed"))


def test_a_screen_fits_onto_its_terminal() -> None:
    size = os.terminal_size((10, 6))

    assert fitting(["a", "b"], [], size) == ["a", "b"]
    shown = fitting([f"row {number}" for number in range(20)], ["0x1 is gone: closed"], size)
    assert shown == ["row 0", "row 1", "row 2", "... 17 lines more: "[:10], "0x1 is gon"]


def test_looks_that_were_late_are_not_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0, looks=[])

    def sleep(seconds: float) -> None:
        clock.now += seconds

    def look(_: object) -> None:
        clock.looks.append(clock.now - 100)
        clock.now += 0.1 if len(clock.looks) > 1 else 1.5

    monkeypatch.setattr(watch_command, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: clock.now))
    monkeypatch.setattr(watch_command, "_shower", lambda *_: lambda *_: None)
    watch: Any = SimpleNamespace(look=look, met=lambda _: False)
    one: Any = SimpleNamespace(gone=None)

    watch_command._look_again_and_again(watch, [one], 1.0, 4, "text")

    assert clock.looks == pytest.approx([0, 2, 3, 4])
