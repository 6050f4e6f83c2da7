# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which files tasks have open, and which of them are sockets (fs/file.c, net/socket.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel.bulk import read_many, read_pointers
from sockcrash.kernel.fields import FILE, row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.once import once

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import Section

__all__ = (
    "Descriptor",
    "OpenFiles",
    "Task",
    "all_descriptors",
    "descriptors",
    "descriptors_of",
    "find_task",
    "open_files",
    "references",
    "socket_of_file",
    "sockets_of_files",
    "socks_of",
    "task_addresses",
    "tasks",
)

MAX_FDS = 1 << 26
MAX_TASKS = 1 << 22

TASK = Group(
    "task",
    (
        row("tgid", "struct task_struct"),
        row("comm", "struct task_struct", to="command", by="text"),
        row("files", "struct task_struct"),
        row("group_leader", "struct task_struct"),
        row("thread_pid", "struct task_struct"),
    ),
)
_TASK_LIST = Group(
    "task_list",
    (row("next", "struct task_struct", "tasks.next"), row("prev", "struct task_struct", "tasks.prev")),
)
_FILES = Group(
    "files_struct",
    (
        row("max_fds", "struct files_struct", "fdt->max_fds"),
        row("fd", "struct files_struct", "fdt->fd"),
        row("open_fds", "struct files_struct", "fdt->open_fds"),
        row("users", "struct files_struct", "count.counter"),
    ),
)
# What a thread reserves before it has the files: accept(2) one, which it keeps while it sleeps, socketpair(2) two.
_RESERVED = 2
_SK = Group("socket_sk", (row("sk", "struct socket"),))
_REFERENCES = Group(
    "file_references",
    # 90ee6ed776c0 ("fs: port files to file_ref", v6.13): file_ref_t counts from -1, so 0 is one reference.
    (row("f_ref", "struct file", "f_ref.refcnt.counter"), row("f_count", "struct file", "f_count.counter")),
)


@dataclass(frozen=True, slots=True)
class Task:
    """A thread that has files: PID of its process as the reader counts PIDs, comm, ``struct files_struct *``."""

    address: int
    pid: int
    comm: str
    files: int


@once
def _pid_namespace(kernel: Kernel) -> tuple[int, int]:
    """Address and level of the PID namespace by whose numbers tasks are named: the reader's own, or the initial."""
    initial = kernel.prog["init_pid_ns"]
    if not kernel.live or not kernel.cache.get("reader_is_local", True):
        return int(initial.address_ or 0), 0
    mine = Path("/proc/self/ns/pid").stat().st_ino
    if int(initial.ns.inum) == mine:
        return int(initial.address_ or 0), 0
    from drgn.helpers.linux.pid import for_each_pid

    for pid in for_each_pid(kernel.prog):
        level = int(pid.level)
        namespace = pid.numbers[level].ns
        if int(namespace.ns.inum) == mine:
            return int(namespace), level
    return int(initial.address_ or 0), 0


def _number_in_namespace(kernel: Kernel, leader: int) -> int | None:
    """The PID of a process in the reader's namespace (``pid_nr_ns``), or None if it has none there."""
    namespace, level = _pid_namespace(kernel)
    pid = drgn.Object(kernel.prog, "struct task_struct *", leader).thread_pid
    if not pid or int(pid.level) < level:
        return None
    number = pid.numbers[level]
    return int(number.nr) if int(number.ns) == namespace else None


def tasks(kernel: Kernel, complain: Callable[[str], None]) -> Iterator[Task]:
    """Every thread whose files differ from those of a thread before it: threads may unshare their files.

    If the table of PIDs has a hole, the list of processes is followed too, from both ends.
    """
    seen: set[tuple[int, int]] = set()
    for address in task_addresses(kernel, complain):
        try:
            task = _task(kernel, address)
        except drgn.FaultError as error:
            if not kernel.live:  # where tasks end while they are looked at
                complain(f"the task at {address:#x} is unreadable, and so are its descriptors: {error}")
            continue
        if task is not None and (task.files, task.pid) not in seen:
            seen.add((task.files, task.pid))
            yield task


def task_addresses(kernel: Kernel, complain: Callable[[str], None]) -> Iterator[int]:
    """Every ``struct task_struct``: those of processes and of their threads."""
    from drgn.helpers.linux.pid import for_each_task

    try:
        for task in islice(for_each_task(kernel.prog), MAX_TASKS):
            yield task.value_()
    except drgn.FaultError as error:
        complain(
            f"the table of PIDs is unreadable, threads with descriptors of their own may be missing: {error}"
        )
        for way in ("next", "prev"):
            yield from _process_list(kernel, way)


