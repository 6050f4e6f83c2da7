# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who wrote the value of an option, as far as it can be told: rules over the value, its default and marks.

``set``: no untouched socket could hold it, or the kernel keeps a mark. ``default``: an untouched socket holds it now.
``kernel``: the kernel writes this member itself. None: it can't be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = (
    "DEFAULT",
    "KERNEL",
    "SET",
    "Origin",
    "captured",
    "differs",
    "kernel",
    "marked",
    "unless",
    "unsure",
)

SET, DEFAULT, KERNEL = "set", "default", "kernel"

# rule(context, value, default, *fields and marks of the row)
Origin = Callable[..., str | None]


def differs(_context: Context, value: Any, default: Any, *_inputs: Any) -> str:
    """A constant default, and a member that nothing but setsockopt writes."""
    return DEFAULT if value == default else SET


def kernel(*_: Any) -> str:
    """A fact, which the kernel keeps itself."""
    return KERNEL


def captured(_context: Context, value: Any, default: Any, *_inputs: Any) -> str | None:
    """A sysctl that was copied when the socket was made, and may have changed since."""
    return DEFAULT if value == default else None


def unsure(_context: Context, value: Any, default: Any, *_inputs: Any) -> str | None:
    """A member that the kernel may have written as well."""
    return DEFAULT if value == default else None


def marked(mark: int, *, otherwise: str | None = KERNEL, holds: Callable[[Any], bool] = bool) -> Origin:
    """Input number ``mark`` tells whether it was written; if not, a value off the default is ``otherwise``'s."""

    def rule(_context: Context, value: Any, default: Any, *inputs: Any) -> str | None:
        if holds(inputs[mark]):
            return SET
        return DEFAULT if value == default else otherwise

    return rule


def unless(test: Callable[..., Any], instead: str | None) -> Origin:
    """As ``differs``, but a value off the default is ``instead`` where ``test(context, value, *inputs)`` holds."""

    def rule(context: Context, value: Any, default: Any, *inputs: Any) -> str | None:
        if value == default:
            return DEFAULT
        return instead if test(context, value, *inputs) else SET

    return rule
