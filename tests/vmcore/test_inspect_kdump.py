# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumps that makedumpfile wrote of a crashed 6.1: all forms give the same, as ss said before the crash."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness import SERIES, Dump, kdump_directory
from oracle.compare import Compared, Sample, Verdict, compare, summary
from oracle.ours import as_ss, not_compared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

LEAST_EQUAL = 0.95
COMPRESSED = {"vmcore": "zlib", "vmcore.lzo": "lzo", "vmcore.zstd": "zstd"}


@pytest.fixture(scope="module")
def elf() -> Iterator[Dump]:
    """The same memory as ELF."""
    if "6.1" not in SERIES:
        pytest.skip("6.1: SOCKCRASH_TEST_SERIES leaves it out")
    opened = Dump("6.1", kdump_directory("6.1"), "vmcore.elf")
    yield opened
    opened.close()


@pytest.mark.parametrize("name", COMPRESSED)
def test_each_compression_gives_what_elf_gives(elf: Dump, name: str) -> None:
    compressed = Dump("6.1", elf.directory, name)
    refused: dict[str, Any] = json.loads((elf.directory / "stamp.json").read_text())["facts"]["refused"]
    if name in refused:
        assert name != "vmcore", refused
        pytest.skip(f"{name}: this makedumpfile refuses: {refused[name]}")
    assert compressed.records == elf.records
    assert compressed.inspect("--all", "--json").out == elf.inspect("--all", "--json").out


def test_what_ss_said_before_the_crash(elf: Dump, figures: Callable[[str], None]) -> None:
    """Nobody could ask afterwards: what fits the look before is equal; the rest belongs to connections at work."""
    truth = elf.truth
    assert not truth.before.keys() - elf.tcp.keys()
    at_work = {elf.tcp[cookie]["address"] for cookie, told in truth.before.items() if _at_work(told)}
    at_work |= {
        end["address"]
        for one in elf.tcp.values()
        if one["address"] in at_work
        for end in one["other_end"] or ()
    }
    assert len(at_work) < len(truth.before) / 4
    found = []
    for cookie, told in truth.before.items():
        record = elf.tcp[cookie]
        compared = compare(f"sk:{cookie:x}", as_ss(record), told, None, elf.at, skipped=not_compared(record))
        found += [_went_on(one) if record["address"] in at_work else one for one in compared]
    share, text = summary(found)
    figures(f"Linux 6.1 by kdump, ss before the crash, {len(truth.before)} sockets: {text}")
    assert [str(one) for one in found if one.verdict is Verdict.WRONG] == []
    assert share >= LEAST_EQUAL


def _at_work(told: Sample) -> bool:
    """Whether it sends: then it and its peer, which answers each probe of its window, go on until the crash."""
    return told.keys.get("timer", "").startswith(("(on,", "(persist,")) or "rwnd_limited" in told.keys


def _went_on(one: Compared) -> Compared:
    return replace(one, verdict=Verdict.MOVED) if one.verdict is Verdict.WRONG else one


def test_taken_after_the_last_word(elf: Dump) -> None:
    assert elf.truth.between.start - 350 <= elf.at.start <= elf.truth.between.start + 30_000


def test_every_held_socket_and_its_holder(elf: Dump) -> None:
    for label, one in elf.truth.sockets.items():
        found = elf.labelled(label)
        assert (label, found["inode"], found["netns"]) == (label, one["inode"], one["netns"])
        assert {"kind": "fd", "pid": one["pid"], "comm": "python3", "fd": one["fd"]} in found["owners"]