def _process_list(kernel: Kernel, way: str) -> Iterator[int]:
    """Processes from ``init_task`` on, as far as the list of them can be read (``task_struct.tasks``)."""
    offsets = kernel.offsets(_TASK_LIST)
    first = int(kernel.prog["init_task"].address_ or 0)
    node, seen = first + offsets["next"], set[int]()
    while node not in seen and len(seen) < MAX_TASKS:
        seen.add(node)
        address = node - offsets["next"]
        yield address
        try:
            (links,) = kernel.reader(_TASK_LIST).sections(address)
        except drgn.FaultError:
            return
        node = links[way]


def _task(kernel: Kernel, address: int) -> Task | None:
    """None of a thread without files, or that has no number here. Raises drgn.FaultError, of zeros too."""
    (section,) = kernel.reader(TASK).sections(address)
    pid = section["tgid"]
    if not section["files"]:
        if not pid:
            raise drgn.FaultError("zeros where a task should be", address)
        return None
    if _pid_namespace(kernel)[1]:
        number = _number_in_namespace(kernel, section["group_leader"])
        if number is None:
            return None
        pid = number
    return Task(address, pid, section["command"], section["files"])


def find_task(kernel: Kernel, pid: int) -> Task | None:
    """The process with that PID in the reader's namespace; None if there is none or it has no files.

    Raises drgn.FaultError, but of a running kernel, where it has just ended.
    """
    from drgn.helpers.linux.pid import find_task as find

    namespace, _ = _pid_namespace(kernel)
    object_ = find(drgn.Object(kernel.prog, "struct pid_namespace *", namespace), pid)
    try:
        return _task(kernel, object_.value_()) if object_ else None
    except drgn.FaultError:
        if kernel.live:
            return None
        raise


def descriptors(kernel: Kernel, files: int) -> list[tuple[int, int]]:
    """Open descriptors of a ``struct files_struct *``: (fd, ``struct file *``), the whole table in one read.

    Raises drgn.FaultError. On a live kernel a table that can't be right is that of a process that has just ended.
    """
    return _table(kernel, files)[0]


def _table(kernel: Kernel, files: int) -> tuple[list[tuple[int, int]], Section]:
    (section,) = kernel.reader(_FILES).sections(files)
    count = section["max_fds"]
    if not isinstance(count, int) or not 0 < count <= MAX_FDS:
        if kernel.live:
            return [], section
        raise drgn.FaultError("a table of descriptors that can't be right", files)
    raw = kernel.read(section["fd"], count * 8)
    pointers = struct.unpack(f"{kernel.byte_order}{count}Q", raw)
    return [(fd, pointer) for fd, pointer in enumerate(pointers) if pointer], section


def descriptors_of(kernel: Kernel, task: Task, complain: Callable[[str], None]) -> list[tuple[int, int]]:
    """As ``descriptors``, of a task; a part of the table that a dump has lost, and holds as zeros, is complained of.

    ``fdtable.open_fds`` tells it: more bits than files, and more than the threads may have reserved.
    """
    entries, section = _table(kernel, task.files)
    lost = 0 if kernel.live else _reserved(kernel, section) - len(entries)
    if lost > _RESERVED * section["users"]:
        complain(
            f"{lost} descriptors of {task.comm} ({task.pid}) are open but lead to no file: the dump has lost a part of"
            " their table"
        )
    return entries


