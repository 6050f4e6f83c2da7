# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events into calls, thread by thread; who a thread is; how calls are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sockcrash.trace.calls import Finished, Pairs
from sockcrash.trace.tasks import Tasks, threads_of

WHO = (10, "python3")
Event = tuple[int, int, str, dict[str, Any]]


def all_of(events: list[Event], *, tolerant: bool = False) -> list[Finished]:
    pairs = Pairs(tolerant=tolerant)
    made = [pairs.add(*event, WHO) for event in events]
    return [one for one in made if one] + list(pairs.rest())


def test_a_call_with_its_socket_and_result() -> None:
    (call,) = all_of([
        (100, 1, "enter", {"fd": 3}), (120, 1, "socket", {"sk": 5}), (150, 1, "exit", {"ret": -22}),
    ])  # fmt: skip

    assert (call.began.arguments, call.began.socket, call.ns, call.result) == ({"fd": 3}, {"sk": 5}, 50, -22)
    assert (call.began.via, call.began.comm, call.began.pid) == ("syscall", "python3", 10)


def test_threads_are_apart() -> None:
    calls = all_of([
        (1, 1, "enter", {"fd": 1}), (2, 2, "enter", {"fd": 2}), (3, 2, "socket", {"sk": 2}),
        (4, 1, "socket", {"sk": 1}), (5, 1, "exit", {"ret": 1}), (6, 2, "exit", {"ret": 2}),
    ])  # fmt: skip

    assert [(one.began.arguments["fd"], one.began.socket, one.result) for one in calls] == [
        (1, {"sk": 1}, 1), (2, {"sk": 2}, 2),
    ]  # fmt: skip


def test_what_io_uring_does_besides_is_no_call() -> None:
    calls = all_of([
        (1, 1, "uring_exit", {"ret": 0}), (2, 1, "uring_hidden", {"fd": 4}), (3, 1, "socket", {"sk": 1}),
        (4, 1, "uring_exit", {"ret": -2}), (5, 1, "socket", {"sk": 9}), (6, 1, "exit", {"ret": 0}),
    ])  # fmt: skip

    assert [(one.began.via, one.result) for one in calls] == [("io_uring", -2)]


def test_an_end_that_was_lost_is_told_unless_ends_are_filtered() -> None:
    events: list[Event] = [(1, 1, "enter", {"fd": 1}), (5, 1, "enter", {"fd": 2}), (6, 1, "exit", {"ret": 0}),
        (7, 2, "enter", {"fd": 3})]  # fmt: skip

    assert [(one.began.arguments["fd"], one.result) for one in all_of(events)] == [
        (1, None),
        (2, 0),
        (3, None),
    ]
    assert [one.began.arguments["fd"] for one in all_of(events, tolerant=True)] == [2]


NAMES = st.sampled_from(["enter", "hidden", "socket", "exit", "uring_enter", "uring_hidden", "uring_exit"])


@given(st.lists(st.tuples(NAMES, st.integers(1, 3))))
def test_each_begin_is_reported_once(events: list[tuple[str, int]]) -> None:
    """Whatever is lost, a call that was seen to begin is one call, and nothing else is."""
    made = [(at, tid, name, {"ret": 0, "at": at}) for at, (name, tid) in enumerate(events)]
    begun = [at for at, (name, _) in enumerate(events) if "enter" in name or "hidden" in name]

    assert sorted(one.began.arguments["at"] for one in all_of(made)) == begun


def process(root: Path, tid: int, pid: int, name: str) -> None:
    (root / str(tid)).mkdir(parents=True)
    (root / str(tid) / "status").write_text(f"Name:\tx\nTgid:\t{pid}\nPid:\t{tid}\n")
    (root / str(tid) / "comm").write_text(name + "\n")


def test_a_thread_that_proc_knows(tmp_path: Path) -> None:
    process(tmp_path, 7, 5, "wor ker\n")
    (tmp_path / "5/task/5").mkdir(parents=True)
    (tmp_path / "5/task/7").mkdir()

    assert Tasks(tmp_path).of(7) == (5, "wor ker\n")
    assert Tasks(tmp_path).of(8) == (None, "?")
    assert sorted(threads_of(5, tmp_path)) == [5, 7]
    assert threads_of(9, tmp_path) == []


def test_threads_and_processes_that_are_born_and_renamed(tmp_path: Path) -> None:
    process(tmp_path, 5, 5, "shell")
    tasks = Tasks(tmp_path)

    tasks.born(5, {"pid": 6, "clone_flags": 0, "comm": b"shell\0\0\0"})
    tasks.born(6, {"pid": 7, "clone_flags": 0x10000, "comm": b"shell\0x"})
    tasks.renamed(6, {"pid": 6, "newcomm": b"curl\0"})

    assert (tasks.of(6), tasks.of(7)) == ((6, "curl"), (6, "shell"))
