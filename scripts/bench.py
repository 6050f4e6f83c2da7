# SPDX-License-Identifier: LGPL-2.1-or-later
"""Speed as ratios, which travel between machines better than times: a Markdown table on standard output."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import bench_many
from bench_row import Row, ms

SCRIPTS = Path(__file__).resolve().parent
PYTHON = sys.executable
SOCKCRASH = str(Path(PYTHON).parent / "sockcrash")
SOCKETS = 40_000
MEMBERS = "rcv_nxt,snd_una,reordering"
BARE = """
import sys, drgn
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
prog.load_debug_info(sys.argv[2:])
"""


def best(runs: int, *actions: Callable[[], object]) -> list[float]:
    """The least seconds that each action took in ``runs`` rounds, taken in turns so that noise hits all alike."""
    times = [float("inf")] * len(actions)
    for _ in range(runs):
        for number, action in enumerate(actions):
            start = time.perf_counter()
            action()
            times[number] = min(times[number], time.perf_counter() - start)
    return times


def process(*argv: str, text: str = "") -> Callable[[], object]:
    """Running a program to its end; a failure ends the bench."""

    def run() -> None:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"bench: {' '.join(argv)} ended with {done.returncode}:\n{done.stderr[-2000:]}")

    return run


def against(what: str, ours: float, theirs: float, target: str = "") -> Row:
    """A row that says how many times as long, or how many times faster."""
    ratio = f"{ours / theirs:.2f}x as long" if ours > theirs / 2 else f"{theirs / ours:.1f}x faster"
    return Row(what, ms(ours), ms(theirs), ratio, target)


def some_address(core: str, vmlinux: str) -> str:
    """An established TCP socket of the dump."""
    argv = [SOCKCRASH, "inspect", "-c", core, "-s", vmlinux, "--all", "--format", "jsonl"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    records = map(json.loads, lines)
    return next(
        str(r["address"])
        for r in records
        if r["kind"] == "tcp" and r["state"] == "ESTABLISHED" and r["owners"]
    )


def start_up(runs: int) -> list[Row]:
    """--help and --version over an interpreter that imports click."""
    click, nothing, plain, version = best(
        2 * runs,
        process(PYTHON, "-c", "import click"),
        process(SOCKCRASH, "--help"),
        process(SOCKCRASH, "inspect", "--help"),
        process(SOCKCRASH, "--version"),
    )
    names = {"--help": nothing, "inspect --help": plain, "--version": version}
    return [
        Row(
            f"`sockcrash {name}` - `import click`",
            ms(t),
            ms(click),
            f"{(t - click) * 1000:+.0f} ms",
            "< +150 ms",
        )
        for name, t in names.items()
    ]


def one_address(runs: int, core: str, vmlinux: str, address: str) -> list[Row]:
    """One address from a cold start: over drgn that only opens the dump and loads its types."""
    inspect = (SOCKCRASH, "inspect", "-c", core)
    bare, ours, btf = best(
        runs,
        process(PYTHON, "-c", BARE, core, vmlinux),
        process(*inspect, "-s", vmlinux, address),
        process(*inspect, address),
    )
    return [
        against("`inspect ADDR -s vmlinux` / drgn opens and loads the same", ours, bare, "<= 1.5x"),
        against("`inspect ADDR` without any debug file / the same", btf, bare),
    ]


def with_crash(runs: int, core: str, vmlinux: str, address: str) -> list[Row]:
    """The same members by crash, where it is installed."""
    what = f"`struct tcp_sock.{MEMBERS} ADDR` / crash"
    if not shutil.which("crash"):
        return [Row(what, "", "not installed", "")]
    text = f"struct tcp_sock.{MEMBERS} {address.removeprefix('0x')}\nquit\n"
    argv = ("crash", "-s", vmlinux, core)
    if subprocess.run(argv, input=text, capture_output=True, text=True, check=False).returncode:
        return [Row(what, "", "can't open this dump", "")]
    crash, ours = best(
        max(3, runs // 2),
        process(*argv, text=text),
        process(SOCKCRASH, "struct", "-c", core, "-s", vmlinux, f"tcp_sock.{MEMBERS}", address),
    )
    return [against(what, ours, crash)]


def bulk(runs: int, core: str, vmlinux: str) -> list[Row]:
    """All TCP sockets, opened once: whole records as JSON lines / the same members one by one through drgn."""
    import drgn

    from sockcrash.decode import decode
    from sockcrash.decode.owner import Owners
    from sockcrash.kernel.fields import SOCK
    from sockcrash.kernel.fields_tcp import TCP
    from sockcrash.kernel.view import kernel_of
    from sockcrash.locate import all_sockets
    from sockcrash.render.json import dumps, record_object
    from sockcrash.target import TargetOptions, open_target

    kernel = kernel_of(open_target(TargetOptions(core=core, symbols=(vmlinux,))).prog)
    handles = [handle for handle in all_sockets(kernel, sys.exit) if handle.kind.name == "tcp"]
    bounds = [bound for group in (SOCK, TCP) for bound in kernel.bounds(group)]
    plain = [b for b in bounds if b.place and not b.hops and "[" not in b.place.path]
    rows = [(b.field.name, b.field.ctype, b.place.path.split(".")) for b in plain if b.place]
    ctypes = {ctype for _, ctype, _ in rows}

    def naive() -> None:
        out = io.StringIO()
        for handle in handles:
            objects = {ctype: drgn.Object(kernel.prog, ctype, address=handle.address) for ctype in ctypes}
            for name, ctype, path in rows:
                value = objects[ctype]
                for member in path:
                    value = getattr(value, member)
                print(name, value.value_(), file=out)

    def ours() -> None:
        out = io.StringIO()
        owners = Owners(kernel, sys.exit, many=True)
        for handle in handles:
            print(dumps(record_object(decode(kernel, handle, owners))), file=out)

    theirs, mine = best(runs, naive, ours)
    count = len(handles)
    what = f"one of {count} records as JSON: {len(rows)} members and what follows of them / the members by naive drgn"
    return [against(what, mine / count, theirs / count)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--series", default="6.1", help="the kernel whose dump is used (default %(default)s)")
    parser.add_argument(
        "--dump", type=Path, metavar="DIR", help="a directory with vmcore and vmlinux, instead"
    )
    parser.add_argument(
        "--many",
        action="store_true",
        help="only the rows of a dump with 40,000 TCP sockets, which is made if need be (several minutes)",
    )
    parser.add_argument("-n", type=int, default=7, metavar="N", help="best of N (default %(default)s)")
    args = parser.parse_args()
    directory = args.dump or dumped(args.series, *(("--many", str(SOCKETS)) if args.many else ()))
    core, vmlinux = str(directory / "vmcore"), str(directory / "vmlinux")
    if args.many:
        show(bench_many.rows(core, vmlinux))
        return
    address = some_address(core, vmlinux)
    show(
        [
            *start_up(args.n),
            *one_address(args.n, core, vmlinux, address),
            *with_crash(args.n, core, vmlinux, address),
            *bulk(args.n, core, vmlinux),
        ]
    )


def show(rows: Iterable[Row]) -> None:
    """The table."""
    print("| what | sockcrash | the other | result | target |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.ours} | {row.theirs} | {row.result} | {row.target} |")


def dumped(series: str, *more: str) -> Path:
    """The directory of a dump, made if need be."""
    argv = [str(SCRIPTS / "vm"), "dump", series, *more]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
