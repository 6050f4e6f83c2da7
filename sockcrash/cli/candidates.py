# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a shell may propose for a word that is being typed: names from the tables, sockets of this machine from /proc.

Looks at no kernel. What it can't read it does not propose.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

__all__ = ("teach",)

PROC = Path("/proc")
MOST = 1000
"""More proposals than that help nobody."""

_FORMS = {
    "fd:": "a descriptor, PID/FD", "pid:": "all sockets of a process", "ino:": "an inode", "sk:": "as ss -e prints it",
    "cookie:": "SO_COOKIE's number", "tcp:": "its ends", "udp:": "its ends", "udplite:": "its ends",
    "raw:": "its ends", "mptcp:": "its ends", "unix:": "its name",
}  # fmt: skip
_NET = {
    "tcp": ("tcp", "tcp6"),
    "udp": ("udp", "udp6"),
    "udplite": ("udplite", "udplite6"),
    "raw": ("raw", "raw6"),
}
_WORDS = ("state", "sport", "dport", "src", "dst", "and", "or", "not")

# A proposal and what it is.
Proposals = Iterator[tuple[str, str]]


def teach(command: click.Command) -> click.Command:
    """Let a command's parameters propose what their names stand for."""
    for parameter in command.params:
        propose = _BY_NAME.get(f"{command.name}.{parameter.name}") or _BY_NAME.get(parameter.name or "")
        if propose is not None:
            parameter.type = _Proposing(propose)
    return command


class _Proposing(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4 only
    """A text for which there are proposals."""

    name = "text"

    def __init__(self, propose: Callable[[click.Context, str], Proposals]) -> None:
        self._propose = propose

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """The proposals that begin with what is there, in an order that does not change."""
        found = dict(pair for pair in self._propose(ctx, incomplete) if pair[0].startswith(incomplete))
        return [CompletionItem(value, help=about or None) for value, about in sorted(found.items())[:MOST]]


def _listed(names: Callable[[], Iterator[str]]) -> Callable[[click.Context, str], Proposals]:
    """The last of several names with commas between."""

    def propose(_ctx: click.Context, incomplete: str) -> Proposals:
        before, comma, _ = incomplete.rpartition(",")
        return ((f"{before}{comma}{name}", "") for name in names())

    return propose


def _fields() -> Iterator[str]:
    from sockcrash.filter.values import member_names

    yield from member_names()


def _columns() -> Iterator[str]:
    from sockcrash.filter.values import known_names

    yield from known_names()


def _options() -> Iterator[str]:
    from sockcrash.kernel.options import ROWS

    yield from dict.fromkeys(row.name for row in ROWS)


def _levels() -> Iterator[str]:
    from sockcrash.kernel.options import LEVELS

    yield from LEVELS


def _explained() -> Iterator[str]:
    from sockcrash.glossary import entries

    for entry in entries():
        yield from entry.names


def _rows() -> Iterator[str]:
    from sockcrash.kernel.registry import GROUPS

    for name, group in GROUPS.items():
        yield from (name, *(field.name for field in group.fields))


def _commands() -> Iterator[str]:
    from sockcrash.cli import COMMANDS

    yield from COMMANDS


def _processes(_ctx: click.Context, _incomplete: str) -> Proposals:
    return ((value.removeprefix("pid:"), about) for value, about in _of_processes("pid"))


def _sorting(_ctx: click.Context, incomplete: str) -> Proposals:
    sign = "-" if incomplete.startswith("-") else ""
    return ((sign + name, "") for name in _columns())


def _filter(_ctx: click.Context, incomplete: str) -> Proposals:
    """The last word of a filter."""
    before, blank, _ = incomplete.rpartition(" ")
    return ((f"{before}{blank}{name}", "") for name in (*_WORDS, *_columns()))


def _filter_words(ctx: click.Context, incomplete: str) -> Proposals:
    from sockcrash.filter.states import STATE_NAMES

    words = ctx.params.get("words") or ()
    if words and words[-1] == "state":
        return ((name, "") for name in STATE_NAMES)
    return _filter(ctx, incomplete)


def _formats(ctx: click.Context, _incomplete: str) -> Proposals:
    """Those that the command names in [text|json]."""
    (option,) = [one for one in ctx.command.params if one.name == "output_format"]
    return ((name, "") for name in (option.metavar or "").strip("[]").split("|"))


def _namespaces(_ctx: click.Context, _incomplete: str) -> Proposals:
    with contextlib.suppress(OSError):
        for path in Path("/run/netns").iterdir():
            yield path.name, "ip netns"
    for form in ("ino:", "pid:"):
        yield form, ""


def _specs(ctx: click.Context, incomplete: str) -> Proposals:
    """The forms of a SPEC; of the running kernel's sockets those that /proc names."""
    form, colon, _ = incomplete.partition(":")
    if not colon:
        yield from _FORMS.items()
    elif ctx.params.get("core") is None and ctx.params.get("qemu") is None:
        if form in ("pid", "fd"):
            yield from _of_processes(form)
        elif form == "unix":
            yield from _unix_names()
        elif form in _NET or form == "ino":
            yield from _inet(form)


def _of_processes(form: str) -> Proposals:
    with contextlib.suppress(OSError):
        for process in PROC.iterdir():
            if not process.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                held = [fd for fd in (process / "fd").iterdir() if str(fd.readlink()).startswith("socket:")]
                comm = (process / "comm").read_text(errors="replace").strip() if held else ""
                if form == "fd":
                    yield from ((f"fd:{process.name}/{fd.name}", comm) for fd in held)
                elif held:
                    yield f"pid:{process.name}", f"{comm}, {len(held)} sockets"


def _lines(name: str) -> list[str]:
    with contextlib.suppress(OSError):
        return (PROC / "net" / name).read_text(errors="replace").splitlines()[1:]
    return []


def _unix_names() -> Proposals:
    for line in _lines("unix"):
        words = line.split(None, 7)
        if len(words) == 8:
            yield f"unix:{words[7]}", ""


def _inet(form: str) -> Proposals:
    from sockcrash.locate.proc_text import clue_of

    files = _NET.get(form) or tuple(name for names in _NET.values() for name in names)
    for name in files:
        for line in _lines(name):
            with contextlib.suppress(ValueError):
                clue = clue_of(line, name, "<" if sys.byteorder == "little" else ">")
                if form == "ino" and clue.inode:
                    yield f"ino:{clue.inode}", f"{name.removesuffix('6')} {clue.ends}"
                elif form != "ino" and clue.ends:
                    listening = clue.ends.peer is None or not clue.ends.peer.port
                    yield f"{form}:{clue.ends.local if listening else clue.ends}", ""


# Parameters of commands, by the names that their functions have for them; COMMAND.NAME goes before.
_BY_NAME: dict[str, Callable[[click.Context, str], Proposals]] = {
    "specs": _specs,
    "spec": _specs,
    "fields": _listed(_fields),
    "columns": _listed(_columns),
    "count_by": _listed(_columns),
    "sort": _sorting,
    "names": _listed(_options),
    "levels": _listed(_levels),
    "words": _filter_words,
    "selected": _filter,
    "options": _listed(_options),
    "pids": _processes,
    "explain.names": _listed(_explained),
    "layout.names": _listed(_rows),
    "man.name": _listed(_commands),
    "netns": _namespaces,
    "output_format": _formats,
}
