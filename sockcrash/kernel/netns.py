# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which network namespaces have names (a file of nsfs is mounted on the name), and which one a task is in."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import IDENTITY, row
from sockcrash.kernel.files import task_addresses
from sockcrash.kernel.layout import Group
from sockcrash.kernel.namespaces import namespaces
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.files import Task
    from sockcrash.kernel.selection import Entry, Index
    from sockcrash.kernel.view import Kernel

__all__ = ("inode_of", "inodes", "namespace_of_task", "paths", "processes")

_MAX_MOUNTS = 1 << 20
_NOT_TOLD = Absent(Reason.NOT_IN_SNAPSHOT)
_NSFS_MAGIC = 0x6E736673  # include/uapi/linux/magic.h
_NET = Group("net_inode", (row("inode", "struct net", "ns.inum"),))
_ITS_NET = row("inode", "struct task_struct", "nsproxy->net_ns->ns.inum")
_OF_TASK = Group("task_net", (_ITS_NET,))
# A kernel thread has no memory of its own: it inhabits nothing.
_INHABITANT = Group(
    "inhabitant",
    (
        row("tgid", "struct task_struct"),
        row("mm", "struct task_struct"),
        _ITS_NET,
    ),
)
_MOUNT = Group(
    "mount",
    (
        row("magic", "struct mount", "mnt.mnt_sb->s_magic"),
        row("inode", "struct mount", "mnt.mnt_root->d_inode->i_ino"),
    ),
)


def inodes(kernel: Kernel, complain: Complain) -> Iterator[int]:
    """The inode of every network namespace, the initial one's first."""
    for net in namespaces(kernel, complain):
        try:
            (found,) = kernel.reader(_NET).sections(net)
        except drgn.FaultError as error:
            complain(f"the namespace at {net:#x} is unreadable: {error}")
            continue
        yield found["inode"]


def inode_of(kernel: Kernel, net: int) -> int:
    """The inode of a ``struct net``. Raises drgn.FaultError."""
    (found,) = kernel.reader(_NET).sections(net)
    return int(found["inode"])


def processes(kernel: Kernel, complain: Complain) -> Callable[[int], int | Absent]:
    """What tells how many processes have a thread in the network namespace with an inode.

    Of a snapshot what it tells of the namespaces of its sockets; of a dump nothing if some task can't be read.
    """
    if kernel.index is not None:
        entries = ((inode, entry.netns_processes) for inode, entry in _of_snapshot(kernel, kernel.index))
        told = {inode: number for inode, number in entries if number is not None}
        return lambda inode: told.get(inode, _NOT_TOLD)
    if "netns_processes" not in kernel.cache or kernel.live:
        kernel.cache["netns_processes"] = _inhabitants(kernel, complain)
    inhabitants: dict[int, set[int]]
    inhabitants, trouble = kernel.cache["netns_processes"]
    if trouble and not kernel.live:  # where tasks end while they are looked at
        lost = Absent(Reason.UNREADABLE, trouble[0])
        return lambda _: lost
    return lambda inode: len(inhabitants.get(inode, ()))


def _inhabitants(kernel: Kernel, complain: Complain) -> tuple[dict[int, set[int]], list[str]]:
    """The processes with a thread in each namespace, and what was complained of."""
    found: dict[int, set[int]] = {}
    trouble: list[str] = []

    def say(message: str) -> None:
        trouble.append(message)
        complain(message)

    for address in task_addresses(kernel, say):
        try:
            (task,) = kernel.reader(_INHABITANT).sections(address)
        except drgn.FaultError as error:
            say(f"the task at {address:#x} is unreadable: {error}")
            continue
        inode = task["inode"]
        if task["mm"] and isinstance(inode, int):
            found.setdefault(inode, set()).add(task["tgid"])
        elif task["mm"] and inode.lost:
            say(f"the namespace of the task at {address:#x} is unreadable: {inode}")
    return found, trouble


def namespace_of_task(kernel: Kernel, task: Task) -> int | None:
    """The inode of a task's network namespace; None if it is about to end and has none any more."""
    (found,) = kernel.reader(_OF_TASK).sections(task.address)
    return found["inode"] if isinstance(found["inode"], int) else None


def paths(kernel: Kernel, complain: Complain) -> dict[int, tuple[str, ...]]:
    """Where each namespace is mounted, by its inode, in the mount table of process 1.

    Of a snapshot the namespaces of its sockets, those without a name too.
    """
    if kernel.index is not None:
        mounted: dict[int, tuple[str, ...]] = {}
        for inode, entry in _of_snapshot(kernel, kernel.index):
            mounted[inode] = mounted.get(inode) or entry.netns_paths
        return mounted
    if "netns_paths" not in kernel.cache or kernel.live:
        kernel.cache["netns_paths"] = _paths(kernel, complain)
    found: dict[int, tuple[str, ...]] = kernel.cache["netns_paths"]
    return found


def _of_snapshot(kernel: Kernel, index: Index) -> Iterator[tuple[int, Entry]]:
    """The inode of the namespace of each socket."""
    for entry in index.values():
        try:
            (identity,) = kernel.reader(IDENTITY).sections(entry.address)
        except drgn.FaultError:
            continue  # the source had not all of it
        yield identity["netns"], entry


def _paths(kernel: Kernel, complain: Complain) -> dict[int, tuple[str, ...]]:
    """Files of nsfs stand for namespaces of other types too: only inodes of network namespaces count."""
    from drgn.helpers.linux.fs import d_path, for_each_mount
    from drgn.helpers.linux.pid import find_task

    networks = set(inodes(kernel, complain))
    found: dict[int, list[str]] = {}
    try:
        init = find_task(kernel.prog, 1)
        mounts = for_each_mount(init.nsproxy.mnt_ns if init else kernel.prog)
        for mount in islice(mounts, _MAX_MOUNTS):
            (section,) = kernel.reader(_MOUNT).sections(mount.value_())
            magic, inode = section["magic"], section["inode"]
            why = inode if magic == _NSFS_MAGIC else magic
            if isinstance(why, Absent) and why.lost:
                complain(f"the mount at {mount.value_():#x} is unreadable: {why}")
            elif magic == _NSFS_MAGIC and inode in networks:
                # not of the mount itself: what is mounted names itself [nsfs]
                path = d_path(mount.mnt_parent.mnt.address_of_(), mount.mnt_mountpoint)
                found.setdefault(inode, []).append(path.decode("utf-8", "surrogateescape"))
    except drgn.FaultError as error:
        complain(f"the mount table can't be read any further: {error}")
    return {inode: tuple(dict.fromkeys(mounted)) for inode, mounted in found.items()}
