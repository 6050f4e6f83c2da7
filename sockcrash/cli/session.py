# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run of a command on one kernel: what it shows, what it has to complain of, and the exit status that follows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import drgn

from sockcrash.cli.errors import say_error
from sockcrash.cli.texts import with_texts
from sockcrash.decode import decoder
from sockcrash.decode.inheritance import OptionReader
from sockcrash.decode.owner import Owners
from sockcrash.decode.want import AROUND, EVERYTHING, Want
from sockcrash.errors import NotASocketError, UsageError
from sockcrash.kernel.view import Kernel, kernel_of
from sockcrash.locate import all_sockets, in_namespace, locate
from sockcrash.locate.named import missing
from sockcrash.locate.netns import find_netns
from sockcrash.locate.spec import FORMS, Spec, parse_spec
from sockcrash.model import Absent, Endpoint, OptionValue, Reason, Section, SocketRecord, Timer
from sockcrash.render.escape import printable
from sockcrash.target import Target, TargetOptions, looks_like_core, open_target

if TYPE_CHECKING:
    from sockcrash.filter import Filter
    from sockcrash.locate.address import Handle
    from sockcrash.model.waiting import Queue

__all__ = ("Session", "parse_specs", "several")

# Most values are of these types, and have nothing absent in them.
_TELLING_NOTHING = frozenset({str, int, bool, bytes, type(None)})
_REASON = attrgetter("reason")

T = TypeVar("T")

logger = logging.getLogger("sockcrash")

UNREADABLE = 4


class Session:
    """A target that is open, and what went wrong so far."""

    # Of the last record; most have them alike, and need not be looked through again.
    _noted: tuple[object, ...] = ()

    def __init__(self, options: TargetOptions) -> None:
        self.target: Target = open_target(options)
        self.kernel: Kernel = kernel_of(self.target.prog)
        self.missing = False
        self.unreadable = False
        self._said: set[str] = set()
        self._all_owners: Owners | None = None
        self._few_owners: Owners | None = None

    @property
    def status(self) -> int:
        """The exit status: what is missing goes before what is unreadable."""
        return NotASocketError.exit_code if self.missing else UNREADABLE if self.unreadable else 0

    def tells(self, want: Want) -> bool:
        """Whether that much can be had: all of it, in principle."""
        del want
        return True

    def complain(self, message: str) -> None:
        """Something could not be read: said once, and the run goes on."""
        self.unreadable = True
        if message not in self._said:
            self._said.add(message)
            logger.warning(printable(message))

    def handles(
        self,
        specs: Sequence[Spec],
        *,
        force: bool = False,
        netns: str | None = None,
        selected: Filter | None = None,
    ) -> Iterator[Handle]:
        """The sockets that were asked for, all if none is named; what matched nothing is said and remembered.

        With ``selected`` those of them that it selects: no more is read of the others than it looks at.
        """
        found = self._named(specs, force=force, netns=netns)
        if selected is None:
            return found
        self.resolve_filter(selected)
        return self._or_why(self._selected(found, selected), selected)

    def resolve_filter(self, selected: Filter) -> None:
        """Look up what a filter names; NotASocketError if there is no such namespace."""
        selected.resolve(self._find_netns)

    def _or_why(self, found: Iterator[T], selected: Filter) -> Iterator[T]:
        """What was selected; then what was left out for want of a value, or why it is nothing at all."""
        first = next(found, None)
        if first is None:
            for sentence in missing(self.kernel, selected.named):
                logger.warning("%s", printable(sentence))
        else:
            yield first
            yield from found
        for name, why in selected.lost.items():
            say = self.complain if why.reason is Reason.UNREADABLE else logger.warning
            say(f"filter: {name} can't be told of some sockets, so it selects none of them: {why}")

    def _selected(self, handles: Iterable[Handle], selected: Filter) -> Iterator[Handle]:
        owners = self._owners(many=True) if selected.want.parts & AROUND else None
        options = self.option_reader(every=False, names=selected.options) if selected.options else None
        decode = decoder(self.kernel, owners, options, selected.want)
        for handle in handles:
            try:
                if selected.matches(decode(handle)):
                    yield handle
            except drgn.FaultError as error:
                self.complain(f"the socket at {handle.address:#x} is unreadable: {error}")

    def _find_netns(self, name: str) -> int:
        """The inode of a namespace that a filter names."""
        try:
            return find_netns(self.kernel, name, self.complain)
        except NotASocketError as error:
            message = f"filter: netns = {error.message.removeprefix('--netns ')}"
            raise NotASocketError(name, message, hint=error.hint) from None

    def _owners(self, *, many: bool) -> Owners:
        if not many:
            if self._few_owners is None:
                self._few_owners = Owners(self.kernel, self.complain, many=False)
            return self._few_owners
        if self._all_owners is None:
            self._all_owners = Owners(self.kernel, self.complain, many=True)
        return self._all_owners

    def _named(self, specs: Sequence[Spec], *, force: bool, netns: str | None) -> Iterator[Handle]:
        try:
            inode = None if netns is None else find_netns(self.kernel, netns, self.complain)
        except NotASocketError as error:
            self._say_missing(error)
            return
        if not specs:
            every = all_sockets(self.kernel, self.complain)
            yield from (
                every
                if inode is None
                else filter(partial(in_namespace, self.kernel, netns=inode, complain=self.complain), every)
            )
            return
        for located in locate(self.kernel, specs, self.complain, force=force, netns=inode):
            for remark in located.remarks:
                logger.warning("%s", printable(remark))
            yield from located.handles
            if located.error is not None:
                self._say_missing(located.error)

    def _say_missing(self, error: NotASocketError) -> None:
        self.missing = True
        say_error(error)

    def option_reader(
        self, *, every: bool, levels: frozenset[str] = frozenset(), names: frozenset[str] = frozenset()
    ) -> OptionReader:
        """A reader of those options of this kernel's sockets, for ``records``."""
        return OptionReader(self.kernel, self.complain, every=every, levels=levels, names=names)

    def records(
        self,
        handles: Iterable[Handle],
        *,
        many: bool,
        options: OptionReader | None = None,
        want: Want = EVERYTHING,
    ) -> Iterator[SocketRecord]:
        """Each handle decoded, the wanted part of it; one that can't be read at all is said and left out.

        Of a whole record it is noted what was unreadable; of parts whoever shows them does so.
        """
        owners = self._owners(many=many) if want.parts & AROUND else None
        decode = decoder(self.kernel, owners, options, want)
        for handle in handles:
            try:
                record = decode(handle)
            except drgn.FaultError as error:
                self.complain(f"the socket at {handle.address:#x} is unreadable: {error}")
                continue
            if want.members is None:
                self.note(record)
            yield record

    def every_record(
        self,
        *,
        netns: str | None,
        selected: Filter | None,
        options: OptionReader | None,
        want: Want,
    ) -> Iterator[SocketRecord]:
        """As ``records`` of all sockets, those that ``selected`` selects.

        A dump's are decoded once for both, unless options are asked for, which cost more than a second time.
        """
        if selected is None or self.kernel.live or options is not None or selected.options:
            found = self.handles((), netns=netns, selected=selected)
            return self.records(found, many=True, options=options, want=want)
        self.resolve_filter(selected)
        every = self.handles((), netns=netns)
        records = self.records(every, many=True, want=want | selected.want)
        return self._or_why(filter(selected.matches, records), selected)

    def note_values(self, record: SocketRecord, values: Iterable[Any]) -> None:
        """Remember whether some of these values of a record were unreadable, or it is torn."""
        absent = _absent_in(values)
        if record.torn or (absent and Reason.UNREADABLE in map(_REASON, absent)):
            self.unreadable = True

    def note(self, record: SocketRecord) -> None:
        """Remember whether something of a record was unreadable or torn."""
        self.note_values(record, vars(record).values())
        if isinstance(record.options, tuple):
            self.note_values(record, [option.value for option in record.options])
        if isinstance(record.other_end, tuple):
            self.note_values(record, [one for end in record.other_end for one in (end.netns, end.owners)])
        parts = record.timers, record.queues
        if parts != self._noted:
            self._noted = parts
            self.note_values(record, _values_in(*parts))


