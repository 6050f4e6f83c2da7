# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hold the scenario open; obey the lines `before FILE`, `after FILE` and `stop` on stdin.

With `--many N`: N established TCP sockets instead.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from . import crowd, netns, others, tcp, truth
from .registry import Registry

TUNED = {
    "ipv4/tcp_timestamps": "0", "ipv4/tcp_sack": "0", "ipv4/tcp_window_scaling": "0", "ipv4/tcp_ecn": "1",
    "ipv4/tcp_congestion_control": "reno", "ipv4/tcp_keepalive_time": "1234", "ipv4/tcp_keepalive_intvl": "56",
    "ipv4/tcp_keepalive_probes": "7", "ipv4/tcp_rmem": "4096 65536 1048576", "ipv4/tcp_wmem": "4096 32768 1048576",
    "ipv4/ip_default_ttl": "99", "ipv4/tcp_syn_retries": "3", "ipv4/tcp_fin_timeout": "30",
    "ipv4/tcp_notsent_lowat": "131072", "ipv4/tcp_reordering": "7", "ipv6/conf/all/hop_limit": "55",
    "ipv4/tcp_retries2": "9", "ipv4/tcp_slow_start_after_idle": "0", "ipv4/tcp_mtu_probing": "1",
}  # fmt: skip
PEER = {"ipv4/tcp_keepalive_time": "4321", "ipv4/tcp_rmem": "4096 200000 4000000", "ipv4/ip_default_ttl": "88"}
NAMES = ["init", "peer", "dead", "tuned"]


def prepare(reg: Registry) -> None:
    """Namespaces, links and all sockets."""
    netns.add("peer", PEER)
    netns.add("dead", {})
    netns.add("tuned", TUNED)
    netns.link("init", "peer", "va", 1)
    netns.link("init", "dead", "vd", 2)
    others.open_all(reg)
    tcp.open_all(reg)


def main() -> None:
    """The scenario's life."""
    many = int(sys.argv[2]) if sys.argv[1:2] == ["--many"] else 0
    reg = Registry()
    names = ["init"]
    if many:
        crowd.open_all(many)
    else:
        names = NAMES
        prepare(reg)
    record: dict[str, Any] = {
        "schema": 1,
        "release": os.uname().release,
        "netns": [{"name": name, "inode": netns.inode_of(name)} for name in names],
        "refused": reg.refused,
        "without_fd": reg.without_fd,
    }
    print(f"READY, {many or len(reg.held)} sockets", flush=True)
    for line in sys.stdin:
        word, _, path = line.strip().partition(" ")
        if word == "stop":
            break
        record[word] = truth.observe(reg, names, before=word == "before")
        sockets = record[word].pop("sockets")
        record.setdefault("sockets", sockets)
        Path(path).write_text(json.dumps(record))
        print("RECORDED", flush=True)


main()
