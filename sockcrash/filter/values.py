# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a record can be asked for by one name, for filters and columns: fields, members, options, owners.

Names of members are those of the JSON Schema; ``tcp.snd_cwnd`` says of which section. Names that ss has for them are
aliases, in the units that ss prints.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sockcrash.decode.want import NOTHING, Want
from sockcrash.errors import UsageError, nearest
from sockcrash.kernel.options import ROWS
from sockcrash.model import Absent, Endpoint, OtherEnd, Reason, Section, SocketRecord
from sockcrash.model.netns import short_name

__all__ = (
    "NETIDS",
    "QUEUE_MEMBERS",
    "Get",
    "Value",
    "checked_values",
    "find_value",
    "known_names",
    "member_names",
    "needed",
    "other_name",
    "schema",
)

Get = Callable[[SocketRecord], Any]


@dataclass(frozen=True, slots=True)
class Value:
    """One thing to ask for: ``get(record)`` is it, an Absent, or a tuple of several.

    ``words``: it is text, else a number (True is 1); None: either. ``want`` and ``options`` (names) are what must be
    read for it. ``hexadecimal``: so it is written, without 0x by ss: an address, a cookie. ``manifold``: an option of
    several numbers, which has no order. ``caseless``: an option whose words are our names for numbers.
    """

    name: str
    get: Get
    words: bool | None = False
    want: Want = NOTHING
    options: frozenset[str] = frozenset()
    hexadecimal: bool = False
    manifold: bool = False
    caseless: bool = False


def _member_of_end(end: str, member: str, what: str) -> Get:
    absent = Absent(Reason.NOT_APPLICABLE, f"it has no {what}")

    def get(record: SocketRecord) -> Any:
        found = getattr(record, end)
        if not isinstance(found, Endpoint):
            return found
        value = getattr(found, member)
        return absent if value is None else value

    return get


def _of_owners(member: str) -> Get:
    def get(record: SocketRecord) -> Any:
        owners = record.owners
        if isinstance(owners, Absent):
            return owners
        return tuple(value for owner in owners if (value := getattr(owner, member)) is not None)

    return get


def _of_other_end(member: str) -> Get:
    """A member of the sockets at the other end; of their owners if it is one of these. Absent if one of them is."""
    of_end = member in OtherEnd.__dataclass_fields__
    wanted = attrgetter(member if of_end else "owners")

    def get(record: SocketRecord) -> Any:
        ends = record.other_end
        if ends is None or isinstance(ends, Absent):
            return _NO_OTHER_END if ends is None else ends
        found: list[Any] = []
        for one in ends:
            value = wanted(one)
            if value.__class__ is Absent:
                return value
            if of_end:
                found.append(value)
            else:
                found += [told for owner in value if (told := getattr(owner, member)) is not None]
        return tuple(found)

    return get


def _netns_name(record: SocketRecord) -> Any:
    return tuple(map(short_name, record.netns_names or ()))


# As ss names them: by kind, or kind and type.
NETIDS = {
    "tcp": "tcp", "tcp-timewait": "tcp", "tcp-request": "tcp", "netlink": "nl", "ping": "icmp",
    "unix SOCK_STREAM": "u_str", "unix SOCK_DGRAM": "u_dgr", "unix SOCK_SEQPACKET": "u_seq",
    "packet SOCK_RAW": "p_raw", "packet SOCK_DGRAM": "p_dgr",
    "vsock SOCK_STREAM": "v_str", "vsock SOCK_DGRAM": "v_dgr", "vsock SOCK_SEQPACKET": "v_seq",
}  # fmt: skip
_BY_TYPE = frozenset(name.partition(" ")[0] for name in NETIDS if " " in name)


def _netid(record: SocketRecord) -> str | Absent:
    found = NETIDS.get(record.kind) or NETIDS.get(f"{record.kind} {record.type}")
    if found is None and record.kind in _BY_TYPE and isinstance(record.type, Absent):
        return record.type
    return found or record.kind


def _timers(record: SocketRecord) -> tuple[str, ...] | Absent:
    timers = record.timers or ()
    for timer in timers:
        if isinstance(timer.pending, Absent):
            return timer.pending
    return tuple(timer.name for timer in timers if timer.pending)


_NONE = Absent(Reason.NOT_APPLICABLE, "a socket of this kind has none")
_QUEUES = {
    "recv_q": frozenset({"sk_ack_backlog", "receive_queue_bytes"}),
    "send_q": frozenset({"sk_max_ack_backlog", "send_queue_bytes"}),
}
QUEUE_MEMBERS = frozenset().union(*_QUEUES.values())
_OWNERS = Want(parts=frozenset({"owners"}))
_NAMESPACE = Want(parts=frozenset({"namespace"}))
_OTHER_END = Want(parts=frozenset({"other_end"}))
_NO_OTHER_END = Absent(Reason.NOT_APPLICABLE, "not looked for")
_IN_RECORD = ("kind", "family", "type", "protocol", "state", "device", "how", "note")
_NUMBERS_IN_RECORD = ("netns", "uid", "ifindex", "mark", "v6only", "torn", "proved")


