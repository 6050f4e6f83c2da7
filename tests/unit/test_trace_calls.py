# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events into calls, thread by thread; who a thread is; how calls are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
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


def entry(**more: int) -> dict[str, Any]:
    return {"fd": 3, "level": 6, "optname": 1, "optlen": 4, **more}


@pytest.mark.parametrize("full", ["enter", "hidden"])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_call_of_two_entries_is_one(full: str, order: int, tolerant: bool) -> None:
    """While a trace changes over, both see a call; that with the value counts."""
    pair = [(full, entry(value=7)), ("light", entry())][::order]
    (call,) = all_of(
        [
            *((at, 1, *one) for at, one in enumerate(pair)),
            (5, 1, "socket", {"sk": 1}),
            (9, 1, "exit", {"ret": 0}),
        ],
        tolerant=tolerant,
    )

    assert (call.began.arguments["value"], call.began.light, call.began.socket, call.result) == (
        7, False, {"sk": 1}, 0,
    )  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_looks_at_a_socket_that_counts_which_says_more(order: int) -> None:
    looks = [("light_socket", {"sk": 1}), ("socket", {"sk": 1, "head0": b"x"})][::order]
    other = [("light_socket", {"sk": 2}), ("socket", {"sk": 2, "head0": b"y"})]
    hits = [("light", entry()), *looks, *other, ("exit", {"ret": 0})]
    (call,) = all_of([(at, 1, *one) for at, one in enumerate(hits)])

    assert call.began.socket == {"sk": 1, "head0": b"x"}


@pytest.mark.parametrize(
    "second",
    [("light", entry(fd=4)), ("light", entry(optlen=8)), ("uring_light", entry()), ("enter", entry(value=1))],
)
def test_entries_that_are_not_of_one_call(second: tuple[str, dict[str, Any]]) -> None:
    calls = all_of([(1, 1, "enter", entry(value=1)), (2, 1, *second), (3, 2, "light", entry())])

    assert [(one.began.ns, one.result) for one in calls] == [(1, None), (2, None), (3, None)]


def test_a_third_entry_is_a_call_of_its_own() -> None:
    pair: list[Event] = [(1, 1, "light", entry()), (2, 1, "enter", entry(value=1))]
    calls = all_of([*pair, *((ns + 5, *rest) for ns, *rest in pair), (9, 1, "exit", {"ret": 0})])  # type: ignore[misc]

    assert [(one.began.ns, one.result) for one in calls] == [(2, None), (7, 0)]


def test_a_success_whose_end_is_filtered_is_no_twin_of_the_next_call() -> None:
    (call,) = all_of(
        [
            (1, 1, "enter", entry(value=1)), (2, 1, "socket", {"sk": 1}),
            (3, 1, "light", entry()), (4, 1, "socket", {"sk": 1}), (5, 1, "exit", {"ret": -22}),
        ],
        tolerant=True,
    )  # fmt: skip

    assert (call.began.ns, call.began.light, call.ns) == (3, True, 2)


NAMES = st.sampled_from(
    ["enter", "hidden", "socket", "exit", "light_socket", "uring_enter", "uring_hidden", "uring_exit"]
)
KINDS = st.sampled_from([("enter",), ("hidden",), ("light",), ("light", "enter"), ("hidden", "light")])


@given(st.lists(st.tuples(NAMES, st.integers(1, 3))))
def test_each_begin_is_reported_once(events: list[tuple[str, int]]) -> None:
    """Whatever is lost, a call that was seen to begin is one call, and nothing else is."""
    made = [(at, tid, name, {"ret": 0, "at": at, "sk": at}) for at, (name, tid) in enumerate(events)]
    begun = [at for at, (name, _) in enumerate(events) if "enter" in name or "hidden" in name]

    assert sorted(one.began.arguments["at"] for one in all_of(made)) == begun


@given(st.lists(st.tuples(KINDS, st.integers(1, 3), st.integers(3, 4))))
def test_each_call_is_reported_once_while_a_trace_changes_over(
    calls: list[tuple[tuple[str, ...], int, int]],
) -> None:
    """However it does that: whole calls of a few threads, with one entry or two."""
    made: list[Event] = []
    for names, tid, fd in calls:
        hit: list[Event] = [(len(made) + at, tid, name, entry(fd=fd)) for at, name in enumerate(names)]
        made += [*hit, (len(made) + 5, tid, "exit", {"ret": fd})]

    assert [(one.began.tid, one.began.arguments["fd"], one.result) for one in all_of(made)] == [
        (tid, fd, fd) for _, tid, fd in calls
    ]


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
