# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a line of `ss -tanieOm` says: its columns and each of its keys (iproute2, misc/ss.c: tcp_show_info)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ("Line", "UnknownKeyError", "parse", "parse_line")

# Words that are keys of their own: they stand there or they don't.
WORDS = frozenset({"ts", "sack", "ecn", "ecnseen", "fastopen", "app_limited", "bidir", "zc_ro_tx"})
# Keys whose value is the next word.
SPACED = frozenset({"send", "pacing_rate", "delivery_rate"})
SPACED_COLON = frozenset({"rxconf:", "txconf:", "version:", "cipher:"})
KEYS = frozenset(
    {
        "timer", "uid", "ino", "sk", "fwmark", "cgroup", "v6only", "skmem", "wscale", "rto", "backoff", "rtt", "ato",
        "qack", "mss", "pmtu", "rcvmss", "advmss", "cwnd", "ssthresh", "bytes_sent", "bytes_retrans", "bytes_acked",
        "bytes_received", "segs_out", "segs_in", "data_segs_out", "data_segs_in", "dctcp", "bbr", "lastsnd", "lastrcv",
        "lastack", "delivered", "delivered_ce", "busy", "rwnd_limited", "sndbuf_limited", "unacked", "retrans", "lost",
        "sacked", "dsack_dups", "fackets", "reordering", "reord_seen", "rcv_rtt", "rcv_space", "rcv_ssthresh",
        "notsent", "minrtt", "rcv_ooopack", "snd_wnd", "rcv_wnd", "rehash", "backlog", "flags", "token", "seq", "sfseq",
        "ssnoff", "maplen", "md5keys", "total_rto", "total_rto_recoveries", "total_rto_time", "tcp_usec_ts",
    }
)  # fmt: skip
HEADER = re.compile(r"State +Recv-Q +Send-Q ")
LINE = re.compile(
    r"(?:ESTAB|(?:SYN|FIN|TIME|CLOSE|LAST)-[A-Z0-9-]+|LISTEN|CLOSING|UNCONN) +\d+ +\d+ +\S+ +\S+ "
)
SHUTDOWN = re.compile(r"[<-]-[>-]")
ULP = "tcp-ulp-"


class UnknownKeyError(ValueError):
    """ss prints something that nobody has thought about yet."""


@dataclass(frozen=True, slots=True)
class Line:
    """One socket as ss prints it: every column and key as text, under the name that it has there.

    Added names: state, Recv-Q, Send-Q, local, peer, shutdown (`<->`), congestion, tcp-ulp.
    """

    keys: dict[str, str]
    text: str

    @property
    def cookie(self) -> int:
        """The number behind `sk:`."""
        return int(self.keys["sk"], 16)


def parse(text: str) -> list[Line]:
    """All lines of an output, with a header or without."""
    return [parse_line(line) for line in text.splitlines() if line.strip() and not HEADER.search(line)]


def parse_line(text: str) -> Line:
    """One line; UnknownKeyError names what is not known.

    What stands before the state is no part of it: this ss prints MD5 keys past its own buffer, ahead of everything.
    """
    found = LINE.search(text)
    if not found:
        raise UnknownKeyError(f"no state in: {text}")
    text = text[found.start() :]
    state, received, queued, local, peer, *words = text.split()
    keys = {"state": state, "Recv-Q": received, "Send-Q": queued, "local": local, "peer": peer}
    rest = iter(words)
    for word in rest:
        name, value = _key(word, keys)
        if name in keys:
            raise UnknownKeyError(f"{name} twice in: {text}")
        keys[name] = next(rest) if name in SPACED or f"{name}:" in SPACED_COLON else value
    return Line(keys, text)


def _key(word: str, before: dict[str, str]) -> tuple[str, str]:
    """The name of the key that a word is or begins, and its value."""
    name, colon, value = word.partition(":")
    if word in WORDS or word in SPACED:
        return word, ""
    if word in SPACED_COLON or (colon and name in KEYS):
        return name, value
    if SHUTDOWN.fullmatch(word):
        return "shutdown", word
    if word.startswith(ULP):
        return "tcp-ulp", word.removeprefix(ULP)
    # The name of the congestion control stands bare behind skmem and the words of options.
    if (
        "skmem" in before
        and "congestion" not in before
        and "cwnd" not in before
        and re.fullmatch(r"[a-z][\w-]*", word)
    ):
        return "congestion", word
    raise UnknownKeyError(f"{word!r} is nothing that ss was known to print")
