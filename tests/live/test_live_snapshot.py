# SPDX-License-Identifier: LGPL-2.1-or-later
"""A snapshot of a running kernel whose connections change while it is taken: it works, and says what was torn."""

from __future__ import annotations

import json
import time

import pytest

from conftest import COMMAND, LONG, booted, on_6_1
from vmlib.guest import PROJECT_IN_GUEST

CONNECTIONS = 1000 if LONG else 60
WAIT = 1200.0


@pytest.mark.vm
@on_6_1
def test_connections_that_change_meanwhile() -> None:
    with booted("6.1", smp=2, mem=1024) as guest:
        churn = f"cd {PROJECT_IN_GUEST} && exec python3 tests/live/churn.py {CONNECTIONS} >/tmp/churn 2>&1"
        guest.run(["sh", "-c", f"({churn}) &"], timeout=60)
        for _ in range(120):
            if "READY" in guest.run(["cat", "/tmp/churn"], timeout=60).stdout:
                break
            time.sleep(1)
        else:
            pytest.fail("the connections did not come up")
        done = guest.run(
            [*COMMAND, "snapshot", "--all", "-o", "/tmp/live.xz"], timeout=WAIT, cwd=PROJECT_IN_GUEST
        )
        assert "Traceback" not in done.stderr
        assert done.rc in (0, 4), done.stderr
        told = guest.run([*COMMAND, "info", "/tmp/live.xz", "--json"], timeout=WAIT, cwd=PROJECT_IN_GUEST)
        info = json.loads(told.stdout)["info"]
        torn = info["torn"]
        assert info["from"] == "the running kernel"
        assert int(info["what"].split()[3]) >= 2 * CONNECTIONS
        assert (f"{torn} of them changed while they were read" in done.stderr) == (torn > 0)
        assert (done.rc == 4) >= (torn > 0)
        assert "KASLR" in done.stderr
        guest.check_console()
    print(f"{CONNECTIONS} connections, {torn} sockets torn")
