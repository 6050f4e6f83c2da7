# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a reader of the documentation would type, taken from its pages: commands with their outputs, and without.

``python tests/vmcore/blocks.py`` runs the tutorial and writes down what it shows now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
TUTORIAL = DOCS / "tutorial.md"
_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`(sockcrash [^`]+)`")


@dataclass(frozen=True, slots=True)
class Step:
    """A line that is typed, and what the page shows below it."""

    line: str
    shown: str


def steps(block: str, prompt: str) -> list[Step]:
    """The steps of a block."""
    found: list[Step] = []
    for line in block.splitlines():
        if line.startswith(prompt):
            found.append(Step(line.removeprefix(prompt), ""))
        elif found:
            found[-1] = Step(found[-1].line, f"{found[-1].shown}{line}\n")
    return found


def tutorial() -> list[Step]:
    """Every shell command of the tutorial."""
    return [step for block in _CONSOLE.findall(TUTORIAL.read_text()) for step in steps(block, "$ ")]


def tutorial_in_drgn() -> list[Step]:
    """Every line of its session in drgn."""
    return [step for block in _PYTHON.findall(TUTORIAL.read_text()) for step in steps(block, ">>> ")]


def run(line: str) -> str:
    """What a shell in the project's directory shows for a line: both outputs, as on a screen."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    )
    return done.stdout


def commands(page: Path) -> Iterator[str]:
    """Every sockcrash command of a page that stands in a shell block or a table."""
    text = page.read_text()
    for _, block in _SHELL.findall(text):
        yield from (line.strip() for line in block.splitlines() if line.strip().startswith("sockcrash "))
    for line in text.splitlines():
        if line.startswith("|"):
            yield from _CODE.findall(line)


def record() -> None:
    """Write into the tutorial what its commands show now."""

    def shown(match: re.Match[str]) -> str:
        lines = [f"$ {step.line}\n{run(step.line)}" for step in steps(match[1], "$ ")]
        return f"```console\n{''.join(lines)}```"

    TUTORIAL.write_text(_CONSOLE.sub(shown, TUTORIAL.read_text()))


if __name__ == "__main__":
    record()
