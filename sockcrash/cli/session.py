# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run of a command on one kernel: what it shows, what it has to complain of, and the exit status that follows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click
import drgn

from sockcrash.cli.texts import with_texts
from sockcrash.decode import decode
from sockcrash.decode.inheritance import OptionReader
from sockcrash.decode.owner import Owners
from sockcrash.errors import NotASocketError, UsageError
from sockcrash.kernel.view import Kernel, kernel_of
from sockcrash.locate import all_sockets, in_namespace, locate
from sockcrash.locate.netns import find_netns
from sockcrash.locate.spec import FORMS, Spec, parse_spec
from sockcrash.model import SECTIONS, Absent, Reason, SocketRecord
from sockcrash.render.escape import printable
from sockcrash.target import Target, TargetOptions, looks_like_core, open_target

if TYPE_CHECKING:
    from sockcrash.locate.address import Handle

__all__ = ("Session", "parse_specs")

_NO_SECTIONS = [name for name in SocketRecord.__dataclass_fields__ if name not in SECTIONS]

logger = logging.getLogger("sockcrash")

NOT_FOUND = 3
UNREADABLE = 4


class Session:
    """A target that is open, and what went wrong so far."""

    def __init__(self, options: TargetOptions) -> None:
        self.target: Target = open_target(options)
        self.kernel: Kernel = kernel_of(self.target.prog)
        self.missing = False
        self.unreadable = False
        self._said: set[str] = set()

    @property
    def status(self) -> int:
        """The exit status: the first that applies of design's list."""
        return NOT_FOUND if self.missing else UNREADABLE if self.unreadable else 0

    def complain(self, message: str) -> None:
        """Something could not be read: said once, and the run goes on."""
        self.unreadable = True
        if message not in self._said:
            self._said.add(message)
            logger.warning(printable(message))

    def handles(
        self, specs: Sequence[Spec], *, everything: bool, force: bool, netns: str | None = None
    ) -> Iterator[Handle]:
        """The sockets that were asked for; what matched nothing is said and remembered."""
        try:
            inode = None if netns is None else find_netns(self.kernel, netns, self.complain)
        except NotASocketError as error:
            self._say_missing(error)
            return
        if everything:
            every = all_sockets(self.kernel, self.complain)
            yield from (handle for handle in every if in_namespace(self.kernel, handle, inode))
            return
        for located in locate(self.kernel, specs, self.complain, force=force, netns=inode):
            for remark in located.remarks:
                logger.warning("%s", printable(remark))
            yield from located.handles
            if located.error is not None:
                self._say_missing(located.error)

    def _say_missing(self, error: NotASocketError) -> None:
        self.missing = True
        click.echo(f"sockcrash: error: {printable(error.message)}", err=True)
        if error.hint:
            click.echo(f"hint: {printable(error.hint)}", err=True)

    def option_reader(
        self, *, every: bool, levels: frozenset[str] = frozenset(), names: frozenset[str] = frozenset()
    ) -> OptionReader:
        """A reader of those options of this kernel's sockets, for ``records``."""
        return OptionReader(self.kernel, self.complain, every=every, levels=levels, names=names)

    def records(
        self, handles: Iterable[Handle], *, many: bool, options: OptionReader | None = None
    ) -> Iterator[SocketRecord]:
        """Each handle decoded; one that can't be read at all is said and left out."""
        owners = Owners(self.kernel, self.complain, many=many)
        for handle in handles:
            try:
                record = decode(self.kernel, handle, owners, options)
            except drgn.FaultError as error:
                self.complain(f"the socket at {handle.address:#x} is unreadable: {error}")
                continue
            self.note(record)
            yield record

    def note(self, record: SocketRecord) -> None:
        """Remember whether something of a record was unreadable or torn."""
        gone = [value for section in record.sections().values() for value in section.absent().values()]
        gone += [value for name in _NO_SECTIONS if (value := getattr(record, name)).__class__ is Absent]
        if isinstance(record.options, tuple):
            gone += [option.value for option in record.options if isinstance(option.value, Absent)]
        if record.torn or any(value.reason is Reason.UNREADABLE for value in gone):
            self.unreadable = True


def parse_specs(words: tuple[str, ...], *, everything: bool) -> list[Spec]:
    """The SPECs of a command line; a core dump among them gets its own advice."""
    if everything == bool(words):
        raise UsageError("name sockets, or say --all, but not both", hint=FORMS)
    specs = []
    for word in words:
        try:
            specs.append(parse_spec(word))
        except UsageError:
            if looks_like_core(word):
                raise UsageError(f"{word} is a core dump", hint=f"did you mean -c {word}?") from None
            raise
    return with_texts(specs)
