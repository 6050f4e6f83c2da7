# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records that travel from decoding to rules and renderers: plain, frozen, free of drgn objects."""

from __future__ import annotations

import enum
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sockcrash.model.container import container_of
from sockcrash.model.owner import OtherEnd, Owner

if TYPE_CHECKING:
    from sockcrash.model.waiting import GivesUp, Queue

__all__ = (
    "EMPTY",
    "Absent",
    "Account",
    "Disagreement",
    "Endpoint",
    "Names",
    "OptionValue",
    "OtherEnd",
    "Owner",
    "Reason",
    "Section",
    "SocketRecord",
    "Tally",
    "Timer",
    "quick",
)


class Reason(enum.Enum):
    """Why a value is not there."""

    NOT_APPLICABLE = "not_applicable"
    NOT_IN_KERNEL = "not_in_kernel"
    UNREADABLE = "unreadable"
    NO_TYPE_INFO = "no_type_info"
    NOT_IN_SNAPSHOT = "not_in_snapshot"
    NOT_ASSIGNED = "not_assigned"
    UNLIMITED = "unlimited"
    SECRET = "secret"


@dataclass(frozen=True, slots=True)
class Absent:
    """A value that is not there, with the reason; never stands for 0, None or an empty string."""

    reason: Reason
    detail: str = ""
    _text: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reason = self.reason.value
        object.__setattr__(self, "_text", f"{reason}: {self.detail}" if self.detail else reason)

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return False

    @property
    def lost(self) -> bool:
        """Whether there may be a value, but it can't be told."""
        return self.reason in _LOST


_LOST = frozenset({Reason.UNREADABLE, Reason.NO_TYPE_INFO, Reason.NOT_IN_SNAPSHOT})
T = TypeVar("T")


def quick(cls: type[T], fields: dict[str, Any]) -> T:
    """An instance of a frozen dataclass without slots, which takes ``fields`` over: all that have no default.

    The constructor sets them one by one through object.__setattr__, which takes ten times as long.
    """
    made = object.__new__(cls)
    object.__setattr__(made, "__dict__", fields)
    return made


class Names(dict[str, int]):
    """The names of a section and their places, for all sections that one reader makes.

    ``fixed`` is what is absent in all of them, ``maybe`` has names and places of what may be absent in some.
    ``blank`` is a dict with all names: a copy of it is filled faster than a new one.
    """

    __slots__ = ("blank", "fixed", "maybe")

    def __init__(self, names: Iterable[str], fixed: Mapping[str, Absent], maybe: Iterable[str]) -> None:
        super().__init__((name, number) for number, name in enumerate(names))
        self.fixed = dict(fixed)
        self.maybe = tuple((name, self[name]) for name in maybe)
        self.blank: dict[str, Any] = dict.fromkeys(self)


class Section(Mapping[str, Any]):
    """An immutable mapping over one unpacked tuple; the index of names is shared by all sockets of a kernel.

    ``index`` maps each name to its place in the tuple, and has them in that order. ``holes``: the object was partly
    unreadable, so that anything may be absent.
    """

    __slots__ = ("_index", "_lost", "_values", "holes")

    def __init__(self, index: Mapping[str, int], values: tuple[Any, ...], holes: bool = False) -> None:
        self._index = index
        self._values = values
        self._lost: dict[str, Absent] | None = None
        self.holes = holes

    def __getitem__(self, name: str) -> Any:
        return self._values[self._index[name]]

    def pick(self, names: Iterable[str]) -> list[Any]:
        """The values of some names: all of them at once, not one look-up each."""
        return [self._values[self._index[name]] for name in names]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def items(self) -> ItemsView[str, Any]:
        """Names and values; all of them at once, not one look-up each."""
        return self.plain().items()

    def values(self) -> ValuesView[Any]:
        """The values; likewise."""
        return self.plain().values()

    def plain(self) -> dict[str, Any]:
        """A dict of its own."""
        index = self._index
        made = index.blank.copy() if isinstance(index, Names) else {}
        made.update(zip(index, self._values, strict=True))
        return made

    def absent(self) -> dict[str, Absent]:
        """What is absent, by name."""
        return {**self.never(), **self.lost()}

    def never(self) -> dict[str, Absent]:
        """What is absent in all sections of its reader: this kernel has no such thing."""
        return self._index.fixed if isinstance(self._index, Names) and not self.holes else {}

    def lost(self) -> dict[str, Absent]:
        """What else is absent; looked for once."""
        if self._lost is None:
            values, index = self._values, self._index
            if isinstance(index, Names) and not self.holes:
                self._lost = {name: values[at] for name, at in index.maybe if values[at].__class__ is Absent}
            else:
                self._lost = {name: value for name, value in self.items() if value.__class__ is Absent}
        return self._lost

    @property
    def index(self) -> Mapping[str, int]:
        """The names with their places: the same object for all sections that one reader made."""
        return self._index

    @property
    def unpacked(self) -> tuple[Any, ...]:
        """The values in the order of the names."""
        return self._values

    def __hash__(self) -> int:
        return hash((tuple(self._index), self._values))

    def __repr__(self) -> str:
        return f"Section({dict(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Section, (dict(self._index), self._values, self.holes))


