# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the documentation tells a reader to type: the tutorial with its outputs, the how-to pages for their sense."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

import blocks
from bundles import SHELF
from harness import sockcrash_here
from repl import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

CORE = SHELF / "6.1" / "vmcore.xz"
# What can be asked of a dump; the others need a running machine, or write files.
ASKING = ("inspect", "options", "list", "summary", "explain")
HOW_TO = [
    (page.name, line) for page in sorted(blocks.DOCS.glob("howto/*.md")) for line in blocks.commands(page)
]


@pytest.mark.parametrize("step", blocks.tutorial(), ids=lambda step: step.line[:60])
def test_the_tutorial_shows_what_happens(step: blocks.Step) -> None:
    """If the bundled vmcores were made anew: scripts/docs --record writes down what happens now."""
    assert blocks.run(step.line) == step.shown


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    opened = Session([sys.executable, "-m", "sockcrash", "shell", "-c", str(CORE)])
    yield opened
    opened.close()


def test_the_tutorial_in_drgn(session: Session) -> None:
    shown = [blocks.Step(step.line, session.ask(step.line)) for step in blocks.tutorial_in_drgn()]

    assert shown == blocks.tutorial_in_drgn()


def words_of(line: str) -> list[str]:
    """The words of a command, its dump and redirections left out."""
    words = shlex.split(line.split(" | ", maxsplit=1)[0], comments=True)[1:]
    return [word for word in words if word != "..."]


def test_there_are_commands() -> None:
    assert len(HOW_TO) > 60


@pytest.mark.parametrize(("page", "line"), HOW_TO, ids=[f"{page}: {line[:50]}" for page, line in HOW_TO])
def test_how_to_pages_have_commands_that_are_understood(page: str, line: str) -> None:
    """Names, options and filters are right; the sockets that are named need not be in the dump."""
    command, *words = words_of(line)
    if command not in ASKING:
        ended = sockcrash_here(command, "--help")
        known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", ended.out))
        assert {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} <= known
        return
    if "-c" in words:
        del words[words.index("-c") : words.index("-c") + 2]
    ended = sockcrash_here(command, *words, *(() if command == "explain" else ("-c", str(CORE))))

    assert ended.status in (0, 3, 4), ended.err
