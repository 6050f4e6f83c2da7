# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bundled vmcores as tests use them: dumps that need no guest and no network."""

from __future__ import annotations

import json
import lzma
from typing import TYPE_CHECKING

from harness import PROJECT, Dump, Ended, sockcrash_here
from oracle.truth import of_raw
from sockcrash.target import TargetOptions, open_target

if TYPE_CHECKING:
    from pathlib import Path

    from drgn import Program

__all__ = ("BUNDLED", "SHELF", "Bundle", "run")

SHELF = PROJECT / "vmcores"
BUNDLED = sorted(path.parent.name for path in SHELF.glob("*/meta.toml"))


class Bundle(Dump):
    """A snapshot with the truth beside it, as a dump."""

    def __init__(self, directory: Path) -> None:
        self.series = directory.name
        self.directory = directory
        self.core = directory / "vmcore.xz"
        self.target_options = ("-c", str(self.core))
        self.truth = of_raw(json.loads(lzma.decompress((directory / "truth.json.xz").read_bytes())))
        self._prog: Program = open_target(TargetOptions(core=str(self.core))).prog

    @property
    def prog(self) -> Program:
        return self._prog


def run(bundle: Bundle, command: str, *args: str) -> Ended:
    return sockcrash_here(command, "-c", str(bundle.core), *args)
