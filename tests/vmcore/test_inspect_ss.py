# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every TCP socket of a dump against what its kernel told ss and getsockopt(TCP_INFO) just before and just after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import sockcrash_here
from oracle import tcp_info
from oracle.compare import Compared, Verdict, compare, summary
from oracle.ours import as_ss, not_compared

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Dump

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

LEAST_EQUAL = 0.95
FLICKERING = frozenset(name.removeprefix("tcpi_") for name in tcp_info.FLICKERING)


def wrong(found: list[Compared]) -> str:
    return "\n".join(str(one) for one in found if one.verdict is Verdict.WRONG)


def test_every_key_of_ss(dump: Dump, figures: Callable[[str], None]) -> None:
    truth = dump.truth
    both = truth.before.keys() & truth.after.keys()
    found = [
        one
        for cookie in both
        for one in compare(
            f"sk:{cookie:x}",
            as_ss(dump.tcp[cookie]),
            truth.before[cookie],
            truth.after[cookie],
            dump.at,
            flickering=FLICKERING,
            skipped=not_compared(dump.tcp[cookie]),
        )
    ]
    share, text = summary(found)
    figures(f"Linux {dump.series}, ss, {len(both)} sockets: {text}")
    assert not wrong(found)
    assert len(both) > 100
    assert share >= LEAST_EQUAL


def test_types_of_a_module_that_are_not_there_cost_no_tcp_socket(dump: Dump) -> None:
    """vmlinux alone, as people have it; what can't be listed for want of its types is said."""
    ended = sockcrash_here(
        "inspect", "-c", str(dump.core), "-s", str(dump.vmlinux), "--all", "--format", "jsonl"
    )
    assert ended.status == 0
    assert ended.err == "" or "no struct vsock_sock" in ended.err
    assert [one for one in ended.records if one["kind"].startswith("tcp")] == [
        one for one in dump.records if one["kind"].startswith("tcp")
    ]


def test_the_dump_lies_between_both_looks(dump: Dump) -> None:
    """The clock that sockcrash takes ages by; jiffies of an idle machine lag 0.3 s."""
    assert dump.truth.between.start - 350 <= dump.at.start <= dump.truth.between.end


def test_nothing_that_ss_lists_is_missing(dump: Dump) -> None:
    listed = dump.truth.before.keys() & dump.truth.after.keys()
    assert {f"{cookie:x}" for cookie in listed - dump.tcp.keys()} == set()


def test_nothing_is_there_that_ss_does_not_list(dump: Dump) -> None:
    """This ss does not ask for closed sockets, bound or not (Linux tells of bound ones since v6.8).

    Nor can it be asked in a namespace that has no name and no process any more.
    """
    truth = dump.truth
    listed = truth.before.keys() | truth.after.keys()
    reached = {one["inode"] for one in truth.raw["netns"]}
    more = {cookie for cookie in dump.tcp if cookie not in listed}
    explained = {
        one["cookie"]
        for one in truth.tcp_sockets.values()
        if one["state"] == "CLOSE" or dump.tcp[one["cookie"]]["netns"] not in reached
    }
    assert {f"{cookie:x}" for cookie in more} == {f"{cookie:x}" for cookie in explained}


def test_every_tcp_socket_that_was_asked_for_its_cookie_has_it(dump: Dump) -> None:
    asked = {one["inode"] for one in dump.truth.tcp_sockets.values() if one["cookie"]}
    without = [one for one in dump.records if one["kind"] == "tcp" and one["cookie"] is None]
    assert asked
    assert [(one["state"], one["local"]) for one in without if one["inode"] in asked] == []


def test_each_object_is_shown_once(dump: Dump) -> None:
    addresses = [one["address"] for one in dump.records]
    assert len(addresses) == len(set(addresses))


def test_namespaces_are_those_in_which_ss_ran(dump: Dump) -> None:
    seen = {
        line["netns"]: {int(word[3:], 16) for word in line["stdout"].split() if word.startswith("sk:")}
        for line in dump.truth.raw["after"]["commands"]
        if line["argv"][1] == "-tanieOm"
    }
    assert len(seen) == len(dump.truth.raw["netns"])
    for netns, cookies in seen.items():
        assert {cookie for cookie, one in dump.tcp.items() if one["netns"] == netns} >= cookies
        assert not {cookie for cookie, one in dump.tcp.items() if one["netns"] != netns} & cookies


def test_tcp_info(dump: Dump, figures: Callable[[str], None]) -> None:
    """The bytes of getsockopt(TCP_INFO), which hold what ss leaves out: windows, rehashes, RTO and ECN counters."""
    names = tcp_info.members(dump.prog)
    found: list[Compared] = []
    for label in dump.truth.tcp_sockets:
        before, after = (tcp_info.sample(dump.prog, dump.truth, label, when) for when in ("before", "after"))
        said = tcp_info.as_tcp_info(dump.labelled(label), names)
        found += compare(label, said, before, after, dump.at, tcp_info.AGES, tcp_info.FLICKERING)
    share, text = summary(found)
    figures(f"Linux {dump.series}, TCP_INFO, {len(dump.truth.tcp_sockets)} sockets: {text}")
    assert not wrong(found)
    assert share >= LEAST_EQUAL
