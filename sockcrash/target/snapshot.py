# SPDX-License-Identifier: LGPL-2.1-or-later
"""Opening a snapshot: its own memory, types and symbols, and the index of what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.errors import TargetError
from sockcrash.kernel.carried import Kept, attach_carried
from sockcrash.kernel.selection import entry_from_json
from sockcrash.kernel.view import kernel_of
from sockcrash.memory import program_over
from sockcrash.snapshot.files import compression_of, read_content
from sockcrash.snapshot.format import OWNER, PLATFORM, PT_NOTE, Snapshot, parse
from sockcrash.target import elf
from sockcrash.target.corefile import is_file

if TYPE_CHECKING:
    from drgn import Program

__all__ = ("is_snapshot_file", "open_snapshot", "read_snapshot", "set_index", "types_of")

_HEAD = 1 << 16


def is_snapshot_file(path: str) -> bool:
    """Whether a file is a snapshot: packed, or an ELF core with a note of ours; False if it can't be read."""
    if not is_file(path):
        return False
    try:
        with Path(path).open("rb") as file:
            if compression_of(file.read(6)):
                return True
            header = elf.read_header(file)
            note = (
                next((s for s in elf.segments(file, header) if s.type == PT_NOTE), None) if header else None
            )
            if note is None:
                return False
            file.seek(note.offset)
            return OWNER + b"\0" in file.read(min(note.size, _HEAD))
    except (OSError, ValueError):
        return False


def read_snapshot(path: str) -> Snapshot:
    """The content of a snapshot's file."""
    return parse(read_content(Path(path)))


def open_snapshot(path: Path) -> tuple[Program, Snapshot]:
    """A Program over a snapshot; what is not in it faults."""
    snapshot = read_snapshot(str(path))
    prog = program_over(snapshot.ranges.read, snapshot.vmcoreinfo, PLATFORM, live=False)
    attach_carried(prog, types_of(path, snapshot), Kept(snapshot.meta["symbols"]))
    set_index(prog, path, snapshot)
    return prog, snapshot


def set_index(prog: Program, path: Path, snapshot: Snapshot) -> None:
    """Let the Kernel of a Program know that it is a snapshot, and of what."""
    kernel = kernel_of(prog)
    kernel.exact = True
    kernel.read = snapshot.ranges.read
    try:
        kernel.index = {entry["address"]: entry_from_json(entry) for entry in snapshot.meta["sockets"]}
    except (KeyError, TypeError) as error:
        raise TargetError(
            f"{path}: the index of the snapshot is damaged: {error}", hint="take it again"
        ) from None


def types_of(path: Path, snapshot: Snapshot) -> dict[str, bytes]:
    """The BTF of a snapshot, which it may keep in a file of its own beside it."""
    return snapshot.btf or _types_beside(path, snapshot)


def _types_beside(path: Path, snapshot: Snapshot) -> dict[str, bytes]:
    """The BTF of a snapshot that keeps it in a file of its own, in the same directory."""
    name = Path(str(snapshot.meta.get("types", ""))).name
    beside = path.parent / name
    if not name or not beside.is_file():
        raise TargetError(
            f"{path}: its types stand in a file of their own, {name or '(unnamed)'}, which is not beside it",
            hint=f"put {name or 'it'} into {path.parent}",
        )
    return parse(read_content(beside)).btf