EMPTY = Section({}, ())


@dataclass(frozen=True)
class Endpoint:
    """One end of a socket. A member is None where the family has no such thing, Absent where this end has none.

    Inet: ``address``, ``port`` (RAW: the protocol). UNIX: ``path``, with ``@`` before an abstract one, backslashes and
    what is no printable UTF-8 as escapes; ``inode`` of the peer. NETLINK: ``protocol``, whose port IDs are its own,
    ``portid``, numbers of ``groups``. PACKET: ``ifindex``, ``device``, ``ethertype``. XDP: ``ifindex``, ``device``,
    ``queue``. VSOCK: ``cid``, ``port``.
    """

    address: str | None = None
    port: int | None = None
    path: str | Absent | None = None
    inode: int | Absent | None = None
    protocol: str | Absent | None = None
    portid: int | None = None
    groups: tuple[int, ...] | Absent | None = None
    ifindex: int | None = None
    device: str | Absent | None = None
    ethertype: int | None = None
    queue: int | None = None
    cid: int | None = None

    def members(self) -> dict[str, Any]:
        """What this family's ends have, by name."""
        if self.address is not None and self.port is not None:
            return {"address": self.address, "port": self.port}
        values = ((name, getattr(self, name)) for name in _END)
        return {name: value for name, value in values if value is not None}


