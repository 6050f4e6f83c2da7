# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is found out about a kernel once, however often it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("once",)

T = TypeVar("T")


def once(find: Callable[[Kernel], T]) -> Callable[[Kernel], T]:
    """Let the Kernel remember what ``find`` says of it."""

    @wraps(find)
    def found(kernel: Kernel) -> T:
        if find not in kernel.cache:
            kernel.cache[find] = find(kernel)
        answer: T = kernel.cache[find]
        return answer

    return found
