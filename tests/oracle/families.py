# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ss prints of sockets other than TCP, key by key; and a JSON record of sockcrash written the same way.

iproute2, misc/ss.c: inet_show_sock, unix_stats_print, packet_show_sock, netlink_show_one, vsock_show_sock,
xdp_show_sock.
"""

from __future__ import annotations

import re
from typing import Any

from oracle.ours import STATES, endpoint

__all__ = ("as_listed", "netlink_tuple", "parse", "raw_name", "vsock_tuple")

Record = dict[str, Any]
Keys = dict[str, str]
GROUPED = re.compile(r"(\w+)\(([^)]*)\)")
UNIX = re.compile(
    r"(?P<netid>u_\w+) +(?P<state>\S+) +(?P<rq>\d+) +(?P<sq>\d+) +(?P<local>.*) (?P<ino>\d+) +"
    r"(?P<peer>\S+) (?P<peer_ino>\d+) +skmem:(?P<skmem>\S+) (?P<shutdown>\S+)(?P<rest>.*)",
    re.DOTALL,
)
NETID = {
    "SOCK_STREAM": "u_str", "SOCK_DGRAM": "u_dgr", "SOCK_SEQPACKET": "u_seq",
}  # fmt: skip
FANOUT = {0: "hash", 1: "lb", 2: "cpu", 3: "roll", 4: "random", 5: "qm"}
# include/uapi/linux/netlink.h
NETLINK = {
    "NETLINK_ROUTE": 0, "NETLINK_USERSOCK": 2, "NETLINK_SOCK_DIAG": 4, "NETLINK_XFRM": 6, "NETLINK_AUDIT": 9,
    "NETLINK_FIB_LOOKUP": 10, "NETLINK_CONNECTOR": 11, "NETLINK_NETFILTER": 12, "NETLINK_KOBJECT_UEVENT": 15,
    "NETLINK_GENERIC": 16, "NETLINK_RDMA": 20, "NETLINK_CRYPTO": 21, "NETLINK_SELINUX": 7, "NETLINK_ISCSI": 8,
    "NETLINK_SCSITRANSPORT": 18,
}  # fmt: skip
# Limits of a namespace for its MPTCP sockets, not theirs.
LIMITS = frozenset({"subflows_max", "add_addr_signal_max", "add_addr_accepted_max", "local_addr_max"})
ANY = 0xFFFFFFFF
ETH_P_ALL = 3


def parse(kind: str, text: str) -> dict[int, Keys]:
    """Every socket of an output by cookie (UNIX: by inode)."""
    if kind == "unix":
        lines = re.split(r"\n(?=u_(?:str|dgr|seq) )", text)[1:]
        return {int(keys["ino"]): keys for keys in map(_unix_line, lines)}
    lines = re.sub(r"\n\t", " ", text).splitlines()[1:]
    columns = 6 if kind == "packet" else 5
    found = (_line(line, columns) for line in lines if line.strip())
    return {int(keys["sk"], 16): {name: keys[name] for name in keys if name not in LIMITS} for keys in found}


def _line(line: str, columns: int) -> Keys:
    """Columns, then ``key:value``, ``name(key:value,...)`` and words that stand for themselves."""
    *netid, state, received, queued, local, peer = line.split()[:columns]
    keys = {"state": state, "Recv-Q": received, "Send-Q": queued, "local": local, "peer": peer}
    keys |= {"netid": netid[0]} if netid else {}
    rest = line.split(None, columns)[columns]
    for name, inside in GROUPED.findall(rest):
        keys[name.removeprefix("t") if name == "tumem" else name] = _cut(name, inside.strip())
    for word in re.sub(r"(?<!:)\b\w+\([^)]*\)", "", rest).split():
        name, colon, value = word.partition(":")
        keys["shutdown" if word[1:2] == "-" else name] = value if colon else word if word[1:2] == "-" else ""
    return keys


def _cut(name: str, inside: str) -> str:
    """What a record has of a group in parentheses."""
    if name == "flags":
        return "running" if "running" in inside.split() else ""
    return re.split(r",(?:tmo|ifindex):", inside)[0]


def _unix_line(line: str) -> Keys:
    found = UNIX.fullmatch(line.rstrip("\n"))
    assert found, line
    part = found.groupdict()
    keys = {"netid": part["netid"], "state": part["state"], "Recv-Q": part["rq"], "Send-Q": part["sq"]}
    keys |= {"local": part["local"].lstrip(" "), "ino": part["ino"], "peer": part["peer"]}
    keys |= {"peer_ino": part["peer_ino"], "skmem": part["skmem"], "shutdown": part["shutdown"]}
    rest, peers, clients = part["rest"].partition(" peers:")
    if peers:
        keys["peers"] = " ".join(sorted(clients.split()))
    for word in rest.split():
        name, _, value = word.partition(":")
        keys["file" if name == "ino" else name] = value
    return keys


def as_listed(record: Record) -> Keys:
    """The same keys, of one record."""
    section = record[record["kind"].removesuffix("lite")]
    received, queued = section["recv_q"], section["send_q"]
    keys = {"Recv-Q": str(received), "Send-Q": str(queued), "state": STATES.get(record["state"], "UNCONN")}
    return keys | _KINDS[record["kind"]](record, section)


def _memory(record: Record) -> Keys:
    sock = record["sock"]
    members = (
        ("r", sock["sk_rmem_alloc"]), ("rb", sock["sk_rcvbuf"]), ("t", sock["wmem_alloc_bytes"]),
        ("tb", sock["sk_sndbuf"]), ("f", sock["sk_forward_alloc"] & 0xFFFFFFFF), ("w", sock["sk_wmem_queued"]),
        ("o", sock["sk_omem_alloc"]), ("bl", sock["sk_backlog.len"]), ("d", sock["drops"]),
    )  # fmt: skip
    return {"skmem": "(" + ",".join(f"{name}{value}" for name, value in members) + ")"}


def _identity(record: Record) -> Keys:
    keys = {"ino": str(record["inode"] or 0), "sk": f"{int(record['cookie'] or '0', 16):x}"}
    if record["uid"]:
        keys["uid"] = str(record["uid"])
    return keys


def _shutdown(record: Record) -> str:
    shut = record["sock"]["sk_shutdown"]
    return f"{'-' if shut & 1 else '<'}-{'-' if shut & 2 else '>'}"


def _inet(record: Record, _section: Record) -> Keys:
    keys = {
        "local": endpoint(record, "local"),
        "peer": endpoint(record, "peer"),
        "cgroup": record["cgroup"],
    }
    if record["mark"]:
        keys["fwmark"] = f"{record['mark']:#x}"
    if record["family"] == "AF_INET6" and record["state"] in ("CLOSE", "LISTEN"):
        keys["v6only"] = str(int(record["v6only"]))
    return keys | _identity(record) | {"shutdown": _shutdown(record)}


def _datagram(record: Record, section: Record) -> Keys:
    return _inet(record, section) | _memory(record)


def _mptcp(record: Record, section: Record) -> Keys:
    keys = _inet(record, section)
    if section["pm.extra_subflows"]:
        keys["subflows"] = str(section["pm.extra_subflows"])
    for word, member in (("remote_key", "can_ack"), ("fallback", "fallback")):
        if section[member]:
            keys[word] = ""
    if section["token"]:
        keys["token"] = f"{section['token']:x}"
    for name, member in (("write_seq", "write_seq"), ("snd_una", "snd_una"), ("rcv_nxt", "ack_seq")):
        if section[member]:
            keys[name] = f"{section[member]:x}"
    return keys


def raw_name(text: str) -> bytes:
    """The bytes of sun_path that a shown name stands for; an abstract one with its NUL."""
    raw = b"\0" if text.startswith("@") else b""
    body = text.removeprefix("@").encode()
    return raw + re.sub(
        rb"\\(\\|x[0-9a-f]{2})", lambda m: b"\\" if m[1] == b"\\" else bytes.fromhex(m[1][1:].decode()), body
    )


def _name(text: str | None) -> str:
    """As ss prints it: @ for every NUL."""
    return "*" if text is None else raw_name(text).replace(b"\0", b"@").decode("utf-8", "surrogateescape")


def _unix(record: Record, section: Record) -> Keys:
    peer = record["peer"] or {}
    keys = {
        "netid": NETID[record["type"]],
        "ino": str(record["inode"]),
        "local": _name(record["local"]["path"]),
        "peer": "*",
        "peer_ino": str(peer.get("inode") or 0),
        "shutdown": _shutdown(record),
    }
    if section["path_inode"] is not None:
        keys |= {
            "file": str(section["path_inode"]),
            "dev": f"{section['path_device'] >> 20}/{section['path_device'] & 0xFFFFF}",
        }
    if record["state"] == "LISTEN":
        keys["peers"] = " ".join(sorted(map(str, section["pending_inodes"])))
    return keys | _memory(record)


def _packet(record: Record, section: Record) -> Keys:
    end = record["local"]
    device = end["device"] or (f"if{end['ifindex'] & ANY}" if end["ifindex"] else "*")
    ethertype = "*" if end["ethertype"] == ETH_P_ALL else f"[{end['ethertype']}]"
    keys = {
        "netid": "p_raw" if record["type"] == "SOCK_RAW" else "p_dgr",
        "local": f"{ethertype}:{device}",
        "peer": "*",
        "ver": str(section["tp_version"]),
        "cpy_thresh": str(section["copy_thresh"]),
        "flags": "running" if section["running"] else "",
    }
    if section["fanout.id"] is not None:
        keys["fanout"] = f"id:{section['fanout.id']},type:{FANOUT[section['fanout.type']]}"
    for ring in ("rx", "tx"):
        size, count, frame, frames = (
            section[f"{ring}_ring.{name}"] for name in ("block_size", "block_nr", "frame_size", "frame_nr")
        )
        if count is not None:
            keys[f"ring_{ring}"] = f"blk_size:{size},blk_nr:{count},frm_size:{frame},frm_nr:{frames}"
    return keys | _identity(record) | _memory(record)


def _xdp(record: Record, section: Record) -> Keys:
    end = record["local"]
    keys = {"local": f"{end['device']}:q{end['queue']}" if end else "*", "peer": "*"}
    # Of a socket that is not bound, the kernel does not tell the rings of the umem.
    shared = (("fr", "fq"), ("cr", "cq")) if end else ()
    for name, member in (("rx", "rx"), ("tx", "tx"), *shared):
        if section[f"{member}.nentries"] is not None:
            keys[name] = f"entries:{section[f'{member}.nentries']}"
    if section["umem.id"] is not None:
        keys["umem"] = (
            f"id:{section['umem.id']},size:{section['umem.size']},num_pages:{section['umem.npgs']}"
            f",chunk_size:{section['umem.chunk_size']},headroom:{section['umem.headroom']}"
        )
    lost = (
        ("rx dropped", "rx_dropped"), ("rx invalid", "rx.invalid_descs"), ("rx queue full", "rx_queue_full"),
        ("rx fill ring empty", "fq.queue_empty_descs"), ("tx invalid", "tx.invalid_descs"),
        ("tx ring empty", "tx.queue_empty_descs"),
    )  # fmt: skip
    keys["stats"] = ",".join(f"{name}:{section[member] or 0}" for name, member in lost)
    return keys | _identity(record) | _memory(record)


_KINDS = {
    "udp": _datagram,
    "udplite": _datagram,
    "raw": _datagram,
    "mptcp": _mptcp,
    "unix": _unix,
    "packet": _packet,
    "xdp": _xdp,
}


def netlink_tuple(record: Record) -> tuple[str, ...]:
    """protocol:portid, peer, groups 1 to 32, as ss prints them; it has nothing else to tell sockets apart."""
    local = record["local"]
    low = sum(1 << number - 1 for number in local["groups"] if number <= 32)
    peer = f"0:{record['peer']['portid']}" if record["peer"] else "*"
    assert local["protocol"] == record["protocol"]
    return f"{NETLINK[local['protocol']]}:{local['portid']}", peer, f"groups={low:#010x}"


def vsock_tuple(record: Record) -> tuple[str, ...]:
    """state, ends."""
    ends = (
        ":".join("*" if end[name] == ANY else str(end[name]) for name in ("cid", "port"))
        for end in (record["local"], record["peer"])
    )
    return (STATES[record["state"]], *ends)
