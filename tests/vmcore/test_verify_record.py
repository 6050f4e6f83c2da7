# SPDX-License-Identifier: LGPL-2.1-or-later
"""``verify`` on dumps: agreement with the record, and every way in which a record that is wrong is found out."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from harness import sockcrash_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Dump, Ended

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

IPPROTO_TCP, TCP_NODELAY = "6", "1"
UNUSED = "120"
LABEL = "est-nodelay"


def with_truth(dump: Dump, path: Path, change: Callable[[dict[str, Any]], object]) -> Ended:
    """verify against the dump's own record, changed."""
    truth = copy.deepcopy(dump.truth.raw)
    change(truth)
    path.write_text(json.dumps(truth))
    return dump.run("verify", "--truth", str(path))


def answers(truth: dict[str, Any], when: str) -> dict[str, Any]:
    return truth[when]["options"][LABEL]["value"][IPPROTO_TCP]  # type: ignore[no-any-return]


def test_memory_and_the_kernel_agree(dump: Dump, figures: Callable[[str], None]) -> None:
    ended = dump.run("verify")
    assert (ended.status, ended.err) == (0, "")
    for line in ended.out.splitlines():
        if line and not line.startswith("not given"):
            figures(f"Linux {dump.series}, verify: {line}")
    assert "DISAGREE" not in ended.out
    assert "UNKNOWN" not in ended.out
    (total,) = re.findall(r"^all +(\d+) +(\d+) +(\d+) +(\d+) +0$", ended.out, re.MULTILINE)
    compared, equal, moved, _ = map(int, total)
    assert compared == equal + moved > 30_000
    assert moved < 300
    document = json.loads(dump.run("verify", "--format", "json").out)["verify"]
    assert document["agrees"] is True
    assert sum(one["compared"] for one in document["levels"]) == compared


def test_one_wrong_bit_in_thirty_thousand_is_found(dump_6_1: Dump, tmp_path: Path) -> None:
    def lie(truth: dict[str, Any]) -> None:
        for when in ("before", "after"):
            assert answers(truth, when)[TCP_NODELAY] == "01000000"
            answers(truth, when)[TCP_NODELAY] = "00000000"

    ended = with_truth(dump_6_1, tmp_path / "truth.json", lie)
    assert ended.status == 5
    wrong = [line for line in ended.out.splitlines() if line.startswith("DISAGREE")]
    assert wrong == [f"DISAGREE: {LABEL} IPPROTO_TCP TCP_NODELAY: memory 01000000, getsockopt 00000000"]


def test_an_option_that_the_kernel_refuses_is_no_option(dump_6_1: Dump, tmp_path: Path) -> None:
    def lie(truth: dict[str, Any]) -> None:
        for when in ("before", "after"):
            answers(truth, when)[TCP_NODELAY] = 92

    ended = with_truth(dump_6_1, tmp_path / "truth.json", lie)
    assert ended.status == 5
    assert f"DISAGREE: {LABEL} IPPROTO_TCP TCP_NODELAY: memory 01000000, getsockopt ENOPROTOOPT" in ended.out


def test_an_option_without_a_row_is_told(dump_6_1: Dump, tmp_path: Path) -> None:
    ended = with_truth(
        dump_6_1, tmp_path / "truth.json", lambda truth: answers(truth, "before").update({UNUSED: "00"})
    )
    assert ended.status == 5
    assert f"UNKNOWN: IPPROTO_TCP {UNUSED} is answered: {LABEL}" in ended.out
    assert "DISAGREE" not in ended.out


def test_a_value_has_moved_only_if_the_kernel_says_so(dump_6_1: Dump, tmp_path: Path) -> None:
    def move(truth: dict[str, Any]) -> None:
        answers(truth, "before")[TCP_NODELAY] = "07000000"
        answers(truth, "after")[TCP_NODELAY] = "09000000"

    whole = json.loads(dump_6_1.run("verify", "--format", "json").out)["verify"]
    path = tmp_path / "truth.json"
    assert with_truth(dump_6_1, path, move).status == 0
    again = json.loads(dump_6_1.run("verify", "--truth", str(path), "--format", "json").out)["verify"]
    moved = [sum(one["moved"] for one in account["levels"]) for account in (whole, again)]
    assert moved[1] == moved[0] + 1


def test_without_a_record_there_is_nothing_to_compare(dump_6_1: Dump, tmp_path: Path) -> None:
    alone = tmp_path / "vmcore"
    alone.symlink_to(dump_6_1.core)
    ended = sockcrash_here("verify", "-c", str(alone), "-s", str(dump_6_1.vmlinux))
    assert ended.status == 2
    assert "--truth" in ended.err
    beside = tmp_path / "truth.json"
    beside.symlink_to(dump_6_1.directory / "truth.json")
    assert sockcrash_here("verify", "-c", str(alone), "-s", str(dump_6_1.vmlinux)).status == 0
    beside.unlink()
    beside.write_text("no record")
    assert sockcrash_here("verify", "-c", str(alone), "-s", str(dump_6_1.vmlinux)).status == 2


def test_processes_of_a_dump_can_not_be_asked(dump_6_1: Dump) -> None:
    ended = dump_6_1.run("verify", "1")
    assert ended.status == 2
    assert "PID" in ended.err