def _attribute(
    name: str,
    words: bool | None = False,
    *,
    members: frozenset[str] = frozenset(),
    parts: frozenset[str] = frozenset(),
    hexadecimal: bool = False,
) -> Value:
    """What a record has as an attribute."""
    want = Want(members, parts, at_once=frozenset({name}))
    return Value(name, attrgetter(name), words, want, hexadecimal=hexadecimal)


_PLAIN = {
    value.name: value
    for value in (
        *(_attribute(name, True) for name in _IN_RECORD),
        *(_attribute(name) for name in _NUMBERS_IN_RECORD),
        *(_attribute(name, hexadecimal=True) for name in ("address", "cookie")),
        *(_attribute(name, members=members) for name, members in _QUEUES.items()),
        *(_attribute(name, None) for name in ("local", "peer")),
        _attribute("inode", parts=frozenset({"inode"})),
        _attribute("cgroup", True, parts=frozenset({"cgroup"})),
        Value("netid", _netid, True),
        Value("timers", _timers, True, want=Want(parts=frozenset({"timers"}))),
        Value("sport", _member_of_end("local", "port", "port")),
        Value("dport", _member_of_end("peer", "port", "port")),
        Value("path", _member_of_end("local", "path", "path"), True),
        Value("owners", attrgetter("owners"), None, want=_OWNERS),
        Value("owner", _of_owners("kind"), True, want=_OWNERS),
        Value("comm", _of_owners("comm"), True, want=_OWNERS),
        Value("pid", _of_owners("pid"), want=_OWNERS),
        Value("fd", _of_owners("fd"), want=_OWNERS),
        Value("user", _of_owners("user"), True, want=_OWNERS),
        Value("container", attrgetter("container"), True, want=Want(parts=frozenset({"cgroup"}))),
        Value("netns_name", _netns_name, True, want=_NAMESPACE),
        Value("netns_processes", attrgetter("netns_processes"), want=_NAMESPACE),
        Value("peer_comm", _of_other_end("comm"), True, want=_OTHER_END),
        Value("peer_pid", _of_other_end("pid"), want=_OTHER_END),
        Value("peer_socket", _of_other_end("address"), want=_OTHER_END, hexadecimal=True),
        Value("peer_netns", _of_other_end("netns"), want=_OTHER_END),
    )
}

# Other names: of ss, its columns and options, and plain synonyms. The number is what one of ours is of theirs.
_ALIASES: dict[str, tuple[str, int]] = {
    "dev": ("device", 1), "fwmark": ("mark", 1), "ino": ("inode", 1), "sk": ("cookie", 1),
    "recv-q": ("recv_q", 1), "send-q": ("send_q", 1), "src": ("local", 1), "dst": ("peer", 1), "process": ("comm", 1),
    "lport": ("sport", 1), "rport": ("dport", 1), "timer": ("timers", 1),
    # tcp_stats_print(), in its units: milliseconds, bits per second
    "rto": ("rto_ms", 1), "backoff": ("icsk_backoff", 1), "rtt": ("rtt_us", 1000), "rttvar": ("rttvar_us", 1000),
    "ato": ("ato_us", 1000), "mss": ("mss_cache", 1), "pmtu": ("icsk_pmtu_cookie", 1),
    "rcvmss": ("icsk_ack.rcv_mss", 1), "cwnd": ("snd_cwnd", 1), "lastsnd": ("lastsnd_ms", 1),
    "lastrcv": ("lastrcv_ms", 1), "lastack": ("lastack_ms", 1), "unacked": ("packets_out", 1),
    "retrans": ("retrans_out", 1), "retrans_total": ("total_retrans", 1), "sacked": ("sacked_out", 1),
    "rcv_rtt": ("rcv_rtt_us", 1000), "rcv_space": ("rcvq_space.space", 1), "notsent": ("notsent_bytes", 1),
    "minrtt": ("min_rtt_us", 1000), "busy": ("busy_us", 1000), "rwnd_limited": ("rwnd_limited_us", 1000),
    "sndbuf_limited": ("sndbuf_limited_us", 1000), "pacing_rate": ("pacing_rate_bytes_per_s", -8),
    "max_pacing_rate": ("max_pacing_rate_bytes_per_s", -8), "delivery_rate": ("delivery_rate_bytes_per_s", -8),
    "cong": ("congestion", 1),
    # -m: skmem
    "rmem": ("sk_rmem_alloc", 1), "rcvbuf": ("sk_rcvbuf", 1), "wmem": ("wmem_alloc_bytes", 1),
    "sndbuf": ("sk_sndbuf", 1), "fwd_alloc": ("sk_forward_alloc", 1), "wmem_queued": ("sk_wmem_queued", 1),
    "opt_mem": ("sk_omem_alloc", 1), "back_log": ("sk_backlog.len", 1),
}  # fmt: skip

