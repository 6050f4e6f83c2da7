# SPDX-License-Identifier: LGPL-2.1-or-later
"""Speed on a dump with very many TCP sockets, in units of what one drgn member access costs on this machine."""

from __future__ import annotations

import contextlib
import gc
import io
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from unittest import mock

from bench_row import Row, ms

if TYPE_CHECKING:
    import drgn

    from sockcrash.target import Target

NARROW = ("kind = tcp", "-o", "netid,state,recv_q,send_q,local,peer")
# Name, arguments, the most units that a record may cost, and of how many runs the best counts: the first of a process
# imports and binds, which takes a tenth of a second.
COMMANDS: tuple[tuple[str, tuple[str, ...], float, int], ...] = (
    ("`list` of TCP without owners, text", ("list", *NARROW), 8.3, 3),
    ("`list` of TCP without owners, jsonl", ("list", *NARROW, "--format", "jsonl"), 8.3, 2),
    ("`list` with owners, text", ("list",), 20.8, 2),
    ("`inspect --all --format jsonl`", ("inspect", "--all", "--format", "jsonl"), 27.8, 1),
    ("the same `--every`", ("inspect", "--all", "--every", "--format", "jsonl"), 111.0, 1),
)
FASTER = 4
MEGABYTES = 80
_STEP = 400
_SAMPLES = 1500
# Opens a dump, runs a command, and says by how much the largest resident set grew meanwhile, in KiB.
_GROWTH = """
import os, re, sys
from pathlib import Path
from unittest import mock
import sockcrash.cli.session as session
from sockcrash.cli import group
from sockcrash.cli.errors import run
from sockcrash.target import TargetOptions, open_target
core, vmlinux, *argv = sys.argv[1:]
target = open_target(TargetOptions(core=core, symbols=(vmlinux,)))
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak()
sys.stdout = open(os.devnull, "w")
with mock.patch.object(session, "open_target", return_value=target):
    run(group, [*argv[:1], "-c", core, *argv[1:]])
print(peak() - before, file=sys.stderr)
"""


class Meter(io.TextIOBase):
    """Takes lines, and the processor time between them in units: one access is timed again every _STEP lines."""

    def __init__(self, access: Callable[[], object]) -> None:
        self._access = access
        self.lines = 0
        self.units = 0.0
        self.seconds = 0.0
        self._last = 0
        self._unit = self._time_access()
        self._start = time.process_time()

    def _time_access(self) -> float:
        start = time.process_time()
        for _ in range(_SAMPLES):
            self._access()
        return (time.process_time() - start) / _SAMPLES

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        if self.lines - self._last >= _STEP:
            self.lap()
        return len(text)

    def lap(self) -> None:
        """Count what has passed since the last time."""
        passed, unit = time.process_time() - self._start, self._time_access()
        self.seconds += passed
        self.units += passed / ((self._unit + unit) / 2)
        self._last, self._unit, self._start = self.lines, unit, time.process_time()

    def row(self, what: str, most: float | None = None) -> Row:
        """A row of the table: units of a record, its time, and its rate where an access takes 6 µs."""
        units, seconds = self.units / self.lines, self.seconds / self.lines
        rate = f"{1e6 / 6 / units:,.0f}/s where an access takes 6 µs"
        return Row(what, f"{units:.1f} accesses", ms(seconds), rate, "" if most is None else f"<= {most}")


def rows(core: str, vmlinux: str) -> list[Row]:
    """All rows of the dump."""
    import drgn

    from sockcrash.target import TargetOptions, open_target

    gc.set_threshold(100_000)  # as sockcrash.cli.main() does
    target = open_target(TargetOptions(core=core, symbols=(vmlinux,)))
    addresses = _addresses(target)
    sock = drgn.Object(target.prog, "struct tcp_sock", address=addresses[0])

    def access() -> object:
        return sock.snd_nxt.value_()

    naive = _metered(access, _naive(target.prog))
    floor = _metered(access, _reads(target.prog, addresses))
    found: list[Row] = [
        floor.row("one `prog.read` of the struct for each socket: the read floor"),
        naive.row("a drgn script that walks ehash and prints the same columns, member by member"),
    ]
    for what, argv, most, runs in COMMANDS:
        meter = min((_meter(target, core, argv, access) for _ in range(runs)), key=lambda one: one.units)
        found.append(meter.row(what, most))
        if argv == COMMANDS[0][1]:
            times = naive.units / naive.lines * meter.lines / meter.units
            found.append(Row("that script / `list`, text", "", "", f"{times:.1f}x faster", f">= {FASTER}x"))
    found.append(_cost(target, core))
    found += [_growth(core, vmlinux, what, argv) for what, argv, *_ in COMMANDS[:4:3]]
    return found


