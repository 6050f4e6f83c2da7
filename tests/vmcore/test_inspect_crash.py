# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash struct`` against the crash utility on the same dump: the same members, the same look."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness import sockcrash_process

if TYPE_CHECKING:
    from harness import Dump

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

LABELS = ("est-v4", "est-v6", "dead-peer", "zero-window", "listen-options", "mptcp-fallback", "out-of-order")
COMMANDS = (
    "tcp_sock.rcv_nxt,snd_una,reordering",
    "tcp_sock.chrono_stat,nonagle,rx_opt,packets_out,srtt_us,bytes_acked,is_mptcp",
    "tcp_sock.rx_opt.snd_wscale",
    "inet_connection_sock.icsk_ca_ops,icsk_ca_state,icsk_ack,icsk_rto",
    "sock.sk_backlog,sk_pacing_rate,sk_rcvbuf,sk_socket",
    "tcp_sock",
)
# Elements of arrays of structs, which we print on one line, and arrays of no length, whose address crash prints.
OTHERWISE = frozenset({"t", "v", "start_seq", "end_seq", "skc_dontcopy_begin", "skc_dontcopy_end"})
SEPARATOR = "that was one"
LEAF = re.compile(
    r"^ *([\w.]+) = (-?\d+|0x[0-9a-f]+|true|false|\{[-\d, ]+\})(?: '.*'| <.*>)?,? *$", re.MULTILINE
)


@pytest.fixture(scope="module")
def by_crash(dump_6_1: Dump) -> dict[tuple[str, str], str]:
    """What crash prints for each command and label: it takes 11 s to start, so all of them in one session."""
    if not shutil.which("crash"):
        pytest.skip("the crash utility is not installed (Debian: crash)")
    asked = [(command, label) for label in LABELS for command in COMMANDS]
    lines = [
        f'struct {command} {dump_6_1.labelled(label)["address"][2:]}\np "{SEPARATOR}"'
        for command, label in asked
    ]
    done = subprocess.run(
        ["crash", "-s", dump_6_1.vmlinux, dump_6_1.core],
        input="\n".join([*lines, "quit\n"]),
        capture_output=True,
        text=True,
        timeout=240,
    )
    answers = re.split(rf"^.*{SEPARATOR}.*\n", done.stdout, flags=re.MULTILINE)
    assert len(answers) == len(asked) + 1, done.stdout[-2000:]
    return dict(zip(asked, answers, strict=False))


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("command", COMMANDS)
def test_members(dump_6_1: Dump, by_crash: dict[tuple[str, str], str], command: str, label: str) -> None:
    address = dump_6_1.labelled(label)["address"]
    ended = dump_6_1.run("struct", command, address)
    assert (ended.status, ended.err) == (0, "")
    theirs = LEAF.findall(by_crash[command, label])
    assert len(theirs) > (200 if command == "tcp_sock" else 0)
    ours = LEAF.findall(ended.out)
    assert [leaf for leaf in theirs if leaf not in ours and leaf[0] not in OTHERWISE] == []
    named = {name for name, _ in theirs}
    assert [leaf for leaf in ours if leaf[0] in named and leaf not in theirs] == []


@pytest.mark.parametrize("label", LABELS)
def test_the_same_text(dump_6_1: Dump, by_crash: dict[tuple[str, str], str], label: str) -> None:
    ended = sockcrash_process(
        "struct", *dump_6_1.target_options, COMMANDS[0], dump_6_1.labelled(label)["address"]
    )
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == by_crash[COMMANDS[0], label].split("\n\n")[-1]