# Sections of a record, and the definitions of the schema that they have.
_SECTIONS = {
    "sock": ("sock",), "tcp": ("tcp",), "minisock": ("timewait", "request"),
    **{name: (name,) for name in ("mptcp", "udp", "raw", "unix", "packet", "netlink", "vsock", "xdp")},
}  # fmt: skip
_CC = "cc."


def find_value(name: str) -> Value | None:
    """What is asked for by a name, None if there is no such thing. An option is meant before a member."""
    if name in _ALIASES:
        return _aliased(name, *_ALIASES[name])
    if name in _PLAIN:
        return _PLAIN[name]
    if name.upper() in _option_names():
        return _option(name)
    if name.startswith(_CC) and len(name) > len(_CC):
        return _of_congestion_control(name)
    sections = [section for section, members in _members().items() if name in members]
    if sections:
        return _member(name, name, sections)
    section, _, member = name.partition(".")
    if member in _members().get(section, {}):
        return _member(name, member, [section])
    return None


def checked_values(names: str, option: str) -> list[Value]:
    """What the names of an option stand for; a UsageError proposes the nearest for one that stands for nothing."""
    found = []
    for name in dict.fromkeys(word.strip() for word in names.split(",")):
        value = find_value(name)
        if value is None:
            hint = nearest(name, known_names()) if name else ""
            raise UsageError(f"{option}: no field or option is called {name!r}.{hint}")
        found.append(value)
    return found


def needed(values: Iterable[Value]) -> tuple[Want, frozenset[str]]:
    """The parts of records and the names of options that must be read for all of these."""
    want, options = NOTHING, frozenset[str]()
    for value in values:
        want |= value.want
        options |= value.options
    return want, options


def other_name(name: str) -> str | None:
    """What we call the thing that ss or common usage has under another name, None if it is no such name."""
    return _ALIASES[name][0] if name in _ALIASES else None


def member_names() -> list[str]:
    """Every member of some section."""
    return sorted({name for section in _members().values() for name in section})


def known_names() -> list[str]:
    """Every name but the qualified ones."""
    return sorted({*_PLAIN, *_ALIASES, *member_names(), *map(str.lower, _option_names())})


def _aliased(name: str, real: str, scale: int) -> Value:
    value = find_value(real)
    assert value is not None, real
    if scale == 1:
        return replace(value, name=name)
    get = value.get

    def scaled(record: SocketRecord) -> Any:
        found = get(record)
        if isinstance(found, Absent):
            return found
        return found / scale if scale > 0 else found * -scale

    return Value(name, scaled, value.words, value.want)


def _member(name: str, member: str, sections: list[str]) -> Value:
    """A member of those sections that have it; the first that a record has counts."""

    def get(record: SocketRecord) -> Any:
        for section in sections:
            found: Section = getattr(record, section)
            if member in found:
                return found[member]
        return Absent(Reason.NOT_APPLICABLE, f"a {record.kind} socket has no {member}")

    kind = _members()[sections[0]][member]
    words = None if kind == "other" else kind != "number"
    return Value(name, get, words, Want(frozenset({member})), hexadecimal=kind == "address")


def _of_congestion_control(name: str) -> Value:
    """A member of the private area, which depends on the algorithm."""
    member = name.removeprefix(_CC)

    def get(record: SocketRecord) -> Any:
        if isinstance(record.cc, Absent):
            return record.cc
        return record.cc.get(member, _NONE)

    return Value(name, get, None, Want(parts=frozenset({"cc"})))


def _option(name: str) -> Value:
    wanted = name.upper()

    def get(record: SocketRecord) -> Any:
        if isinstance(record.options, Absent):
            return record.options
        return next((option for option in record.options or () if option.name == wanted), _NONE)

    types = {row.codec.json for row in ROWS if row.name == wanted}
    return Value(
        name,
        get,
        None,
        options=frozenset({wanted}),
        manifold=not types.isdisjoint(("object", "list")),
        caseless="string" not in types,
    )


@lru_cache(maxsize=1)
def _option_names() -> frozenset[str]:
    return frozenset(row.name for row in ROWS)


@lru_cache(maxsize=1)
def schema() -> Mapping[str, Any]:
    """The definitions of the JSON Schema."""
    content = (importlib.resources.files("sockcrash") / "schema.json").read_text()
    found: Mapping[str, Any] = json.loads(content)["$defs"]
    return found


@lru_cache(maxsize=1)
def _members() -> Mapping[str, Mapping[str, str]]:
    """The members of each section, and what they are: number, text, address, other."""
    return {
        section: {
            member: _kind(about)
            for definition in definitions
            for member, about in schema()[definition]["properties"].items()
        }
        for section, definitions in _SECTIONS.items()
    }


def _kind(about: Mapping[str, Any]) -> str:
    type_ = about.get("$ref", "").rpartition("/")[2] or about.get("type")
    if type_ in ("text", "texts", "bytes"):
        return "text"
    if type_ == ["string", "null"]:
        return "address"
    return "number" if type_ in ("integer", ["boolean", "null"]) else "other"
