# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts of a guest that need no guest: its archive, its channel, what counts as a crash, what is swept away."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from vmlib import cli, dumps, guest, qmp, rootfs, wire
from vmlib.errors import GuestError, VmError

CPIO = next((words for words in (["cpio"], ["busybox", "cpio"]) if shutil.which(words[0])), [])


@pytest.mark.skipif(not CPIO, reason="no cpio to read it back with")
def test_cpio_reads_it_back(tmp_path):
    entries = [
        ("bin", stat.S_IFDIR | 0o755, b""),
        ("bin/odd", stat.S_IFREG | 0o755, b"abcde"),
        ("empty", stat.S_IFREG | 0o644, b""),
    ]
    subprocess.run([*CPIO, "-idm"], input=rootfs.cpio(entries), cwd=tmp_path, check=True)
    assert (tmp_path / "bin/odd").read_bytes() == b"abcde"
    assert (tmp_path / "bin/odd").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").read_bytes() == b""


def test_cpio_is_aligned_and_ends_with_its_trailer():
    archive = rootfs.cpio([("odd", stat.S_IFREG | 0o644, b"abc")])
    assert len(archive) % 4 == 0
    assert archive.startswith(b"070701")
    assert archive.index(b"070701", 6) % 4 == 0
    assert b"TRAILER!!!" in archive


def test_wire_carries_a_header_and_leaves_what_follows():
    stream = io.BytesIO(wire.pack({"do": "run", "size": 3}) + b"abc" + wire.pack({"rc": -9}))
    assert wire.unpack(stream.read) == {"do": "run", "size": 3}
    assert stream.read(3) == b"abc"
    assert wire.unpack(stream.read) == {"rc": -9}


@pytest.mark.parametrize("data", [b"garbage!" * 4, b"vmw1\xff\xff\xff\xff" + bytes(20)])
def test_wire_refuses_what_is_out_of_step(data):
    with pytest.raises(ValueError, match="out of step"):
        wire.unpack(io.BytesIO(data).read)


@pytest.mark.parametrize(
    "line",
    [
        "Kernel panic - not syncing: Attempted to kill init!",
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "general protection fault, probably for non-canonical address 0xdead",
        "kernel BUG at mm/slub.c:435!",
    ],
)
def test_what_is_a_crash(line):
    assert guest.CRASHED.search(f"[   12.3] {line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
        "amd_pstate: the _CPC object is not present",
        "debug: BUGGY",
    ],
)
def test_what_is_none(line):
    assert not guest.CRASHED.search(f"[   12.3] {line}\n")


def test_leftovers_of_dead_processes_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (tmp_path / f"{guest.TEMPORARY}{pid}-abc").mkdir()
    (tmp_path / "other").mkdir()
    guest._sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other",
        f"{guest.TEMPORARY}{os.getpid()}-abc",
    ]


def test_done_check():
    assert guest.Done(("true",), 0, "", "").check().rc == 0
    with pytest.raises(GuestError, match="ended with 3:\nsad"):
        guest.Done(("false",), 3, "", "sad").check()


def test_no_monitor_is_a_guest_error(tmp_path):
    with pytest.raises(GuestError, match="does not answer dump-guest-memory"):
        qmp.execute(tmp_path / "none", "dump-guest-memory")


def test_foreign_files_are_not_replaced(tmp_path):
    assert dumps._ready(tmp_path / "new") == tmp_path / "new"
    assert dumps._ready(tmp_path) == tmp_path
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(VmError, match="did not make"):
        dumps._ready(tmp_path)


def test_run_takes_what_follows_the_dashes(monkeypatch):
    seen = {}
    monkeypatch.setitem(cli.ACTIONS, "run", lambda args: seen.update(vars(args)) or 0)
    monkeypatch.setattr(
        "sys.argv", ["vm", "run", "6.1", "--smp", "2", "-c", "a; b", "-c", "c", "--", "d", "-x", "--", "e"]
    )
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main() == 0
    assert (seen["series"], seen["smp"], seen["shell"], seen["argv"]) == (
        "6.1",
        2,
        ["a; b", "c"],
        ["d", "-x", "--", "e"],
    )


@pytest.mark.parametrize(
    ("error", "code", "out"),
    [
        (cli.NotCarried("gone"), 77, "SKIPPED 5.10: gone\n"),
        (VmError("bad"), 1, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(monkeypatch, capsys, error, code, out):
    def fail(_args):
        raise error

    monkeypatch.setitem(cli.ACTIONS, "kdump", fail)
    monkeypatch.setattr("sys.argv", ["vm", "kdump", "5.10"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main() == code
    assert capsys.readouterr().out == out


def test_path_of_what_was_not_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOCKCRASH_VM_DIR", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["vm", "path", "6.1", "vmcore"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main() == 1
    assert "scripts/vm fetch 6.1" in capsys.readouterr().err
