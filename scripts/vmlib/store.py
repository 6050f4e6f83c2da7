# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where things made once are kept, so that half-made ones are never taken for whole ones.

Everything cached is a directory holding a stamp: the inputs it was made from and the size of each of its
files. A directory is made under a temporary name and renamed when whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAMP = "stamp.json"
PROJECT = Path(__file__).resolve().parents[2]


def vm_dir() -> Path:
    """The cache: $SOCKCRASH_VM_DIR, by default .vm in the project."""
    return Path(os.environ.get("SOCKCRASH_VM_DIR") or PROJECT / ".vm").absolute()


def say(text: str) -> None:
    """Tell the user what is going on; stdout is for results."""
    print(f"vm: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Announce a step, and how long it took once it is done."""
    start = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: {time.monotonic() - start:.1f} s")


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` of the cache; the kernel drops it when this process dies."""
    directory = vm_dir() / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {name}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sizes(directory: Path) -> dict[str, int]:
    """Size of every regular file below `directory`, by relative name."""
    return {
        str(path.relative_to(directory)): path.stat().st_size
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != STAMP
    }


def read_stamp(directory: Path) -> dict[str, Any] | None:
    """The stamp of a whole directory; None if there is none or a file of it is missing or cut short."""
    try:
        stamp: dict[str, Any] = json.loads((directory / STAMP).read_text())
        for name, size in stamp["sizes"].items():
            if (directory / name).stat().st_size != size:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return stamp


def ensure(
    directory: Path, inputs: dict[str, Any], make: Callable[[Path], dict[str, Any] | None]
) -> dict[str, Any]:
    """Have `directory` made from `inputs`, unless it stands there whole; returns its stamp.

    `make` fills the empty directory it is given, and returns facts to keep in the stamp.
    """
    inputs = json.loads(json.dumps(inputs))
    stamp = read_stamp(directory)
    if stamp and stamp["inputs"] == inputs:
        return stamp
    directory.parent.mkdir(parents=True, exist_ok=True)
    with locked(str(directory.absolute()).strip("/").replace("/", "-")[-200:]):
        stamp = read_stamp(directory)
        if stamp and stamp["inputs"] == inputs:
            return stamp
        temporary = directory.with_name(f".{directory.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            facts = make(temporary) or {}
            stamp = {"inputs": inputs, "facts": facts, "sizes": _sizes(temporary)}
            (temporary / STAMP).write_text(json.dumps(stamp, indent=1))
            os.sync()
            shutil.rmtree(directory, ignore_errors=True)
            temporary.rename(directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return stamp
