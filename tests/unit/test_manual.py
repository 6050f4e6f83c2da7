# SPDX-License-Identifier: LGPL-2.1-or-later
"""--help and manual pages: every command has both, with an example, and nothing is coloured against one's will."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from sockcrash.cli import COMMANDS, group
from sockcrash.cli.man import pages
from sockcrash.cli.manual import manuals

if TYPE_CHECKING:
    from pathlib import Path

PAGES = dict(pages())
MANUALS = {manual.name.partition(" ")[2]: manual for manual in manuals(group)}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    examples = [
        block.text for block in MANUALS[name].blocks if block.verbatim and "For example:" in block.text
    ]

    assert len(examples) == 1
    assert f"sockcrash {name}" in examples[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_use_options_that_exist(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    known = {one for parameter in command.params for one in parameter.opts} | {"--help", "-h"}
    for block in MANUALS[name].blocks:
        for line in block.text.splitlines():
            if block.verbatim and f"sockcrash {name} " in line:
                words = re.sub(r"'[^']*'", "", line.partition(f"sockcrash {name} ")[2].partition("   ")[0])
                used = {word for word in words.split() if re.fullmatch(r"--?[a-z][a-z-]*", word)}
                assert used <= known | {"-rtt"}, line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_text(name: str) -> None:
    assert [option for option, text in MANUALS[name].options if not text] == []


def test_every_command_has_a_page() -> None:
    assert set(PAGES) == {"sockcrash", *(f"sockcrash-{name}" for name in COMMANDS)}


@pytest.mark.parametrize("page", PAGES)
def test_pages_hold_the_whole_help(page: str) -> None:
    text = PAGES[page].replace("\\-", "-").replace("\\e", "\\")
    manual = MANUALS.get(page.partition("-")[2])
    for option, about in manual.options if manual else ():
        assert f".B {option}\n{about}\n" in text
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"):
        assert f".SH {heading}\n" in text


@pytest.mark.parametrize("page", PAGES)
def test_groff_takes_pages_without_a_word(page: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z"], input=PAGES[page], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_man_writes_all_pages(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "sockcrash", "man", "-o", str(tmp_path / "man1")], check=True)

    assert {path.name for path in (tmp_path / "man1").iterdir()} == {f"{page}.1" for page in PAGES}


def test_man_of_a_command_that_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sockcrash", "man", "inspekt"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "inspect" in done.stderr


@pytest.mark.parametrize("argv", [["--help"], ["inspect", "--help"], ["inspect", "nonsense"]])
def test_nothing_is_coloured_if_nobody_wants_it(argv: list[str]) -> None:
    """On a terminal, where colours would be."""
    ours, theirs = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "sockcrash", *argv],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color"},
        )
        shown = os.read(ours, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)

    assert b"sockcrash" in shown
    assert b"\x1b" not in shown