_END = (
    "address", "cid", "port", "path", "inode", "protocol", "portid", "groups", "ifindex", "device", "ethertype",
    "queue",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer of a socket. ``expires_in_ms`` is negative when it is overdue."""

    name: str
    pending: bool | Absent
    expires_in_ms: int | Absent


@dataclass(frozen=True)
class OptionValue:
    """One socket option. ``raw`` is what getsockopt(2) would copy out, or why that is not shown.

    ``origin``: set, default, kernel, or None where it can't be told. ``default`` is None for facts; ``default_from``
    is the sysctl that it comes from. ``inherited_from`` is the address of the listener that had it before.
    ``text`` and ``default_text`` are for people.
    """

    level: str
    name: str
    number: int
    value: Any
    text: str
    origin: str | None
    raw: bytes | Absent
    member: str | None
    default: Any = None
    default_from: str | None = None
    inherited_from: int | None = None
    default_text: str = ""

    @cached_property
    def differs(self) -> bool:
        """Whether an untouched socket would show something else; also where that can't be read."""
        if self.origin is None and self.default is not None and not isinstance(self.value, Absent):
            return bool(self.value != self.default)
        return self.origin == "set" or (isinstance(self.value, Absent) and self.value.lost)


_NO_CONTAINER = Absent(Reason.NOT_APPLICABLE, "its control group is no container's")
_NO_QUEUES = Absent(Reason.NOT_APPLICABLE, "a socket of this kind has none")


@dataclass(frozen=True, kw_only=True)
class SocketRecord:
    """Everything that was read of one socket."""

    address: int
    kind: str
    how: str
    family: str | Absent
    type: str | Absent
    protocol: str | Absent
    state: str | Absent
    local: Endpoint | Absent
    peer: Endpoint | Absent
    inode: int | Absent
    cookie: int | Absent
    netns: int | Absent
    uid: int | Absent
    cgroup: str | Absent
    ifindex: int | Absent
    device: str | Absent
    mark: int | Absent
    v6only: bool | Absent
    proved: bool = True
    torn: bool = False
    note: str = ""
    options: tuple[OptionValue, ...] | Absent | None = None
    owners: tuple[Owner, ...] | Absent = ()
    other_end: tuple[OtherEnd, ...] | Absent | None = None
    netns_names: tuple[str, ...] | None = None
    netns_processes: int | Absent | None = None
    sock: Section = EMPTY
    tcp: Section = EMPTY
    cc: Section | Absent = EMPTY
    minisock: Section = EMPTY
    mptcp: Section = EMPTY
    udp: Section = EMPTY
    raw: Section = EMPTY
    unix: Section = EMPTY
    packet: Section = EMPTY
    netlink: Section = EMPTY
    vsock: Section = EMPTY
    xdp: Section = EMPTY
    timers: tuple[Timer, ...] | None = None
    gives_up: GivesUp | Absent | None = None
    queues: tuple[Queue, ...] | None = None

    def __repr__(self) -> str:
        state = self.state if isinstance(self.state, str) else ""
        return f"<SocketRecord {self.kind} {state} {self.address:#x}>"

    @property
    def container(self) -> str | Absent:
        """The container that made it, where its control group tells."""
        return self.cgroup if isinstance(self.cgroup, Absent) else container_of(self.cgroup) or _NO_CONTAINER

    @property
    def recv_q(self) -> int | Absent:
        """Recv-Q as ss prints it: of a listener the length of its accept queue."""
        return self._queue("recv_q", "sk_ack_backlog", "receive_queue_bytes", "sk_rmem_alloc")

    @property
    def send_q(self) -> int | Absent:
        """Send-Q as ss prints it: of a listener the limit of its accept queue."""
        return self._queue("send_q", "sk_max_ack_backlog", "send_queue_bytes", "wmem_alloc_bytes")

    def _queue(self, own: str, listening: str, streaming: str, memory: str) -> int | Absent:
        if self.kind == "tcp":
            queue: int | Absent = self.sock[listening] if self.state == "LISTEN" else self.tcp[streaming]
            return queue
        for section in self.sections().values():
            if own in section:
                return section[own]  # type: ignore[no-any-return]
        if self.minisock:
            return 0
        return self.sock[memory] if self.sock else _NO_QUEUES

    def sections(self) -> dict[str, Section]:
        """The sections that this kind of socket has, by name."""
        return {name: section for name in SECTIONS if (section := getattr(self, name))._values}


SECTIONS = ("sock", "tcp", "minisock", "mptcp", "udp", "raw", "unix", "packet", "netlink", "vsock", "xdp")


@dataclass(frozen=True, slots=True)
class Tally:
    """How the options of one level fared against getsockopt(2).

    ``lost``: those that memory does not give, by name and reason, and how often.
    """

    level: str
    compared: int
    equal: int
    moved: int
    lost: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One option of one socket of which memory says ``memory`` and getsockopt says ``kernel``."""

    socket: str
    level: str
    name: str
    number: int
    memory: str
    kernel: str


@dataclass(frozen=True, slots=True)
class Account:
    """Options in memory against getsockopt(2). ``silent`` sockets could not be compared.

    ``unknown``: options that the kernel answers and no row knows, by level and number, with the sockets.
    """

    sockets: int
    tallies: tuple[Tally, ...]
    disagreements: tuple[Disagreement, ...]
    unknown: Mapping[tuple[str, int], tuple[str, ...]]
    silent: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against us."""
        return not self.disagreements and not self.unknown
