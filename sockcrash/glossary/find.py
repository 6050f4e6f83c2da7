# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which entries a person means by a name or by words, and which names lie near one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import lru_cache

from sockcrash.glossary import Entry, entries, plain

__all__ = ("find", "near", "search")

# What people write before the name of a state or a flag, and the sections that a struct's name stands for.
_PREFIXES = ("tcp_", "tcpf_")
_STRUCTS = {
    "tcp_sock": "tcp", "inet_connection_sock": "tcp", "sock_common": "record", "tcp_timewait_sock": "timewait",
    "inet_timewait_sock": "timewait", "tcp_request_sock": "request", "inet_request_sock": "request",
    "request_sock": "request", "mptcp_sock": "mptcp", "udp_sock": "udp", "unix_sock": "unix", "raw_sock": "raw",
    "packet_sock": "packet", "netlink_sock": "netlink", "vsock_sock": "vsock", "xdp_sock": "xdp",
}  # fmt: skip


def find(name: str) -> list[Entry]:
    """Every entry of that name: a C member (also its last part), a variable of an RFC, an option, a state, a timer.

    ``tcp.snd_nxt`` and ``tcp_sock.snd_nxt`` say of which section. Capitals, hyphens and underscores don't matter.
    """
    wanted = plain(name).removesuffix("()")
    found = (*_index().get(wanted, ()), *_last_parts().get(wanted, ()))
    return list(dict.fromkeys(found or _prefixed(wanted) or _qualified(wanted)))


def _prefixed(wanted: str) -> tuple[Entry, ...]:
    """A state or a flag by its enumerator."""
    bare = next((wanted.removeprefix(one) for one in _PREFIXES if wanted.startswith(one)), "")
    return tuple(entry for entry in _index().get(bare, ()) if entry.sort in ("state", "flag"))


def _qualified(wanted: str) -> tuple[Entry, ...]:
    """A member with its section or its struct, an option with its level."""
    struct, _, member = wanted.partition(".")
    section = _STRUCTS.get(struct, struct)
    return tuple(entry for entry in _index().get(member, ()) if plain(entry.section) == section)


def near(name: str, count: int = 6) -> list[str]:
    """Names like one that nobody knows: misspelt, or a part of them."""
    wanted = plain(name)
    known = {plain(one): one for entry in entries() for one in entry.names}
    close = get_close_matches(wanted, known, n=count, cutoff=0.7)
    parts = (one for one in sorted(known, key=len) if len(wanted) > 2 and wanted in one)
    return [known[one] for one in list(dict.fromkeys((*close, *parts)))[:count]]


def search(words: Iterable[str]) -> list[Entry]:
    """Entries that have all of the words anywhere, those that have them in their name or first line before others."""
    wanted = [word.casefold() for word in words]
    ranked = []
    for entry in entries():
        parts = [" ".join(entry.names).casefold(), entry.means.casefold(), " ".join(_texts(entry)).casefold()]
        ranks = [next((rank for rank, part in enumerate(parts) if word in part), None) for word in wanted]
        if wanted and None not in ranks:
            ranked.append((sum(rank for rank in ranks if rank is not None), entry))
    return [entry for _, entry in sorted(ranked, key=lambda pair: pair[0])]


def _texts(entry: Entry) -> Iterator[str]:
    yield from (entry.what, entry.text, entry.unit, entry.misread)
    yield from entry.sources
    for file, functions in entry.written:
        yield from (file, *functions)


@lru_cache(maxsize=1)
def _index() -> dict[str, tuple[Entry, ...]]:
    return _indexed((plain(name), entry) for entry in entries() for name in entry.names)


@lru_cache(maxsize=1)
def _last_parts() -> dict[str, tuple[Entry, ...]]:
    """By what stands behind the last dot of a name."""
    names = ((name, entry) for entry in entries() for name in (entry.name, *entry.also) if "." in name)
    return _indexed((plain(name.rpartition(".")[2]), entry) for name, entry in names)


def _indexed(pairs: Iterable[tuple[str, Entry]]) -> dict[str, tuple[Entry, ...]]:
    found: dict[str, tuple[Entry, ...]] = {}
    for name, entry in pairs:
        if entry not in found.get(name, ()):
            found[name] = (*found.get(name, ()), entry)
    return found
