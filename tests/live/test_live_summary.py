# SPDX-License-Identifier: LGPL-2.1-or-later
"""The summary of a running kernel, against what it says of itself before and after; who holds what on it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import test_summary

if TYPE_CHECKING:
    from conftest import Live
    from oracle.truth import Truth

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def looked(live: Live) -> tuple[dict[str, Any], Truth]:
    """The summary, and what the kernel said just before and just after."""
    (document,), truth = live.between(lambda: live.run("summary", "--json").stdout)
    return document["summary"], truth


@pytest.mark.parametrize("check", ["test_snmp_and_netstat", "test_snmp6", "test_sockstat", "test_ss_s"])
def test_summary_agrees(looked: tuple[dict[str, Any], Truth], check: str) -> None:
    summary, truth = looked
    getattr(test_summary, check)(SimpleNamespace(truth=truth), summary)


def test_holders_and_the_other_end(live: Live, looked: tuple[dict[str, Any], Truth]) -> None:
    """Of the scenario's holders that no descriptor stands for, in one look at the running kernel."""
    _, truth = looked
    held = {one["label"]: one for one in truth.raw["holders"]}
    specs = [f"ino:{held[label]['inode']}" for label in ("hold-flight", "hold-io-uring", "hold-sockmap")]
    document = json.loads(live.run("inspect", *specs, "--json").stdout)
    flight, ring, mapped = document["sockets"]
    assert [owner["kind"] for owner in flight["owners"]] == ["scm-rights"]
    (owner,) = ring["owners"]
    assert (owner["kind"], owner["pid"], owner["fd"]) == (
        "io-uring",
        held["hold-io-uring"]["pid"],
        held["hold-io-uring"]["fd"],
    )
    assert {owner["kind"] for owner in mapped["owners"]} == {"fd", "sockmap"}
    assert all(len(one["other_end"]) == 1 for one in document["sockets"])