def _values_in(timers: tuple[Timer, ...] | None, queues: tuple[Queue, ...] | None) -> list[Any]:
    """What may be unreadable in these parts of a record."""
    values: list[Any] = [timer.expires_in_ms for timer in timers or ()]
    return values + [value for queue in queues or () for value in (queue.bytes, queue.skbs)]


def _absent_in(values: Iterable[Any]) -> list[Absent]:
    """What of these values is absent, or in them: members of an end or of a section, the value of an option."""
    found: list[Absent] = []
    for value in values:
        kind = value.__class__
        if kind in _TELLING_NOTHING:
            continue
        if kind is Absent:
            found.append(value)
        elif kind is Section:
            found += value.lost().values()
        elif kind is Endpoint and value.address is None:
            found += [member for member in vars(value).values() if member.__class__ is Absent]
        elif kind is OptionValue and value.value.__class__ is Absent:
            found.append(value.value)
    return found


def parse_specs(words: tuple[str, ...], *, everything: bool, selected: Filter | None = None) -> list[Spec]:
    """The SPECs of a command line, none if everything is meant, as by a filter alone.

    A core dump among them gets its own advice.
    """
    if everything and words:
        raise UsageError(f"--all means every socket, {words[0]} does not", hint="leave one of them out")
    if not (everything or words or selected):
        raise UsageError("which sockets? Name some, or say --all or --filter", hint=FORMS)
    specs = []
    for word in words:
        try:
            specs.append(parse_spec(word))
        except UsageError:
            if looks_like_core(word):
                raise UsageError(f"{word} is a core dump", hint=f"did you mean -c {word}?") from None
            raise
    return with_texts(specs)


def several(specs: Sequence[Spec]) -> bool:
    """Whether they may mean more than one socket: then all tasks are looked through once for all of these."""
    return len(specs) != 1 or specs[0].plural
