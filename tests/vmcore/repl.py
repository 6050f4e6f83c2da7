# SPDX-License-Identifier: LGPL-2.1-or-later
"""An interactive session on a terminal, as a person has it: lines go in, what the screen shows comes out."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROMPT = ">>> "
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Session:
    """A process on a pseudo terminal that prompts as Python does."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> None:
        ours, theirs = os.openpty()
        self._terminal = ours
        self._timeout = timeout
        # PYTHON_BASIC_REPL: one line of text for one line of input, on every version of Python.
        plain = {"TERM": "dumb", "PYTHON_BASIC_REPL": "1", "COLUMNS": "200", "LINES": "50"}
        self._process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, **plain, **(env or {})},
            start_new_session=True,
        )
        os.close(theirs)
        self.banner = self._until_prompt()

    def ask(self, line: str) -> str:
        """Type a line; what the screen shows until the next prompt, the line itself left out."""
        os.write(self._terminal, line.encode() + b"\n")
        shown = self._until_prompt()
        return shown.partition("\n")[2]

    def _until_prompt(self) -> str:
        text = ""
        end = time.monotonic() + self._timeout
        while not text.endswith(PROMPT):
            ready, _, _ = select.select([self._terminal], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no prompt after {self._timeout} s; the screen shows:\n{text}")
            try:
                piece = os.read(self._terminal, 1 << 16)
            except OSError:  # EIO: the process has ended
                piece = b""
            if not piece:
                raise EOFError(f"the session ended; the screen shows:\n{text}")
            text = _CODES.sub("", text + piece.decode("utf-8", "replace"))
        return text.removesuffix(PROMPT)

    def close(self) -> int:
        """End the session and give its exit status."""
        try:
            os.write(self._terminal, b"\x04")
            return self._process.wait(self._timeout)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._terminal)
