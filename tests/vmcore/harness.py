# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumps of real kernels as tests use them, and the command line run in this process on targets opened once."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

import sockcrash.target
from oracle.clock import Window
from oracle.truth import Truth, load
from sockcrash.cli import group
from sockcrash.cli.errors import run
from sockcrash.target import Target, TargetOptions, open_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drgn import Object, Program

__all__ = (
    "MODULES_OF_PROGRAMS",
    "SERIES",
    "Dump",
    "Ended",
    "dump_directory",
    "kdump_directory",
    "programs_directory",
    "sockcrash_here",
    "sockcrash_process",
)

PROJECT = Path(__file__).resolve().parents[2]
SERIES = tuple((os.environ.get("SOCKCRASH_TEST_SERIES") or "5.10 6.1 6.12 newest").split())
# Modules whose debug files are given too: without BTF of modules (before v5.11) nothing else has their types.
MODULES = {"5.10": ("vsock.ko",)}
MODULES_OF_PROGRAMS = {"5.10": ("vsock.ko", "sunrpc.ko")}
NOT_CARRIED = 77
TIMEOUT = 120
Record = dict[str, Any]


def _vm(*args: str) -> str:
    """What scripts/vm prints; a series that no suite carries any more is a named skip, any other failure fails."""
    done = subprocess.run([PROJECT / "scripts/vm", *args], stdout=subprocess.PIPE, text=True)
    if done.returncode == NOT_CARRIED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, f"scripts/vm {' '.join(args)} failed: {done.stdout}"
    return done.stdout.strip()


def dump_directory(series: str) -> Path:
    """The dump of a series, made if there is none."""
    done = subprocess.run([PROJECT / "scripts/vm", "path", series, "vmcore"], capture_output=True, text=True)
    return (
        Path(done.stdout.strip()).parent
        if done.returncode == 0
        else Path(_vm("dump", series).splitlines()[-1])
    )


def kdump_directory(series: str) -> Path:
    """Likewise the one that makedumpfile wrote."""
    there = dump_directory(series)
    there = there.with_name(f"{there.name}-kdump")
    return there if (there / "stamp.json").is_file() else Path(_vm("kdump", series).splitlines()[-1])


def programs_directory(series: str) -> Path:
    """Likewise the one with nginx, redis and sshd."""
    return Path(_vm("dump", "--programs", series).splitlines()[-1])


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    status: int
    out: str
    err: str

    @property
    def records(self) -> list[Record]:
        """The lines of jsonl."""
        return [json.loads(line) for line in self.out.splitlines()]


_opened: dict[TargetOptions, Target] = {}


def _open_once(options: TargetOptions) -> Target:
    if options not in _opened:
        _opened[options] = open_target(options)
    return _opened[options]


def sockcrash_here(*args: str) -> Ended:
    """A command line in this process; the same target options share one open target."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sockcrash.target, "open_target", _open_once),
        mock.patch("sockcrash.cli.session.open_target", _open_once),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = run(group, list(args))
    assert "internal error" not in err.getvalue(), err.getvalue()[-2000:]
    return Ended(status, out.getvalue(), err.getvalue())


def sockcrash_process(*args: str, timeout: float = TIMEOUT) -> Ended:
    """The real command."""
    done = subprocess.run(
        [sys.executable, "-m", "sockcrash", *args], capture_output=True, text=True, timeout=timeout
    )
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "internal error" not in done.stderr, done.stderr[-2000:]
    return Ended(done.returncode, done.stdout, done.stderr)


class Dump:
    """One dump, opened once, with what its kernel said of itself."""

    def __init__(
        self,
        series: str,
        directory: Path,
        core: str = "vmcore",
        modules: Mapping[str, tuple[str, ...]] = MappingProxyType(MODULES),
    ) -> None:
        self.series = series
        self.directory = directory
        self.core = directory / core
        self.vmlinux = directory / "vmlinux"
        symbols = (self.vmlinux, *(directory / "modules-debug" / name for name in modules.get(series, ())))
        self.options = TargetOptions(core=str(self.core), symbols=tuple(map(str, symbols)))
        self.target_options = (
            "-c",
            str(self.core),
            *(word for path in symbols for word in ("-s", str(path))),
        )
        self.truth: Truth = load(directory / "truth.json")

    def close(self) -> None:
        """Let go of the program."""
        _opened.clear()

    def run(self, command: str, *args: str) -> Ended:
        """A command on this dump."""
        return sockcrash_here(command, *self.target_options, *args)

    def inspect(self, *args: str) -> Ended:
        """``sockcrash inspect`` on this dump."""
        return self.run("inspect", *args)

    @property
    def prog(self) -> Program:
        """For reading by drgn itself."""
        return _open_once(self.options).prog

    @cached_property
    def records(self) -> list[Record]:
        """Every socket."""
        ended = self.inspect("--all", "--format", "jsonl")
        assert (ended.status, ended.err) == (0, "")
        return ended.records

    @cached_property
    def tcp(self) -> dict[int, Record]:
        """The TCP objects that have a cookie, by it."""
        return {
            int(one["cookie"], 16): one
            for one in self.records
            if one["kind"].startswith("tcp") and one["cookie"] is not None
        }

    def labelled(self, label: str) -> Record:
        """The record of a socket of the scenario that has a descriptor: the one that its cookie names."""
        cookie = self.truth.sockets[label]["cookie"]
        (found,) = [one for one in self.records if one["cookie"] == f"{cookie:#x}"]
        return found

    def object(self, record: Record, ctype: str = "struct tcp_sock") -> Object:
        """The socket of a record, to read by drgn."""
        from drgn import Object

        return Object(self.prog, ctype, address=int(record["address"], 16))

    @cached_property
    def at(self) -> Window:
        """When the memory was as it reads: CLOCK_MONOTONIC of the last tick, which jiffies are of too."""
        name = "timekeeper_data" if "timekeeper_data" in self.prog else "tk_core"
        keeper = self.prog[name]
        base = (keeper[0] if name == "timekeeper_data" else keeper).timekeeper.tkr_mono
        moment = (int(base.base) + (int(base.xtime_nsec) >> int(base.shift))) / 1_000_000
        return Window(moment, moment)


def only(found: Sequence[Record]) -> Record:
    """The one record that there is."""
    assert len(found) == 1, [one["address"] for one in found]
    return found[0]