def _run(target: Target, core: str, argv: tuple[str, ...], out: io.TextIOBase) -> None:
    from sockcrash.cli import group, session
    from sockcrash.cli.errors import run

    command, *rest = argv
    with mock.patch.object(session, "open_target", return_value=target), contextlib.redirect_stdout(out):
        if status := run(group, [command, "-c", core, *rest]):
            sys.exit(f"bench: {' '.join(argv)} ended with {status}")


def _meter(target: Target, core: str, argv: tuple[str, ...], access: Callable[[], object]) -> Meter:
    from sockcrash.kernel.view import kernel_of

    kernel_of(target.prog).cache.clear()
    meter = Meter(access)
    _run(target, core, argv, meter)
    meter.lap()
    return meter


def _metered(access: Callable[[], object], lines: Iterable[str]) -> Meter:
    meter = Meter(access)
    for line in lines:
        meter.write(line + "\n")
    meter.lap()
    return meter


def _addresses(target: Target) -> list[int]:
    from sockcrash.kernel.tables_tcp import tcp_sockets
    from sockcrash.kernel.view import kernel_of

    return [found.address for found in tcp_sockets(kernel_of(target.prog), sys.exit)]


def _reads(prog: drgn.Program, addresses: list[int]) -> Iterable[str]:
    import drgn

    size = drgn.sizeof(prog.type("struct tcp_sock"))
    for address in addresses:
        prog.read(address, size)
        yield ""


def _naive(prog: drgn.Program) -> Iterable[str]:
    """As anyone would write it who has drgn."""
    from drgn import cast
    from drgn.helpers.linux.net import sk_nulls_for_each

    table = prog["tcp_hashinfo"]
    for number in range(table.ehash_mask.value_() + 1):
        for sk in sk_nulls_for_each(table.ehash[number].chain):
            state, family = sk.__sk_common.skc_state.value_(), sk.__sk_common.skc_family.value_()
            if family == socket.AF_INET:
                here = sk.__sk_common.skc_rcv_saddr.value_().to_bytes(4, "little")
                there = sk.__sk_common.skc_daddr.value_().to_bytes(4, "little")
            else:
                here = bytes(sk.__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8.value_())
                there = bytes(sk.__sk_common.skc_v6_daddr.in6_u.u6_addr8.value_())
            port, other = sk.__sk_common.skc_num.value_(), socket.ntohs(sk.__sk_common.skc_dport.value_())
            tcp = cast("struct tcp_sock *", sk)
            received = tcp.rcv_nxt.value_() - tcp.copied_seq.value_()
            sent = tcp.write_seq.value_() - tcp.snd_una.value_()
            ends = socket.inet_ntop(family, here), port, socket.inet_ntop(family, there), other
            yield "tcp {} {} {} {}:{} {}:{}".format(state, received, sent, *ends)


def _cost(target: Target, core: str) -> Row:
    """What a list reads, and how long that takes: what a machine in production would notice."""
    from sockcrash.kernel.view import kernel_of

    kernel = kernel_of(target.prog)
    kernel.cache.clear()
    read, sizes = kernel.read, list[int]()

    def counted(address: int, size: int) -> bytes:
        sizes.append(size)
        return read(address, size)

    kernel.read = counted
    start = time.perf_counter()
    _run(target, core, COMMANDS[0][1], io.StringIO())
    seconds = time.perf_counter() - start
    kernel.read = read
    return Row(
        "`list` of TCP, all of it", ms(seconds), "", f"{len(sizes):,} reads, {sum(sizes) / 1e6:.0f} MB", ""
    )


def _growth(core: str, vmlinux: str, what: str, argv: tuple[str, ...]) -> Row:
    done = subprocess.run(
        [sys.executable, "-c", _GROWTH, core, vmlinux, *argv], stderr=subprocess.PIPE, text=True, check=True
    )
    grown = int(done.stderr.split()[-1]) / 1024
    return Row(f"memory of {what} above opening the dump", f"{grown:.0f} MiB", "", "", f"<= {MEGABYTES} MB")
