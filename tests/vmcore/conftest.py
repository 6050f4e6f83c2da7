# SPDX-License-Identifier: LGPL-2.1-or-later
"""Dumps of real kernels: those made by scripts/vm (SOCKCRASH_TEST_SERIES narrows which), and the bundled ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundles import BUNDLED, SHELF, Bundle
from harness import SERIES, Dump, dump_directory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", params=SERIES)
def dump(request: pytest.FixtureRequest) -> Iterator[Dump]:
    """Each kernel's dump in turn."""
    opened = Dump(request.param, dump_directory(request.param))
    yield opened
    opened.close()


def _one(series: str) -> Iterator[Dump]:
    if series not in SERIES:
        pytest.skip(f"{series}: SOCKCRASH_TEST_SERIES leaves it out")
    opened = Dump(series, dump_directory(series))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def dump_6_1() -> Iterator[Dump]:
    """The dump of 6.1, for what need not be tried on all of them."""
    yield from _one("6.1")


@pytest.fixture(scope="module", params=BUNDLED)
def bundle(request: pytest.FixtureRequest) -> Iterator[Bundle]:
    """Each bundled vmcore in turn."""
    opened = Bundle(SHELF / request.param)
    yield opened
    opened.close()
