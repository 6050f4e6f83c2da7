# SPDX-License-Identifier: LGPL-2.1-or-later
"""``inspect`` on running kernels: inside the guest on its /proc/kcore, and from outside through QEMU's monitor."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from oracle.compare import Verdict, compare, summary
from oracle.ours import as_ss, not_compared

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Live, Record
    from oracle.truth import Truth

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

LEAST_EQUAL = 0.95
# What goes up and comes back while a segment is sent again and again.
FLICKERING = frozenset({"retrans", "lost", "unacked", "sacked", "timer", "skmem", "cwnd"})
Look = tuple[list["Record"], "Truth"]
# Linux 5.10 has no BTF of modules, and the types of VSOCK are in one.
WITHOUT_MODULES = "sockets of one table are found by their descriptors only: no struct vsock_sock"


def said(stderr: str) -> list[str]:
    """What a command complained of, but that."""
    return [line for line in stderr.splitlines() if WITHOUT_MODULES not in line]


@pytest.fixture(scope="module")
def kcore(live: Live) -> Look:
    """Every socket as sockcrash in the guest sees it."""

    def look() -> str:
        done = live.run("inspect", "--all", "--format", "jsonl")
        assert (done.rc, said(done.stderr)) == (0, [])
        return done.stdout

    return live.between(look)


@pytest.fixture(scope="module")
def qemu(live: Live) -> Look:
    """Every socket as sockcrash outside sees it, through the monitor of the running QEMU."""
    address = ("--qemu", live.guest.qmp_address, "-s", str(live.guest.kernel.vmlinux))

    def look() -> str:
        command = [sys.executable, "-m", "sockcrash", "inspect", *address, "--all", "--format", "jsonl"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert (done.returncode, said(done.stderr)) == (0, [])
        return done.stdout

    return live.between(look)


def as_ss_says(found: Look, name: str, figures: Callable[[str], None]) -> None:
    """Every key of every TCP socket that ss saw before and after."""
    records, truth = found
    ours = {int(one["cookie"], 16): one for one in records if one["kind"].startswith("tcp") and one["cookie"]}
    both = truth.before.keys() & truth.after.keys()
    assert {f"{cookie:x}" for cookie in both - ours.keys()} == set()
    compared = [
        one
        for cookie in both
        for one in compare(
            f"sk:{cookie:x}",
            as_ss(ours[cookie]),
            truth.before[cookie],
            truth.after[cookie],
            truth.between,
            flickering=FLICKERING,
            skipped=not_compared(ours[cookie]),
        )
    ]
    share, text = summary(compared)
    figures(f"{name}, ss, {len(both)} sockets: {text}")
    assert [str(one) for one in compared if one.verdict is Verdict.WRONG] == []
    assert len(both) > 100
    assert share >= LEAST_EQUAL


def test_every_key_of_ss_on_kcore(live: Live, kcore: Look, figures: Callable[[str], None]) -> None:
    as_ss_says(kcore, f"Linux {live.series}, live on /proc/kcore", figures)


def test_every_key_of_ss_through_qemu(live: Live, qemu: Look, figures: Callable[[str], None]) -> None:
    as_ss_says(qemu, f"Linux {live.series}, live through QEMU", figures)


def held(found: Look) -> None:
    """Every held socket with its holder, and nothing torn: the scenario's sockets stand still."""
    records, truth = found
    cookies = {one["cookie"]: one for one in records if one["cookie"] is not None}
    for label, told in truth.sockets.items():
        one = cookies[f"{told['cookie']:#x}"]
        assert (label, one["inode"], one["netns"]) == (label, told["inode"], told["netns"])
        assert {"kind": "fd", "pid": told["pid"], "comm": "python3", "fd": told["fd"]} in one["owners"]
        assert (one["torn"], one["proved"]) == (False, True)
    assert {label: cookies[f"{told['cookie']:#x}"]["state"] for label, told in truth.tcp_sockets.items()} == {
        label: told["state"] for label, told in truth.tcp_sockets.items()
    }


def test_every_held_socket_on_kcore(kcore: Look) -> None:
    held(kcore)


def test_every_held_socket_through_qemu(qemu: Look) -> None:
    held(qemu)


def test_every_way_of_naming_a_socket(live: Live, kcore: Look) -> None:
    """One process for all: a command takes 15 s to start in an emulated guest."""
    records, truth = kcore
    told = truth.sockets["est-v4"]
    (expected,) = [one for one in records if one["inode"] == told["inode"]]
    specs = (
        expected["address"],
        f"{int(expected['address'], 16) + 100:#x}",
        f"sk:{told['cookie']:x}",
        f"cookie:{told['cookie']}",
        f"ino:{told['inode']}",
        f"fd:{told['pid']}/{told['fd']}",
        f"diag:tcp:127.0.0.1:{expected['local']['port']}-127.0.0.1:{expected['peer']['port']}",
    )
    done = live.run(
        "inspect", "-k", *specs, "ino:4294967041", "0", "0x7ffc12345678", "pid:4194000", "--format", "jsonl"
    )
    assert done.rc == 3
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["how"].partition(": sk:")[0] for one in found] == list(specs)
    for one in found:
        assert (one["address"], one["owners"]) == (expected["address"], expected["owners"])
        assert one["tcp"]["rcv_nxt"] == expected["tcp"]["rcv_nxt"]
    for refused in ("ino:4294967041", "0", "0x7ffc12345678", "pid:4194000"):
        assert f"sockcrash: error: {refused}: " in done.stderr


def test_chosen_fields_as_text(live: Live, kcore: Look) -> None:
    records, truth = kcore
    told = truth.sockets["est-nodelay"]
    (expected,) = [one for one in records if one["inode"] == told["inode"]]
    done = live.run("inspect", f"ino:{told['inode']}", "-f", "rcv_nxt,nonagle,icsk_ca_ops->name,sk_rcvbuf")
    assert (done.rc, said(done.stderr)) == (0, [])
    shown = dict(line.split(" = ") for line in done.stdout.splitlines()[1:])
    assert {name.strip(): value for name, value in shown.items()} == {
        "rcv_nxt": str(expected["tcp"]["rcv_nxt"]),
        "nonagle": str(expected["tcp"]["nonagle"]),
        "icsk_ca_ops->name": expected["tcp"]["congestion"],
        "sk_rcvbuf": str(expected["sock"]["sk_rcvbuf"]),
    }
