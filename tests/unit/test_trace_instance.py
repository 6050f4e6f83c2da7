# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose instances and probes are whose: locks, marks, leftovers; what a tracefs that can't be used is told from.

On directories that look like tracefs; that the kernel does likewise is for tests in a guest.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from sockcrash.errors import TargetError, UsageError
from sockcrash.trace import tracefs as tracefs_module
from sockcrash.trace.command import Command, caller
from sockcrash.trace.instance import Instance, clean_up, is_ours
from sockcrash.trace.run import ending_signals
from sockcrash.trace.tracefs import Tracefs, open_tracefs


@pytest.fixture
def tracefs(tmp_path: Path) -> Tracefs:
    (tmp_path / "instances").mkdir()
    (tmp_path / "kprobe_events").write_text(
        "p:foreign/probe do_sys_open\np:sockcrash_x/probe f\n"
        "r256:sockcrash_9_ab/exit_9_ab __sys_setsockopt ret=$retval\n"
    )
    return Tracefs(tmp_path)


@pytest.mark.parametrize("name", ["sockcrash_1_0", "sockcrash_4194304_9f8e"])
def test_our_names(name: str) -> None:
    assert is_ours(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sockcrash",
        "sockcrash_1",
        "sockcrash_x_1",
        "sockcrash_1_G",
        "xsockcrash_1_1",
        "sockcrash_1_1_1",
        "foreign",
    ],
)
def test_foreign_names(name: str) -> None:
    assert not is_ours(name)


def test_an_instance_is_locked_while_it_lives_and_gone_after(tracefs: Tracefs) -> None:
    with Instance(tracefs) as instance:
        directory = tracefs.root / "instances" / instance.name
        assert is_ours(instance.name)
        assert str(os.getpid()) in instance.name
        fd = os.open(directory, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)
        (tracefs.root / "kprobe_events").write_text("")
        assert clean_up(tracefs) == ([], [])
        assert directory.is_dir()
    assert not directory.exists()


def test_leftovers_are_removed_and_nothing_else(tracefs: Tracefs) -> None:
    for name in ("sockcrash_9_ab", "sockcrash_10_cd", "foreign", "sockcrash_like"):
        (tracefs.root / "instances" / name).mkdir()
    held = os.open(tracefs.root / "instances/sockcrash_10_cd", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    assert clean_up(tracefs) == (["sockcrash_9_ab"], [])

    os.close(held)
    assert sorted(path.name for path in (tracefs.root / "instances").iterdir()) == [
        "foreign", "sockcrash_10_cd", "sockcrash_like",
    ]  # fmt: skip
    assert (tracefs.root / "kprobe_events").read_text().splitlines()[-1] == "-:sockcrash_9_ab/exit_9_ab"


def refusal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mounts: str, filesystems: str) -> TargetError:
    for name, text in (("_MOUNTS", mounts), ("_FILESYSTEMS", filesystems)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(tracefs_module, name, tmp_path / name)
    monkeypatch.setattr(tracefs_module, "_LOCKDOWN", tmp_path / "none")
    with pytest.raises(TargetError) as caught:
        open_tracefs()
    return caught.value


def test_why_tracefs_can_t_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = refusal(monkeypatch, tmp_path, "proc /proc proc rw 0 0\n", "nodev\tproc\n")
    unmounted = refusal(monkeypatch, tmp_path, "proc /proc proc rw 0 0\n", "nodev\ttracefs\n")
    mounted = f"t {tmp_path} tracefs rw 0 0\n"
    covered = refusal(monkeypatch, tmp_path, mounted, "nodev\ttracefs\n")
    (tmp_path / "instances").mkdir()
    unbuilt = refusal(monkeypatch, tmp_path, mounted, "nodev\ttracefs\n")

    assert "has no tracefs" in missing.message
    assert (unmounted.message, "mount -t tracefs" in str(unmounted.hint)) == ("tracefs is not mounted", True)
    assert "lies over it" in covered.message
    assert "CONFIG_KPROBE_EVENTS" in unbuilt.message
    assert all("bpftrace" in str(one.hint) for one in (missing, unmounted))


def test_tracefs_is_found_where_it_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    covered, seen = tmp_path / "covered", tmp_path / "with space"
    covered.mkdir()
    (seen / "instances").mkdir(parents=True)
    (seen / "kprobe_events").touch()
    spaced = str(seen).replace(" ", "\\040")
    (tmp_path / "mounts").write_text(f"t {covered} tracefs rw 0 0\nt {spaced} tracefs rw 0 0\n")
    monkeypatch.setattr(tracefs_module, "_MOUNTS", tmp_path / "mounts")

    assert open_tracefs().root == seen


def test_lockdown_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    (tmp_path / "mounts").write_text(f"t {tmp_path} tracefs rw 0 0\n")
    monkeypatch.setattr(tracefs_module, "_MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(tracefs_module, "_LOCKDOWN", tmp_path / "lockdown")

    with pytest.raises(TargetError, match="lockdown"):
        open_tracefs()


def test_the_caller_of_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert caller({}) is None
    known = caller({"SUDO_UID": "0", "SUDO_GID": "0", "SUDO_USER": "root"})
    assert known is not None
    assert (known.uid, known.name, known.home) == (0, "root", "/root")
    unknown = caller({"SUDO_UID": "123456", "SUDO_GID": "123456"})
    assert unknown is not None
    assert (unknown.uid, unknown.groups, unknown.home) == (123456, (123456,), "/")
    with pytest.raises(UsageError):
        caller({"SUDO_UID": "x"})
    monkeypatch.setattr(os, "geteuid", lambda: 5)
    assert caller({"SUDO_UID": "1", "SUDO_GID": "1"}) is None


def test_a_command_waits_runs_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    command = Command(["sh", "-c", f"echo > {path}; exit 3"], None)
    assert not command.ended()
    assert not path.exists()
    command.go()
    command.wait()
    assert command.ended()
    assert (command.exit_status, path.exists()) == (3, True)


def test_a_command_that_can_t_be_run_or_is_killed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Command([str(tmp_path / "none")], None).go()
    killed = Command(["sh", "-c", "kill -9 $$"], None)
    killed.go()
    killed.wait()
    assert killed.exit_status == 137


def test_a_command_that_is_abandoned_never_runs(tmp_path: Path) -> None:
    path = tmp_path / "ran"
    command = Command(["touch", str(path)], None)
    command.abandon()
    assert (command.exit_status, path.exists()) == (0, False)


def test_a_command_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="can't be run"):
        Command([""], None).go()


def test_what_nohup_has_ignored_stays_ignored(tmp_path: Path) -> None:
    path = tmp_path / "status"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals() as ending:
            os.kill(os.getpid(), signal.SIGHUP)
            command = Command(["cp", "/proc/self/status", str(path)], None)
            command.go()
            command.wait()
            assert ending.signal is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert ending.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    (ignored,) = (
        int(line.split()[1], 16) for line in path.read_text().splitlines() if line.startswith("SigIgn:")
    )
    assert ignored & (1 << signal.SIGHUP - 1)
    assert not ignored & (1 << signal.SIGPIPE - 1)


def test_a_command_that_was_killed_while_it_waited() -> None:
    command = Command(["true"], None)
    os.kill(command.pid, signal.SIGKILL)
    os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)

    command.go()

    assert command.ended()
    assert command.exit_status == 137
