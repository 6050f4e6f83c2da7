# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernel of this machine lets tests do."""

from __future__ import annotations

import pytest

from sockcrash.locate.sock_diag import DiagError, Query, ask

__all__ = ("needs_sock_diag",)


def _answers_sock_diag() -> bool:
    """Whether it answers sock_diag at all (some sandboxes don't)."""
    try:
        ask(Query(kinds=("tcp", "unix")))
    except DiagError:
        return False
    return True


needs_sock_diag = pytest.mark.skipif(not _answers_sock_diag(), reason="this kernel doesn't answer sock_diag")
