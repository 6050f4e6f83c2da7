# SPDX-License-Identifier: LGPL-2.1-or-later
"""A session without the kernel's memory: ``list`` by what the running kernel tells over sock_diag, and no more."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sockcrash import __version__
from sockcrash.cli.session import UNREADABLE
from sockcrash.decode.told import held_by_processes, record_of_answer
from sockcrash.errors import TargetError
from sockcrash.filter.values import QUEUE_MEMBERS
from sockcrash.locate.sock_diag import DiagError, Query, ask

if TYPE_CHECKING:
    from sockcrash.decode.want import Want
    from sockcrash.filter import Filter
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import SocketRecord
    from sockcrash.target import TargetOptions

__all__ = ("SmallerSession",)

_PARTS = frozenset({"inode", "owners"})
_KNOWN = "kind, state, ends, queues, inode, cookie, uid and the processes that /proc shows"

logger = logging.getLogger("sockcrash")


class SmallerSession:
    """Answers what ``list`` asks of a Session, for the sockets of this network namespace that are in its tables.

    ``refusal`` is why the memory can't be read; it is raised where nothing else will do.
    """

    status = UNREADABLE

    def __init__(self, options: TargetOptions, refusal: TargetError) -> None:
        if options.core is not None or options.qemu is not None:
            raise refusal
        self._refusal = refusal
        self.target = self

    def describe(self) -> dict[str, str | None]:
        """The JSON object ``target``."""
        tool = f"sockcrash {__version__}"
        return {
            "source": "sock_diag",
            "release": os.uname().release,
            "types": None,
            "symbols": None,
            "taken": None,
            "tool": tool,
        }

    @property
    def kernel(self) -> Kernel:
        """The kernel's memory is what is missing."""
        raise self._refusal

    def option_reader(self, **_: Any) -> None:
        """Options are in the kernel's memory only."""
        raise self._too_much("options")

    def handles(
        self, _specs: object, *, netns: str | None, selected: Filter | None, **_: Any
    ) -> Iterator[SocketRecord]:
        """The selected ones; the warning comes first."""
        if netns is not None or (selected is not None and selected.namespaces):
            raise TargetError(
                self._refusal.message,
                hint=f"{self._refusal.hint}; or run it in that namespace: ip netns exec NAME sockcrash list",
            )
        if selected is not None:
            self._check(selected.want, selected.options)
        logger.warning(
            "%s. This is the smaller list that sock_diag gives: sockets of this network namespace only, %s",
            self._refusal.message,
            _KNOWN,
        )
        if self._refusal.hint:
            logger.warning("to see everything: %s", self._refusal.hint)
        for record in self._told():
            if selected is None or selected.matches(record):
                yield record

    def _told(self) -> Iterator[SocketRecord]:
        try:
            told = ask(Query())
        except DiagError as error:
            raise TargetError(
                f"{self._refusal.message}; and {error.message}", hint=self._refusal.hint
            ) from None
        for kind, why in told.refused.items():
            logger.info("%s sockets: %s", kind, why)
        for kind in told.interrupted:
            logger.warning("some %s sockets may be missing: their table changed during every try", kind)
        owners, netns = held_by_processes(), Path("/proc/self/ns/net").stat().st_ino
        for answer in told.found:
            yield record_of_answer(answer, owners, netns)

    def records(self, handles: Iterable[SocketRecord], *, want: Want, **_: Any) -> Iterator[SocketRecord]:
        """They are records already."""
        self._check(want, frozenset())
        yield from handles

    def every_record(
        self, *, netns: str | None, selected: Filter | None, want: Want, **_: Any
    ) -> Iterator[SocketRecord]:
        """All that are told of, and selected."""
        return self.records(self.handles((), netns=netns, selected=selected), want=want)

    def note_values(self, _record: SocketRecord, _values: object) -> None:
        """The status tells already that this is not all."""

    def tells(self, want: Want) -> bool:
        """Whether that much can be had."""
        return not self._lacking(want)

    @staticmethod
    def _lacking(want: Want) -> list[str]:
        return sorted(((want.members or frozenset()) - QUEUE_MEMBERS) | (want.parts - _PARTS))

    def _check(self, want: Want, options: frozenset[str]) -> None:
        lacking = [*self._lacking(want), *sorted(options)]
        if lacking:
            raise self._too_much(", ".join(lacking))

    def _too_much(self, what: str) -> TargetError:
        return TargetError(
            f"{self._refusal.message}, and {what} can't be had without",
            hint=f"{self._refusal.hint}; without it list knows {_KNOWN}",
        )
