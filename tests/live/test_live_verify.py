# SPDX-License-Identifier: LGPL-2.1-or-later
"""``verify`` on running kernels: sockets of its own, those of another process, and processes that are not there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Live

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

LEVELS = {
    "SOL_SOCKET", "IPPROTO_IP", "IPPROTO_TCP", "IPPROTO_IPV6", "IPPROTO_UDP", "SOL_RAW", "SOL_PACKET",
    "SOL_NETLINK", "AF_VSOCK", "SOL_XDP", "SOL_MPTCP",
}  # fmt: skip
# No getsockopt of MPTCP's own, and no types of VSOCK without debug files: they are a module's, which has no BTF.
LACKING = {"5.10": {"AF_VSOCK", "SOL_MPTCP"}}


def account(live: Live, *args: str) -> dict[str, Any]:
    """What verify found; the guest's memory goes on, so that what moved must be little."""
    done = live.run("verify", *args, "--format", "json")
    assert done.rc in (0, 5), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["verify"]
    assert found["disagreements"] == []
    assert found["unknown"] == []
    assert (found["agrees"], done.rc) == (True, 0)
    return found


def compared(found: dict[str, Any]) -> int:
    return sum(int(one["compared"]) for one in found["levels"])


def test_sockets_of_its_own(live: Live, figures: Callable[[str], None]) -> None:
    found = account(live)
    figures(f"Linux {live.series}, live verify: {found['sockets']} sockets, {compared(found)} compared")
    levels = {one["level"] for one in found["levels"] if one["compared"]}
    assert levels >= LEVELS - LACKING.get(live.series, set())
    assert found["not_compared"] == []
    assert compared(found) > 5000


def test_sockets_of_another_process(live: Live, figures: Callable[[str], None]) -> None:
    """The scenario's: all that it holds, by duplicates of its descriptors, and it goes on as before."""
    _, truth = live.between(str)
    (pid,) = {one["pid"] for one in truth.sockets.values()}
    found = account(live, str(pid))
    figures(f"Linux {live.series}, live verify PID: {found['sockets']} sockets, {compared(found)} compared")
    assert found["sockets"] > 300
    assert compared(found) > 30_000
    _, later = live.between(str)
    assert later.sockets == truth.sockets


def test_a_process_that_is_not_there(live: Live) -> None:
    done = live.run("verify", "4194000")
    assert done.rc == 3
    assert "4194000" in done.stderr
