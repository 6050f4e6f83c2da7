# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hold the scenario open; obey the lines `before`, `after` and `write FILE` on stdin, answering each."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from . import chances, crowd, families, holders, netns, others, programs, sweep, tcp, truth
from .registry import Registry

TUNED = {
    "ipv4/tcp_timestamps": "0", "ipv4/tcp_sack": "0", "ipv4/tcp_window_scaling": "0", "ipv4/tcp_ecn": "1",
    "ipv4/tcp_congestion_control": "reno", "ipv4/tcp_keepalive_time": "1234", "ipv4/tcp_keepalive_intvl": "56",
    "ipv4/tcp_keepalive_probes": "7", "ipv4/tcp_rmem": "4096 65536 1048576", "ipv4/tcp_wmem": "4096 32768 1048576",
    "ipv4/ip_default_ttl": "99", "ipv4/tcp_syn_retries": "3", "ipv4/tcp_fin_timeout": "30",
    "ipv4/tcp_notsent_lowat": "131072", "ipv4/tcp_reordering": "7", "ipv6/conf/all/hop_limit": "55",
    "ipv4/tcp_retries2": "9", "ipv4/tcp_slow_start_after_idle": "0", "ipv4/tcp_mtu_probing": "1",
    "ipv4/ping_group_range": "0 2147483647",
}  # fmt: skip
PEER = {
    "ipv4/tcp_early_retrans": "0",
    "ipv4/tcp_keepalive_time": "4321",
    "ipv4/tcp_rmem": "4096 200000 4000000",
    "ipv4/ip_default_ttl": "88",
}
NAMES = ["init", "peer", "dead", "tuned", families.OWN]


def prepare(reg: Registry) -> None:
    """Namespaces, links and all sockets; the short-lived ones last."""
    netns.add("peer", PEER)
    netns.add("dead", {})
    netns.add("tuned", TUNED)
    netns.link("init", "peer", "va", 1)
    netns.link("init", "dead", "vd", 2)
    families.prepare()
    lasting = (others.open_all, chances.open_all, families.open_all, tcp.open_lasting)
    for step in (*lasting, holders.open_all, families.open_among_freed, tcp.open_fleeting):
        step(reg)


def main() -> None:
    """The scenario's life."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, default=0, help="that many established TCP sockets instead")
    parser.add_argument("--programs", action="store_true", help="also nginx, redis-server, sshd and NFS")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)  # 5.10 charges BPF to it
    reg = Registry()
    answers = {} if args.many else sweep.run()
    if args.programs:
        programs.open_all(reg)
    if args.many:
        crowd.open_all(args.many)
    else:
        prepare(reg)
    record: dict[str, Any] = {
        "schema": 1,
        "release": os.uname().release,
        "netns": [
            {"name": name, "inode": netns.inode_of(name)} for name in (["init"] if args.many else NAMES)
        ],
        "seed": chances.SEED,
        "sweep": answers,
        "refused": reg.refused,
        "without_fd": reg.without_fd,
        "holders": reg.holders,
        "secrets": reg.secrets,
    }
    print(f"READY, {args.many or len(reg.held)} sockets", flush=True)
    for line in sys.stdin:
        word, _, path = line.strip().partition(" ")
        if word == "write":
            Path(path).write_text(json.dumps(record))
        else:
            record[word] = truth.glance() if args.many else truth.observe(reg, NAMES, before=word == "before")
            sockets = record[word].pop("sockets")
            record.setdefault("sockets", sockets)
        print("DONE", flush=True)


main()
