# SPDX-License-Identifier: LGPL-2.1-or-later
"""The laboratory's cache: nothing half made is ever taken for whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from vmlib import store

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOCKCRASH_VM_DIR", str(tmp_path / "vm"))
    return tmp_path / "vm"


class Maker:
    """Writes one file, counting how often it was asked to."""

    def __init__(self, text: str = "whole") -> None:
        self.text = text
        self.calls = 0

    def __call__(self, directory: Path) -> dict[str, int]:
        self.calls += 1
        (directory / "deep").mkdir()
        (directory / "deep/file").write_text(self.text)
        return {"calls": self.calls}


def test_made_once_and_reused(cache):
    make = Maker()
    first = store.ensure(cache / "a/thing", {"version": 1}, make)
    second = store.ensure(cache / "a/thing", {"version": 1}, make)
    assert make.calls == 1
    assert first == second
    assert second["facts"] == {"calls": 1}
    assert (cache / "a/thing/deep/file").read_text() == "whole"


def test_made_anew_when_the_inputs_change(cache):
    store.ensure(cache / "thing", {"version": 1}, Maker("old"))
    store.ensure(cache / "thing", {"version": 2}, Maker("new"))
    assert (cache / "thing/deep/file").read_text() == "new"
    assert store.read_stamp(cache / "thing")["inputs"] == {"version": 2}


@pytest.mark.parametrize("damage", ["cut", "gone", "grown", "stamp"])
def test_damaged_is_made_anew(cache, damage):
    make = Maker()
    store.ensure(cache / "thing", {}, make)
    file = cache / "thing/deep/file"
    if damage == "cut":
        file.write_text("who")
    elif damage == "gone":
        file.unlink()
    elif damage == "grown":
        file.write_text("whole and more")
    else:
        (cache / "thing" / store.STAMP).write_text('{"inputs": {}, "sizes"')
    assert store.read_stamp(cache / "thing") is None
    store.ensure(cache / "thing", {}, make)
    assert make.calls == 2
    assert file.read_text() == "whole"


def test_failure_leaves_the_old_one_and_no_rest(cache):
    store.ensure(cache / "thing", {"version": 1}, Maker("old"))

    def fail(directory):
        (directory / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.ensure(cache / "thing", {"version": 2}, fail)
    assert (cache / "thing/deep/file").read_text() == "old"
    assert [path.name for path in cache.iterdir() if path.name != "locks"] == ["thing"]


def test_symbolic_links_do_not_count(cache):
    def make(directory):
        (directory / "link").symlink_to("/nonexistent")

    store.ensure(cache / "thing", {}, make)
    assert store.read_stamp(cache / "thing")["sizes"] == {}


KILLED = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from vmlib import store
def make(directory):
    (directory / "half").write_text("x")
    print("halfway", flush=True)
    time.sleep(60)
store.ensure(store.vm_dir() / "thing", {}, make)
"""


def test_killed_while_making(cache):
    """SIGKILL in the middle: no lock is left behind, and the half is not taken for the whole."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(SCRIPTS)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"halfway\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not (cache / "thing").exists()
    make = Maker()
    store.ensure(cache / "thing", {}, make)
    assert make.calls == 1
    assert sorted(path.name for path in (cache / "thing").iterdir()) == ["deep", "stamp.json"]


RACE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from vmlib import store
def make(directory):
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    time.sleep(0.3)
store.ensure(store.vm_dir() / "thing", {}, make)
"""


def test_two_at_once_make_it_once(tmp_path):
    log = tmp_path / "log"
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(SCRIPTS), str(log)]) for _ in range(2)]
    assert [racer.wait() for racer in racers] == [0, 0]
    assert log.read_text() == "made\n"


def test_stamp_is_json_that_names_every_file(cache):
    store.ensure(cache / "thing", {"b": [1, "x"]}, Maker())
    stamp = json.loads((cache / "thing" / store.STAMP).read_text())
    assert stamp == {"inputs": {"b": [1, "x"]}, "facts": {"calls": 1}, "sizes": {"deep/file": 5}}
