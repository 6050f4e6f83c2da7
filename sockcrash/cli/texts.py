# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading what ``-`` and ``@FILE`` name, before any kernel is opened."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.errors import UsageError

if TYPE_CHECKING:
    from sockcrash.locate.spec import Spec

__all__ = ("with_texts",)

MAX_SIZE = 1 << 28
STDIN = "-"


def with_texts(specs: Sequence[Spec]) -> list[Spec]:
    """The same SPECs, those of texts with their content; UsageError for a file that can't be read."""
    if sum(spec.form == "text" and spec.name == STDIN for spec in specs) > 1:
        raise UsageError("standard input can be read only once: there is more than one -")
    return [replace(spec, content=_content(spec.name)) if spec.form == "text" else spec for spec in specs]


def _content(name: str) -> str:
    try:
        if name == STDIN:
            raw = sys.stdin.buffer.read(MAX_SIZE + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"@{name}: {why}", hint="@FILE names a file with the output of ss, or of /proc/net"
        ) from None
    if len(raw) > MAX_SIZE:
        raise UsageError(f"{name}: it is larger than {MAX_SIZE >> 20} MiB: that is no output of ss")
    return raw.decode("utf-8", "surrogateescape")
