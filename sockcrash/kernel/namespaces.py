# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which network namespaces there are (``net_namespace_list``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.kernel.chains import Complain, ring
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("namespaces",)

_NET = Group("net", (row("list", "struct net"),))


def namespaces(kernel: Kernel, complain: Complain) -> Iterator[int]:
    """Addresses of every ``struct net``, the initial one first."""
    head = int(kernel.prog["net_namespace_list"].address_ or 0)
    return ring(kernel, head, kernel.offsets(_NET)["list"], complain)
