# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which network namespaces have names (a file of nsfs is mounted on the name), and which one a task is in."""

from __future__ import annotations

from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.files import task_addresses
from sockcrash.kernel.layout import Group
from sockcrash.kernel.namespaces import namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.files import Task
    from sockcrash.kernel.view import Kernel

__all__ = ("inode_of", "inodes", "is_called", "namespace_of_task", "paths", "processes", "short_name")

_MAX_MOUNTS = 1 << 20
_MAX_TASKS = 1 << 22
_NSFS_MAGIC = 0x6E736673  # include/uapi/linux/magic.h
_NET = Group("net_inode", (row("inode", "struct net", "ns.inum"),))
_OF_TASK = Group("task_net", (row("inode", "struct task_struct", "nsproxy->net_ns->ns.inum"),))
# A kernel thread has no memory of its own: it inhabits nothing.
_INHABITANT = Group(
    "inhabitant",
    (
        row("tgid", "struct task_struct"),
        row("mm", "struct task_struct"),
        row("inode", "struct task_struct", "nsproxy->net_ns->ns.inum"),
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


def processes(kernel: Kernel, complain: Complain) -> dict[int, int]:
    """How many processes have a thread in each network namespace, by inode; one that nobody is in is missing."""
    if kernel.index is not None:
        return {}
    if "netns_processes" not in kernel.cache or kernel.live:
        inhabitants: dict[int, set[int]] = {}
        for address in islice(task_addresses(kernel, complain), _MAX_TASKS):
            try:
                (task,) = kernel.reader(_INHABITANT).sections(address)
            except drgn.FaultError as error:
                complain(f"the task at {address:#x} is unreadable: {error}")
                continue
            if task["mm"] and isinstance(task["inode"], int):
                inhabitants.setdefault(task["inode"], set()).add(task["tgid"])
        kernel.cache["netns_processes"] = {inode: len(pids) for inode, pids in inhabitants.items()}
    found: dict[int, int] = kernel.cache["netns_processes"]
    return found


def namespace_of_task(kernel: Kernel, task: Task) -> int | None:
    """The inode of a task's network namespace; None if it is about to end and has none any more."""
    (found,) = kernel.reader(_OF_TASK).sections(task.address)
    return found["inode"] if isinstance(found["inode"], int) else None


def paths(kernel: Kernel, complain: Complain) -> dict[int, tuple[str, ...]]:
    """Where each namespace is mounted, by its inode, in the mount table of process 1."""
    if "netns_paths" not in kernel.cache or kernel.live:
        kernel.cache["netns_paths"] = _paths(kernel, complain)
    found: dict[int, tuple[str, ...]] = kernel.cache["netns_paths"]
    return found


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
            if section["magic"] == _NSFS_MAGIC and section["inode"] in networks:
                # not of the mount itself: what is mounted names itself [nsfs]
                path = d_path(mount.mnt_parent.mnt.address_of_(), mount.mnt_mountpoint)
                found.setdefault(section["inode"], []).append(path.decode("utf-8", "surrogateescape"))
    except drgn.FaultError as error:
        complain(f"the mount table can't be read any further: {error}")
    return {inode: tuple(dict.fromkeys(mounted)) for inode, mounted in found.items()}


def short_name(paths_: tuple[str, ...]) -> str | None:
    """What people call a namespace that is mounted there: what follows a netns/, else the path; None if nowhere."""
    here = [PurePosixPath(path) for path in paths_]
    named = [path.name for path in here if path.parent.name == "netns"]
    return named[0] if named else str(here[0]) if here else None


def is_called(name: str, path: str) -> bool:
    """Whether a namespace that is mounted on ``path`` goes by ``name``: that path, or what follows a netns/ in it."""
    here = PurePosixPath(path)
    return name == path or (here.name == name and here.parent.name == "netns")
