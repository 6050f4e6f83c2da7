# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of a record makes a command end with status 4."""

from __future__ import annotations

from typing import Any

import pytest

from records import tcp_record
from sockcrash.cli.session import Session
from sockcrash.model import Absent, Reason, Timer
from sockcrash.model.waiting import Queue

LOST = Absent(Reason.UNREADABLE, "0x1ff2d960")


@pytest.mark.parametrize(
    "changes",
    [
        {"timers": (Timer("retransmit", True, LOST),)},
        {"queues": (Queue("receive", 0, LOST),)},
        {"queues": (Queue("receive", LOST, 0),)},
        {"inode": LOST},
        {"owners": LOST},
        {"torn": True},
    ],
)
def test_something_unreadable_is_remembered(changes: dict[str, Any]) -> None:
    session = object.__new__(Session)
    session.missing = session.unreadable = False
    session.note(tcp_record(**changes))
    assert session.status == 4


def test_other_absences_are_no_failure() -> None:
    session = object.__new__(Session)
    session.missing = session.unreadable = False
    fine = Absent(Reason.NOT_APPLICABLE)
    session.note(tcp_record(inode=fine, timers=(Timer("retransmit", False, fine),)))
    assert session.status == 0


@pytest.mark.parametrize(
    "changes",
    [{"timers": (Timer("retransmit", True, LOST),)}, {"queues": (Queue("receive", LOST, 0),)}],
)
def test_what_many_records_have_alike_is_looked_at_again_when_it_differs(changes: dict[str, Any]) -> None:
    fine = Absent(Reason.NOT_APPLICABLE)
    session = object.__new__(Session)
    session.missing = session.unreadable = False
    usual = tcp_record(timers=(Timer("retransmit", False, fine),), queues=(Queue("receive", 0, 0),))
    session.note(usual)
    session.note(usual)
    assert session.status == 0
    session.note(tcp_record(**changes))
    session.note(usual)
    assert session.status == 4
