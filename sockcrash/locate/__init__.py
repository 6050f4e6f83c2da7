# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user's way of naming sockets → handles: the one dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import NotASocketError
from sockcrash.kernel.fields import IDENTITY
from sockcrash.locate.address import KERNEL_SPACE, Handle, prove
from sockcrash.locate.clue import Clue
from sockcrash.locate.process import sockets_of_process
from sockcrash.locate.search import sockets_of_clues
from sockcrash.locate.text import line_numbers, read_text
from sockcrash.locate.tuple import PROTOCOLS
from sockcrash.locate.unix_name import unescaped
from sockcrash.locate.walk import all_sockets
from sockcrash.model import Absent

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.locate.spec import Spec

__all__ = ("Handle", "Located", "all_sockets", "in_namespace", "locate")

Complain = Callable[[str], None]


@dataclass(slots=True)
class Located:
    """What became of one SPEC: its sockets, an error if some of what it names is no socket, and remarks on its text."""

    spec: Spec
    handles: list[Handle] = field(default_factory=list)
    error: NotASocketError | None = None
    remarks: list[str] = field(default_factory=list)


def locate(
    kernel: Kernel,
    specs: Sequence[Spec],
    complain: Complain,
    *,
    force: bool = False,
    netns: int | None = None,
) -> list[Located]:
    """The sockets that SPECs name, in their order; with ``netns`` only those of the namespace with that inode.

    All names that need a search share one walk of the tables.
    """
    found = [Located(spec) for spec in specs]
    clues: list[Clue] = []
    numbers: list[tuple[Located, int]] = []
    for one in found:
        if one.spec.form in ("address", "fd", "pid") or _is_address(kernel, one, netns, complain):
            _directly(kernel, one, complain, force, netns)
            continue
        for line, clue in _clues(kernel, one):
            numbers.append((one, line))
            clues.append(clue)
    lost: dict[int, list[int]] = {}
    hits = sockets_of_clues(kernel, clues, complain, netns) if clues else []
    for (one, line), handles in zip(numbers, hits, strict=True):
        one.handles += handles
        if not handles:
            lost.setdefault(id(one), []).append(line)
    for one in found:
        if one.spec.form == "text":
            one.handles = list({handle.address: handle for handle in reversed(one.handles)}.values())[::-1]
        # What was told a moment ago may be closed by now.
        if id(one) in lost and not (one.spec.form == "diag" and one.handles):
            one.error = _none(kernel, one.spec, lost[id(one)])
    return found


def _directly(kernel: Kernel, one: Located, complain: Complain, force: bool, netns: int | None) -> None:
    """What needs no search: an address, a descriptor, a process."""
    spec = one.spec
    try:
        if spec.form in ("fd", "pid"):
            handles = sockets_of_process(kernel, spec.number, spec.fd, spec.text, complain)
        else:
            handles = [prove(kernel, spec.number, spec.text, force=force)]
        one.handles = [handle for handle in handles if in_namespace(kernel, handle, netns, complain)]
        if not one.handles:
            raise NotASocketError(spec.text, f"{spec.text}: it is in another network namespace")
    except NotASocketError as error:
        one.error = error
    except drgn.FaultError as error:
        one.error = NotASocketError(spec.text, f"{spec.text}: memory on the way to it is unreadable: {error}")


def _is_address(kernel: Kernel, one: Located, netns: int | None, complain: Complain) -> bool:
    """Before Linux 4.1 (33cf7c90fe2f, "net: add real socket cookies") ss printed the address itself."""
    if one.spec.form != "sk" or one.spec.number < KERNEL_SPACE:
        return False
    try:
        return in_namespace(kernel, prove(kernel, one.spec.number, one.spec.text), netns, complain)
    except NotASocketError:
        return False


def in_namespace(kernel: Kernel, handle: Handle, netns: int | None, complain: Complain) -> bool:
    """Whether a socket is in the network namespace with that inode; None is any. What can't be told is left out."""
    if netns is None:
        return True
    reader = kernel.reader(IDENTITY)
    try:
        (identity,) = reader.sections(handle.address)
    except drgn.FaultError:
        (identity,) = reader.salvaged(handle.address)
    found = identity["netns"]
    if isinstance(found, Absent) and found.lost:
        complain(f"the namespace of the socket at {handle.address:#x} can't be told, it is left out: {found}")
    return bool(found == netns)


def _clues(kernel: Kernel, one: Located) -> Iterator[tuple[int, Clue]]:
    """What to look for, and in which line of a text it stands."""
    spec = one.spec
    if spec.form == "text":
        yield from _clues_of_text(kernel, one)
        return
    if spec.form == "diag":
        yield from _clues_of_diag(kernel, one)
        return
    clue = Clue(how=spec.text, verbatim=True)
    if spec.form in PROTOCOLS:
        yield 0, replace(clue, kinds=PROTOCOLS[spec.form], ends=spec.ends, either_way=True)
    elif spec.form == "unix":
        yield 0, replace(clue, names=frozenset({("unix", spec.name), ("unix", unescaped(spec.name))}))
    elif not spec.number:
        one.error = NotASocketError(spec.text, f"{spec.text}: 0 stands for none: no socket goes by it")
    elif spec.form == "ino":
        yield 0, replace(clue, inode=spec.number)
    else:
        yield 0, replace(clue, cookie=spec.number)


def _clues_of_diag(kernel: Kernel, one: Located) -> Iterator[tuple[int, Clue]]:
    from sockcrash.locate.diag import clues_of_diag

    try:
        clues = clues_of_diag(kernel, one.spec)
    except NotASocketError as error:
        one.error = error
        return
    if not clues:
        one.error = NotASocketError(one.spec.text, f"{one.spec.text}: the kernel tells of no such socket")
    yield from ((0, clue) for clue in clues)


def _clues_of_text(kernel: Kernel, one: Located) -> Iterator[tuple[int, Clue]]:
    reading = read_text(one.spec.content or "", kernel.byte_order)
    for why, lines in reading.wrong.items():
        one.remarks.append(f"{_source(one.spec)}, {line_numbers(lines)}: {why}; left out")
    if not reading.clues:
        one.error = NotASocketError(
            one.spec.text,
            f"{_source(one.spec)}: no line names a socket",
            hint="give it the output of ss -e (or -tanpeim, ...), or lines of /proc/net/tcp, udp, unix",
        )
    yield from reading.clues


def _source(spec: Spec) -> str:
    return "standard input" if spec.name == "-" else spec.name


def _none(kernel: Kernel, spec: Spec, lines: list[int]) -> NotASocketError:
    """The error of a SPEC, or of lines of a text, that matched nothing."""
    if spec.form == "text":
        what = f"{_source(spec)}, {line_numbers(lines)}: no such socket"
    else:
        what = f"{spec.text}: no socket has it"
    return NotASocketError(spec.text, what, hint=_why_none(kernel, spec))


def _why_none(kernel: Kernel, spec: Spec) -> str | None:
    if kernel.index is not None:
        return "the snapshot may not hold it: sockcrash info FILE shows what was selected when it was taken"
    if spec.form in ("cookie", "sk"):
        return (
            "a cookie is 0 until someone asks for it (ss does), so one that was never printed can't be found"
        )
    if spec.form == "text":
        return "they may have been closed since, or the text is of another boot or machine"
    return None
