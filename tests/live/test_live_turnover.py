# SPDX-License-Identifier: LGPL-2.1-or-later
"""``list`` on a running kernel with two processors while hundreds of connections a second come and go."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from conftest import COMMAND, LONG, booted, on_6_1
from vmlib.guest import PROJECT_IN_GUEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmlib.guest import Guest

COLUMNS = "kind,state,local,peer,inode,cookie,torn,snd_nxt,rcv_nxt"
LISTS = 12 if LONG else 3
LEAST_RATE = 100  # connections a second; an emulated processor makes some hundreds
WAIT = 300.0
PORTS = {18001, 18002}
LOG = "/tmp/turnover"


@pytest.mark.vm
@pytest.mark.timeout(1500)
@on_6_1
def test_sockets_that_stay_among_those_that_go(figures: Callable[[str], None]) -> None:
    with booted("6.1", smp=2, mem=768) as guest:
        script = f"cd {PROJECT_IN_GUEST} && exec python3 tests/live/turnover.py >{LOG} 2>&1"
        guest.run(["sh", "-c", f"({script}) &"], timeout=60)
        staying, _ = watched(guest)
        begun, first = time.monotonic(), watched(guest)[1]
        looks = [one_list(guest) for _ in range(LISTS)]
        seconds, done = time.monotonic() - begun, watched(guest)[1] - first
        guest.check_console()
    for rows in looks:
        addresses = Counter(row["address"] for row in rows)
        assert addresses.most_common(1)[0][1] == 1, "a socket is listed twice"
        assert staying <= {row["fields"]["inode"] for row in rows}
        for row in rows:
            assert whole(row), row
    rate = done / seconds
    states = Counter(
        row["fields"]["state"] for rows in looks for row in rows if row["kind"].startswith("tcp")
    )
    torn = sum(bool(row["fields"]["torn"]) for rows in looks for row in rows)
    figures(
        f"Linux 6.1, turnover: {rate:.0f} connections/s beside {LISTS} lists in {seconds:.0f} s, "
        f"{sum(map(len, looks))} rows, {torn} torn, {dict(states)}"
    )
    assert rate > LEAST_RATE


def watched(guest: Guest) -> tuple[set[int], int]:
    """The inodes of the sockets that stay, and how many have come and gone."""
    for _ in range(60):
        lines = guest.run(["cat", LOG], timeout=60).stdout.splitlines()
        if len(lines) > 1:
            return set(map(int, lines[0].split())), int(lines[-1])
        time.sleep(1)
    pytest.fail(f"the connections did not come up: {lines}")


def one_list(guest: Guest) -> list[dict[str, Any]]:
    done = guest.run(
        [*COMMAND, "list", "--format", "jsonl", "-o", COLUMNS], timeout=WAIT, cwd=PROJECT_IN_GUEST
    )
    assert "Traceback" not in done.stderr
    assert done.rc in (0, 4), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def whole(row: dict[str, Any]) -> bool:
    """Whether a TCP row is what a connection of this guest can be, or is marked."""
    fields = row["fields"]
    if not row["kind"].startswith("tcp") or fields["torn"]:
        return True
    local, peer = fields["local"], fields["peer"]
    if fields["state"] == "LISTEN":
        return peer["port"] == 0
    if fields["state"] == "CLOSE":
        return True
    loopback = local["address"] == peer["address"] == "127.0.0.1"
    return loopback and bool(PORTS & {local["port"], peer["port"]}) and local["port"] != peer["port"]
