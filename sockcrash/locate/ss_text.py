# SPDX-License-Identifier: LGPL-2.1-or-later
"""One record of ss's text: what it says of a socket (iproute2, misc/ss.c). Pure; any option mix of ss since 2.0.

A record is a line ``[Netid] State Recv-Q Send-Q Local Peer [tokens]`` and the indented lines below it. It is found by
its state and two numbers, wherever they stand: there may be no Netid column, and ss that prints MD5 keys can spill them
in front of a record. What it holds beside names (keys, among other things) is never repeated to anyone.
"""

from __future__ import annotations

import re

from sockcrash.locate.clue import Clue, Name
from sockcrash.locate.tuple import PROTOCOLS, UNSPECIFIED, End, Ends, parse_end

__all__ = ("STARTS", "TAIL", "clue_of", "is_header")

_INET = ("tcp", "tcp-timewait", "tcp-request", "mptcp", "udp", "udplite", "raw", "ping")
# What the Netid column says → kinds; those that it doesn't tell apart are any.
_NETIDS: dict[str, tuple[str, ...]] = {
    **{name: kinds for name, kinds in PROTOCOLS.items() if name != "raw"},
    "raw": ("raw", "ping"),
    "icmp6": ("raw", "ping"),
    **dict.fromkeys(("u_str", "u_dgr", "u_seq"), ("unix",)),
    **dict.fromkeys(("p_raw", "p_dgr"), ("packet",)),
    **dict.fromkeys(("v_str", "v_dgr"), ("vsock",)),
    "nl": ("netlink",),
    "xdp": ("xdp",),
    **dict.fromkeys(("sctp", "dccp", "ti_st", "ti_sq", "ti_dg", "ti_rd", "???"), ()),
}
_STATES = (
    "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK",
    "LISTEN", "CLOSING", "NEW-SYN-RECV", "BOUND-INACTIVE", "UNDEF", "UNKNOWN",
)  # fmt: skip
_OF_STREAMS = {
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSE-WAIT",
    "LAST-ACK",
    "CLOSING",
}
STARTS = re.compile(
    rf"(?:(?P<netid>{'|'.join(map(re.escape, _NETIDS))})\s+)?(?P<state>{'|'.join(_STATES)})"
    r"\s+\d+\s+\d+\s+(?P<rest>\S.*)"
)
# How the second half of a line begins that a terminal or a mail has broken in two.
TAIL = re.compile(
    r"[0-9a-f]+(\s|$)|.*(users:\(|\bino:\d|\bsk:[0-9a-f]|\bskmem:|\bcgroup:|\btimer:\(|[<-]-[>-]|\bv6only)"
)

# Broken by narrow terminals, too.
_HEADER_WORDS = {
    "Netid", "State", "Recv-Q", "Send-Q", "Local", "Peer", "Address:Port", "Address:", "Address", "Port", "Process",
    "Address:PortProcess", "PortProcess",
}  # fmt: skip
# One holder of users:((...)). The name of a process is up to 15 bytes of anything: too few to hold a whole forged
# ending of the new form and a token behind it. The old form had no room for such care.
_HOLDER = re.compile(r'\(".*?",pid=\d+,(?:[^()"]*,)?fd=\d+(?:,[^()"]*)?\)')
_OLD_HOLDER = re.compile(r'\(".*?",\d+,\d+\)')
_COOKIE = re.compile(r"(?:^|\s)sk:([0-9a-fA-F]{1,16})(?=\s|$)")
_INODE = re.compile(r"(?:^|\s)ino:(\d{1,20})(?=\s|$)")
_UNIX = re.compile(r"\s(\d{1,20})\s+\*\s+\d{1,20}(?=\s|$)")
_OLD_UNIX = re.compile(r"\s(\d{1,20})\s+[/@]\S*\s+\d{1,20}(?=\s|$)")
# The columns of ends are as wide as the longest name needs, which is 108 bytes.
_MAX_COLUMNS = 1024
_NETLINK = re.compile(r"(?P<protocol>[\w-]+):(?:.*/)?(?P<port>kernel|-?\d{1,10})\s+(\*|\S+:\S+)(\s|$)")
_VSOCK_ANY = 0xFFFFFFFF
# /etc/iproute2/nl_protos
_NETLINK_PROTOCOLS = {
    "rtnl": 0, "usersock": 2, "fw": 3, "tcpdiag": 4, "nflog": 5, "xfrm": 6, "selinux": 7, "iscsi": 8, "audit": 9,
    "fiblookup": 10, "connector": 11, "nft": 12, "ip6fw": 13, "dec-rt": 14, "uevent": 15, "genl": 16, "scsi-trans": 18,
    "ecryptfs": 19, "rdma": 20, "crypto": 21,
}  # fmt: skip
# Before Linux 4.1 (33cf7c90fe2f, "net: add real socket cookies") the number after sk: was the address.
_ADDRESSES_FROM = 0xFF00000000000000


def is_header(line: str) -> bool:
    """Whether a line is one of column titles, or half of one."""
    return "Recv-Q Send-Q Local Address:Port" in " ".join(line.split()) or all(
        word in _HEADER_WORDS for word in line.split()
    )


