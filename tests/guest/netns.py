# SPDX-License-Identifier: LGPL-2.1-or-later
"""Network namespaces of the scenario: entered by a thread, linked by veth, losing packets one way on demand."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
INIT = "init"
LOST = "02:00:00:00:00:99"  # nobody's address: a frame sent there reaches no socket
_libc = ctypes.CDLL(None, use_errno=True)


def path_of(name: str) -> str:
    """The file that stands for a namespace."""
    return "/proc/1/ns/net" if name == INIT else f"/run/netns/{name}"


def enter(name: str) -> None:
    """Move this thread into a namespace."""
    fd = os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")
    finally:
        os.close(fd)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Be in a namespace for a block; sockets made there stay there."""
    enter(name)
    try:
        yield
    finally:
        enter(INIT)


def inode_of(name: str) -> int:
    """The number that `ls -l /proc/PID/ns/net` shows."""
    return os.stat(path_of(name)).st_ino  # noqa: PTH116


def ip(words: str, netns: str = INIT) -> str:
    """Run the ip command in a namespace; returns what it prints."""
    where = "" if netns == INIT else f"-n {netns}"
    return subprocess.run(f"ip {where} {words}".split(), stdout=subprocess.PIPE, text=True, check=True).stdout


def add(name: str, sysctls: dict[str, str]) -> None:
    """A new namespace with loopback up and sysctls (relative to /proc/sys/net) set; those it lacks are left."""
    ip(f"netns add {name}")
    ip("link set lo up", name)
    with inside(name):
        for key, value in sysctls.items():
            with contextlib.suppress(FileNotFoundError):
                Path("/proc/sys/net", key).write_text(value)


def link(here: str, there: str, device: str, number: int) -> None:
    """A veth pair: 10.77.NUMBER.1 and fd77:NUMBER::1 in `here`, .2 and ::2 in `there`."""
    first = "1" if here == INIT else here
    ip(f"link add {device} netns {first} type veth peer name {device} netns {there}")
    for netns, last in ((here, 1), (there, 2)):
        ip(f"addr add 10.77.{number}.{last}/24 dev {device}", netns)
        ip(f"addr add fd77:{number}::{last}/64 dev {device} nodad", netns)
        ip(f"link set {device} up", netns)


class Way:
    """The way from a namespace to one neighbour, which can be made to lose every packet."""

    def __init__(self, netns: str, device: str, address: str, peer_netns: str) -> None:
        self.netns, self.device, self.address = netns, device, address
        self.real = ip(f"-br link show dev {device}", peer_netns).split()[2]

    def set(self, whole: bool) -> None:
        """Deliver packets, or lose them all."""
        address = self.real if whole else LOST
        ip(f"neigh replace {self.address} lladdr {address} dev {self.device} nud permanent", self.netns)