def _reserved(kernel: Kernel, section: Section) -> int:
    """How many descriptors are taken, with a file or not yet; 0 if that is unreadable."""
    try:
        return int.from_bytes(kernel.read(section["open_fds"], section["max_fds"] // 8), "little").bit_count()
    except drgn.FaultError:
        return 0


def all_descriptors(
    kernel: Kernel, complain: Callable[[str], None]
) -> Iterator[tuple[Task, list[tuple[int, int]]]]:
    """Every task that has files, and its open descriptors."""
    for task in tasks(kernel, complain):
        try:
            entries = descriptors_of(kernel, task, complain)
        except drgn.FaultError as error:
            complain(f"the descriptors of {task.comm} ({task.pid}) are unreadable: {error}")
            continue
        yield task, entries


def socket_of_file(kernel: Kernel, file: int) -> int | None:
    """The ``struct socket *`` of a ``struct file *``, None if it is no socket (f_op is not socket_file_ops)."""
    (section,) = kernel.reader(FILE).sections(file)
    return section["private_data"] if section["f_op"] == _operations(kernel, "socket_file_ops") else None


# A descriptor: its task, and its number.
Descriptor = tuple[Task, int]
Held = dict[int, tuple[Descriptor, ...]]


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """What descriptors lead to, and the descriptors, in the order of tasks and numbers.

    ``sockets``: by ``struct socket *``; ``rings``: by ``struct io_ring_ctx *``; ``maps``: by ``struct bpf_map *``.
    ``trouble``: what could not be read on the way to them, so that some may be missing.
    """

    sockets: Held
    rings: Held
    maps: Held
    trouble: list[str]


def open_files(kernel: Kernel, complain: Callable[[str], None]) -> OpenFiles:
    """All tasks looked through once. Of a dump the answer is remembered."""
    found: OpenFiles | None = kernel.cache.get("open_files")
    if found is None:
        found = _open_files(kernel, complain)
        if not kernel.live:
            kernel.cache["open_files"] = found
    return found


def _open_files(kernel: Kernel, complain: Callable[[str], None]) -> OpenFiles:
    first: dict[int, Descriptor] = {}
    more: dict[int, list[Descriptor]] = {}
    found = OpenFiles({}, {}, {}, [])

    def say(message: str) -> None:
        found.trouble.append(message)
        complain(message)

    for task, entries in all_descriptors(kernel, say):
        for fd, file in entries:
            if file in first:
                more.setdefault(file, []).append((task, fd))
            else:
                first[file] = (task, fd)
    by_operations = {
        address: kind
        for name, kind in (
            ("socket_file_ops", found.sockets),
            ("io_uring_fops", found.rings),
            ("bpf_map_fops", found.maps),
        )
        if (address := _operations(kernel, name))
    }
    for file, operations, data in _files_read(kernel, first, say):
        kind = by_operations.get(operations)
        if kind is not None:
            held = (first[file], *more[file]) if file in more else (first[file],)
            kind[data] = (*kind[data], *held) if data in kind else held
    return found


def _files_read(
    kernel: Kernel, holders: Mapping[int, Descriptor], complain: Callable[[str], None]
) -> Iterator[tuple[int, int, int]]:
    """Each ``struct file *`` with its operations and private data."""
    offsets = kernel.offsets(FILE)
    names = sorted(offsets, key=offsets.__getitem__)
    data, operations = names.index("private_data"), names.index("f_op")
    for file, values in read_pointers(kernel, holders, [offsets[name] for name in names]):
        if values is None or not (values[operations] or kernel.live):  # zeros
            task, fd = holders[file]
            complain(f"descriptor {fd} of {task.comm} ({task.pid}) is unreadable: file {file:#x}")
        else:
            yield file, values[operations], values[data]


def sockets_of_files(
    kernel: Kernel, files: Collection[int], complain: Callable[[str], None]
) -> dict[int, int]:
    """The ``struct socket *`` of each ``struct file *`` that is a socket's and can be read."""
    reader = kernel.reader(FILE)
    found: dict[int, int] = {}
    for file, content in read_many(kernel, files, reader.size):
        if content is None:
            complain(f"a file that is held without a descriptor is unreadable: {file:#x}")
            continue
        (section,) = reader.sections(file, content)
        if section["f_op"] == _operations(kernel, "socket_file_ops"):
            found[file] = section["private_data"]
    return found


def socks_of(kernel: Kernel, sockets: Held, complain: Callable[[str], None]) -> dict[int, int]:
    """The ``struct sock *`` of each ``struct socket *`` that can be read."""
    found: dict[int, int] = {}
    for socket, values in read_pointers(kernel, sockets, [kernel.offsets(_SK)["sk"]]):
        if values is not None:
            found[socket] = values[0]
        elif not kernel.live:  # where sockets are closed while they are looked at
            task, fd = sockets[socket][0]
            complain(f"the socket of descriptor {fd} of {task.comm} ({task.pid}) is unreadable: {socket:#x}")
    return found


def _operations(kernel: Kernel, name: str) -> int:
    """The address of a ``struct file_operations``, which marks the files of one kind; 0 if this kernel has none."""
    known: dict[str, int] = kernel.cache.setdefault("file_operations", {})
    if name not in known:
        try:
            known[name] = int(kernel.prog[name].address_ or 0)
        except LookupError:
            known[name] = 0
    return known[name]


def references(kernel: Kernel, file: int) -> int:
    """How often a ``struct file`` is held: its descriptors, and whatever uses it at this moment."""
    (section,) = kernel.reader(_REFERENCES).sections(file)
    return section["f_ref"] + 1 if isinstance(section["f_ref"], int) else int(section["f_count"])