def clue_of(first: str, more: str, how: str) -> Clue:
    """The clue that a record gives: its first line, and the text of the lines below. ValueError says what is wrong."""
    found = STARTS.search(first)
    if found is None:
        raise ValueError("no state of a socket in it")
    rest = _without_users(f" {found['rest']}")
    kinds = _NETIDS[found["netid"]] if found["netid"] else _kinds_of_shape(found["state"], rest)
    if kinds == ("unix",):
        return Clue(how=how, kinds=kinds, inode=_inode_of_unix(rest))
    ends, name = _ends(kinds, rest)
    # The first of each is the right one: a cgroup's path, which may look like anything, stands behind both.
    tokens = f"{rest} {more}"
    inode, cookie = _INODE.search(tokens), _COOKIE.search(tokens)
    number = int(cookie[1], 16) if cookie else 0
    clue = Clue(
        how=how,
        kinds=kinds,
        address=number if number >= _ADDRESSES_FROM else None,
        cookie=number or None,
        inode=(int(inode[1]) or None) if inode else None,
        ends=ends,
        names=frozenset({name}) if name else frozenset(),
    )
    if not clue.specific:
        raise ValueError("nothing in it names a socket: no sk:, no ino:, no port")
    return clue


def _without_users(rest: str) -> str:
    """A record without its users:((...)), for names of processes can look like tokens."""
    start = rest.find(" users:((")
    if start < 0:
        return rest
    at = start + len(" users:(")
    holder = _HOLDER if "pid=" in rest else _OLD_HOLDER
    while found := holder.match(rest, at):
        at = found.end() + 1
        if rest[at - 1 : at] != ",":
            break
    if found is None or rest[at - 1 : at] != ")":
        raise ValueError("its users:((...)) has no end")
    return rest[:start] + rest[at:]


def _kinds_of_shape(state: str, rest: str) -> tuple[str, ...]:
    """The kinds of a record without a Netid column (ss leaves it out when all sockets are of one type), if it tells."""
    local, peer, *_ = [*rest.split(None, 2), "", ""]
    if peer == "*":
        return ("netlink", "packet", "xdp")
    if peer.isdigit() or local.startswith(("/", "@")):
        return ("unix",)
    if re.fullmatch(r"(\d+|\*):(\d+|\*)", local) and re.fullmatch(r"\d+:(\d+|\*)", peer):
        return ("vsock",)
    return ("tcp", "tcp-timewait", "tcp-request", "mptcp") if state in _OF_STREAMS else _INET


def _inode_of_unix(rest: str) -> int:
    """The inode in ``NAME INODE NAME INODE``; the ino: further on is that of a file. Names may hold anything."""
    columns = rest[:_MAX_COLUMNS]
    found = _UNIX.findall(columns) or _OLD_UNIX.findall(columns)
    if len(found) != 1:
        raise ValueError("its names and inodes can't be told apart")
    if not int(found[0]):
        raise ValueError("nothing in it names a socket: its inode is 0")
    return int(found[0])


def _ends(kinds: tuple[str, ...], rest: str) -> tuple[Ends | None, Name | None]:
    """What the two columns of ends say: ends of inet sockets, or the name of another one."""
    local, peer, *_ = [*rest.split(None, 2), "", ""]
    if "netlink" in kinds and (found := _NETLINK.match(rest[:_MAX_COLUMNS].lstrip())):
        return None, _netlink(found)
    if kinds == ("vsock",):
        return None, _vsock(local, peer)
    if not kinds or set(kinds) & set(_INET):
        try:
            return _inet(local, peer, kinds), None
        except ValueError:
            if kinds and not _COOKIE.search(rest) and not _INODE.search(rest):
                raise
    return None, None


def _inet(local: str, peer: str, kinds: tuple[str, ...]) -> Ends | None:
    """The ends as the kernel holds them, where no port is 0; None if they name no socket in particular."""
    protocol = "raw" if kinds == _NETIDS["raw"] else "udp" if kinds == ("udp",) else "tcp"
    try:
        ends = [parse_end(text, protocol, star=UNSPECIFIED, old_ipv6=True) for text in (local, peer)]
    except ValueError:
        raise ValueError("its ends can't be read (ss -n prints numbers)") from None
    if ends[0].port is None:
        return None
    here, there = (End(end.address, end.port or 0, end.scope) for end in ends)
    return Ends(here, there)


def _netlink(found: re.Match[str]) -> Name | None:
    protocol = _NETLINK_PROTOCOLS.get(found["protocol"])
    if protocol is None and found["protocol"].isdigit():
        protocol = int(found["protocol"])
    port = 0 if found["port"] == "kernel" else int(found["port"]) & 0xFFFFFFFF
    return None if protocol is None else ("netlink", protocol, port)


def _vsock(local: str, peer: str) -> Name | None:
    numbers = [_VSOCK_ANY if part == "*" else int(part) for end in (local, peer) for part in _parts(end)]
    return None if numbers[1] == _VSOCK_ANY else ("vsock", *numbers)


def _parts(end: str) -> list[str]:
    found = re.fullmatch(r"(\d{1,10}|\*):(\d{1,10}|\*)", end)
    if found is None:
        raise ValueError("its ends can't be read")
    return [found[1], found[2]]
