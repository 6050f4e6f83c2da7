# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can go wrong, with which exit code, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class SockcrashError(Exception):
    """The root of every error that is meant for a user.

    ``hint`` says what to do next. ``exit_code`` is the process's exit status when this error ends a run.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class TargetError(SockcrashError):
    """The kernel or dump, its types or its symbols can't be had."""

    exit_code = 1


class UsageError(SockcrashError):
    """What was asked for is not a thing that can be asked."""

    exit_code = 2


class NotFoundError(SockcrashError):
    """A name that may exist stands for nothing."""

    exit_code = 3


class NotASocketError(NotFoundError):
    """A name matched nothing, or what it names is no socket. ``spec`` is the name as it was given."""

    def __init__(self, spec: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.spec = spec


def refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """UsageError for the first of ``others``, options and whether they are given, that ``option`` would ignore."""
    beside = next((name for name, given in others.items() if given), None)
    if beside is not None:
        raise UsageError(f"{option} and {beside} exclude each other", hint="leave one of them out")


def nearest(word: str, known: Sequence[str]) -> str:
    """`` Did you mean ...?`` for the end of a message, or an empty string; capitals make no distance."""
    from difflib import get_close_matches

    spelt = {one.casefold(): one for one in known}
    close = [spelt[one] for one in get_close_matches(word.casefold(), spelt, n=2)]
    return f" Did you mean {' or '.join(close)}?" if close else ""
