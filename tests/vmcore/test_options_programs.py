# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of programs that nobody here wrote: nginx, redis-server and sshd of Debian, asked through pidfd_getfd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import test_options
from harness import SERIES, Dump, programs_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import Record

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=[one for one in ("6.1", "newest") if one in SERIES])
def programs(request: pytest.FixtureRequest) -> Iterator[Dump]:
    """Dumps with the programs."""
    opened = Dump(request.param, programs_directory(request.param))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def theirs(programs: Dump) -> dict[str, Record]:
    """Every option of the sockets of the programs, by label."""
    ended = programs.run("options", "--all", "--every", "--format", "jsonl")
    assert ended.status in (0, 4), ended.err  # NFS of the same guest keeps a socket of no task
    cookies = {one["cookie"]: one for one in ended.records}
    labels = {label: one for label, one in programs.truth.sockets.items() if label.startswith("program-")}
    return {label: cookies[f"{one['cookie']:#x}"] for label, one in labels.items()}


def test_bytes_of_every_option(
    programs: Dump, theirs: dict[str, Record], figures: Callable[[str], None]
) -> None:
    counts, wrong, lost = test_options.judged(programs, theirs)
    compared = sum(count["compared"] for count in counts.values())
    figures(
        f"Linux {programs.series}, programs: {len(theirs)} sockets, {compared} compared, not given: {lost}"
    )
    assert wrong == []
    assert compared > 900
    assert {label.split("-")[1] for label in theirs} == {"nginx", "redis", "sshd"}


def option(theirs: dict[str, Record], program: str, state: str, name: str) -> list[tuple[str, str]]:
    """Text and origin of an option in the TCP sockets of a program that are in a state."""
    return [
        (one["text"], one["origin"])
        for label, record in theirs.items()
        if label.startswith(f"program-{program}") and (record["kind"], record["state"]) == ("tcp", state)
        for one in record["options"]
        if one["name"] == name
    ]


def test_what_is_known_of_these_programs(theirs: dict[str, Record]) -> None:
    """Of their manuals: ``tcp-keepalive 300`` of redis.conf(5), ``TCPKeepAlive`` of sshd_config(5), both by default."""
    assert option(theirs, "redis", "ESTABLISHED", "TCP_NODELAY") == [("on", "set")]
    assert option(theirs, "redis", "ESTABLISHED", "TCP_KEEPIDLE") == [("300 s", "set")]
    assert option(theirs, "redis", "LISTEN", "TCP_KEEPIDLE") == [("7200 s", "default")]
    assert set(option(theirs, "sshd", "ESTABLISHED", "SO_KEEPALIVE")) == {("on", "set")}
    assert set(option(theirs, "nginx", "LISTEN", "SO_REUSEADDR")) == {("on", "set")}
    # bind() of a client gives no such thing: nginx's children have it from their listener.
    assert set(option(theirs, "nginx", "ESTABLISHED", "SO_REUSEADDR")) == {("on", "set")}
