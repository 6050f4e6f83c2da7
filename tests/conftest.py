# SPDX-License-Identifier: LGPL-2.1-or-later
"""What all tests share: texts that a run prints at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES = pytest.StashKey[list[str]]()

# A busy machine is slow, which says nothing of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Have a text printed when the run ends: how much was compared, and how it fared."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    texts = config.stash.get(FIGURES, [])
    if texts:
        terminalreporter.section("figures")
        for text in texts:
            terminalreporter.write_line(text)
