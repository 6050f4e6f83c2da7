# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of scripts/vm."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import dumps, kernels, rootfs, store
from .errors import NotCarried, VmError
from .guest import Guest
from .scenario import TRUTH, started

if TYPE_CHECKING:
    from types import FrameType

SKIP = 77
DESCRIPTION = """\
Real Debian kernels under emulation: fetch them, boot them, run commands inside, dump them.
SERIES is 5.10, 6.1, 6.12 or newest (whatever sid has). Everything is cached in .vm (SOCKCRASH_VM_DIR).
Exit codes: 0, 1 failure, 2 usage, 77 a series that no suite carries any more; of `run`: the commands' own."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vm", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", help="download kernels and build the guest root")
    fetch.add_argument("series", nargs="*", metavar="SERIES", help="default: all")
    fetch.add_argument("--update", action="store_true", help="look whether the archive has newer ones")

    dump = commands.add_parser("dump", help="dump guests that hold the scenario; prints the directories")
    dump.add_argument("series", nargs="+", metavar="SERIES")
    dump.add_argument("--out", type=Path, metavar="DIR", help="default: in the cache")
    dump.add_argument(
        "--many", type=int, default=0, metavar="N", help="N TCP sockets instead of the scenario"
    )

    dump.add_argument(
        "--programs", action="store_true", help="also nginx, redis, sshd, and NFS over loopback"
    )

    kdump = commands.add_parser("kdump", help="the same by kexec and makedumpfile inside the guest")
    kdump.add_argument("series", metavar="SERIES")
    kdump.add_argument("--out", type=Path, metavar="DIR")

    run = commands.add_parser(
        "run",
        help="run commands in a guest, with the project and drgn at hand",
        usage="vm run [options] SERIES [-- ARGV...]",
    )
    run.add_argument("series", metavar="SERIES")
    run.add_argument("--smp", type=int, default=1, metavar="N", help="processors (default 1)")
    run.add_argument("--mem", type=int, default=dumps.MEMORY, metavar="MB")
    run.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for each command")
    run.add_argument("--scenario", action="store_true", help=f"its sockets are open, its record is {TRUTH}")
    run.add_argument("--truth", type=Path, metavar="FILE", help="likewise; the record is brought back")
    more = "a shell command to run before ARGV; may be repeated"
    run.add_argument("-c", dest="shell", action="append", default=[], metavar="COMMAND", help=more)

    path = commands.add_parser("path", help="print where something is, without making it")
    path.add_argument("series", metavar="SERIES")
    path.add_argument("what", choices=sorted(PATHS))
    return parser


PATHS = {
    "vmlinux": ("kernels", "vmlinux"),
    "system-map": ("kernels", "System.map"),
    "modules-debug": ("kernels", "modules-debug"),
    "vmlinuz": ("kernels", "vmlinuz"),
    "vmcore": ("dumps", "vmcore"),
    "truth": ("dumps", "truth.json"),
}


def _fetch(args: argparse.Namespace) -> int:
    skipped = []
    for series in args.series or kernels.SERIES:
        try:
            kernel = kernels.fetch(series, update=args.update)
            print(series, kernel.release, kernel.version, kernel.directory)
        except NotCarried as error:
            skipped.append(f"{series}: {error}")
    rootfs.root_image()
    for line in skipped:
        print(f"SKIPPED {line}")
    return SKIP if skipped else 0


def _dump(args: argparse.Namespace) -> int:
    if args.out and len(args.series) > 1:
        raise VmError("--out takes one SERIES")
    skipped = []
    for series in args.series:
        try:
            print(dumps.dump(series, args.out, args.many, args.programs), flush=True)
        except NotCarried as error:
            skipped.append(f"{series}: {error}")
    for line in skipped:
        print(f"SKIPPED {line}")
    return SKIP if skipped else 0


def _kdump(args: argparse.Namespace) -> int:
    print(dumps.kdump(args.series, args.out))
    return 0


def _run(args: argparse.Namespace) -> int:
    commands = [["sh", "-c", text] for text in args.shell] + ([args.argv] if args.argv else [])
    if not commands:
        raise VmError("name a command: scripts/vm run SERIES -- COMMAND...")
    code = 0
    with contextlib.ExitStack() as stack:
        guest = stack.enter_context(Guest.boot(args.series, smp=args.smp, mem=args.mem))
        guest.put_project()
        scenario = stack.enter_context(started(guest)) if args.scenario or args.truth else None
        if scenario:
            scenario.before()
            scenario.write()
        for argv in commands:
            done = guest.run(argv, timeout=args.timeout, cwd="/opt/sockcrash")
            sys.stdout.write(done.stdout)
            sys.stdout.flush()
            sys.stderr.write(done.stderr)
            code = code or done.rc
        if scenario and args.truth:
            scenario.after()
            scenario.save(args.truth)
    return code if code >= 0 else 128 - code


def _path(args: argparse.Namespace) -> int:
    kernel = kernels.fetched(args.series)
    if not kernel:
        raise VmError(f"no kernel {args.series} was fetched yet: scripts/vm fetch {args.series}")
    room, name = PATHS[args.what]
    path = store.vm_dir() / room / kernel.series / name
    if not path.exists():
        raise VmError(f"no dump of {args.series} was made yet: scripts/vm dump {args.series}")
    print(path)
    return 0


def _ended(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


ACTIONS = {"fetch": _fetch, "dump": _dump, "kdump": _kdump, "run": _run, "path": _path}


def main() -> int:
    """Run scripts/vm; returns its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    words = sys.argv[1:]
    split = words.index("--") if words[:1] == ["run"] and "--" in words else len(words)
    args = _parser().parse_args(words[:split])
    args.argv = words[split + 1 :]
    start = time.monotonic()
    try:
        return ACTIONS[args.command](args)
    except NotCarried as error:
        print(f"SKIPPED {args.series}: {error}")
        return SKIP
    except VmError as error:
        store.say(f"failed after {time.monotonic() - start:.0f} s: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
