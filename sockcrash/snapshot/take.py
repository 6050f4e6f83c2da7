# SPDX-License-Identifier: LGPL-2.1-or-later
"""Taking a snapshot: decode the selected sockets through a recording door, and keep just what was read.

The tables, the tasks and the slabs were looked through on the source, unrecorded; what they told (which sockets, who
holds them, whether they are proved) goes into the index. The same code then runs on a Program whose memory is the
recorder, with types and symbols as the snapshot will have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode import decode
from sockcrash.decode.inheritance import OptionReader
from sockcrash.decode.want import EVERYTHING
from sockcrash.errors import TargetError
from sockcrash.kernel import accounts, mibs, netns
from sockcrash.kernel.carried import Borrowed, attach_carried, carry_types
from sockcrash.kernel.fields import FULL, PROTO, SECRETS
from sockcrash.kernel.files import find_task
from sockcrash.kernel.namespaces import namespaces
from sockcrash.kernel.selection import Entry, Index, entry_to_json
from sockcrash.kernel.view import Kernel
from sockcrash.memory import Ranges, Recorder, program_over
from sockcrash.snapshot.format import PLATFORM, Snapshot

if TYPE_CHECKING:
    from sockcrash.locate.address import Handle
    from sockcrash.model import SocketRecord

__all__ = ("split_types", "take", "taken_meta")

_MAX_SOCKET = 1 << 16
# The buffers of queues one by one too, but never what is in them.
_EVERYTHING = replace(EVERYTHING, segments=True)
# What VMCOREINFO says of the build, whatever the boot: a file of types is the same for all boots of a kernel.
_OF_THE_BUILD = (b"OSRELEASE=", b"BUILD-ID=", b"PAGESIZE=")


def take(
    source: Kernel,
    found: Iterable[tuple[Handle, SocketRecord]],
    meta: dict[str, Any],
    complain: Callable[[str], None],
) -> Snapshot:
    """A snapshot of sockets that were decoded on ``source``; their owners and proofs come from those records."""
    if source.prog.platform != PLATFORM:
        raise TargetError(f"snapshots are written of x86_64 kernels only, not of {source.prog.platform}")
    if source.index is not None:
        raise TargetError(
            "a snapshot can't be taken of a snapshot: the tasks and tables are not in it",
            hint="take it of what that one was taken of; `sockcrash info` says of what",
        )
    recorder = Recorder(source.read)
    vmcoreinfo = source.prog["VMCOREINFO"].string_()
    prog = program_over(recorder.read, vmcoreinfo, PLATFORM, live=source.live)
    btf, symbols = carry_types(source.prog), Borrowed(source.prog)
    if not btf:
        raise TargetError("this kernel has no BTF that can be read, and a snapshot needs it for its types")
    attach_carried(prog, btf, symbols)
    kernel = Kernel(prog)
    kernel.exact = True
    pairs = list(found)
    kernel.index = _index(source, pairs, complain)
    for entry in _listeners(source, [handle for handle, _ in pairs], complain):
        kernel.index.setdefault(entry.address, entry)
    options = OptionReader(kernel, complain, every=True)
    secret: list[tuple[int, int]] = []
    for handle, _ in pairs:
        _record_whole(kernel, handle)
        torn = decode(kernel, handle, options=options, want=_EVERYTHING).torn
        kernel.index[handle.address] = replace(kernel.index[handle.address], torn=torn)
        secret += _secrets(kernel, handle)
    _record_counts(kernel, complain)
    kernel.tick()
    entries = [entry_to_json(entry) for entry in kernel.index.values()]
    content = {**meta, "schema": 1, "sockets": entries, "symbols": symbols.to_json()}
    return Snapshot(vmcoreinfo, content, btf, recorder.ranges().without(secret))


def _listeners(source: Kernel, handles: list[Handle], complain: Callable[[str], None]) -> list[Entry]:
    """The listeners that selected sockets may have options from: their options travel too."""
    reader = OptionReader(source, complain)
    found: dict[int, Entry] = {}
    for handle in handles:
        kind = handle.kind.name
        try:
            beside = reader.listeners_on(kind, handle.address)
        except drgn.FaultError:
            continue  # its record says that its options are unreadable
        for address in beside:
            found[address] = Entry(address, kind, "listener", True, "", False, (), selected=False)
    return list(found.values())


def _index(
    source: Kernel, pairs: list[tuple[Handle, SocketRecord]], complain: Callable[[str], None]
) -> Index:
    mounted = netns.paths(source, complain)
    of_process: dict[int, int | None] = {}
    index: Index = {}
    for handle, record in pairs:
        owners = record.owners if isinstance(record.owners, tuple) else ()
        for pid in {owner.pid for owner in owners if owner.pid is not None} - of_process.keys():
            of_process[pid] = _namespace_of(source, pid)
        index[handle.address] = Entry(
            handle.address,
            handle.kind.name,
            handle.how,
            handle.proved,
            handle.note,
            record.torn,
            record.owners,
            netns_paths=mounted.get(record.netns, ()) if isinstance(record.netns, int) else (),
            netns_processes=record.netns_processes,
            other_end=record.other_end,
            owner_netns=tuple(None if owner.pid is None else of_process[owner.pid] for owner in owners),
        )
    return index


def _namespace_of(source: Kernel, pid: int) -> int | None:
    try:
        task = find_task(source, pid)
        return netns.namespace_of_task(source, task) if task else None
    except drgn.FaultError:
        return None  # what is unreadable of tasks has been said


def _record_whole(kernel: Kernel, handle: Handle) -> None:
    """Read all of a socket's object, so that any member of it can be asked of the snapshot."""
    try:
        size = drgn.sizeof(kernel.prog.type(handle.kind.ctype))
    except LookupError:
        size = 0
    try:
        if handle.kind.full:
            (full,) = kernel.reader(FULL).sections(handle.address)
            (proto,) = kernel.reader(PROTO).sections(full["sk_prot_creator"])
            size = max(size, min(proto["obj_size"], _MAX_SOCKET))
        kernel.read(handle.address, size)
    except drgn.FaultError:
        return


def _record_counts(kernel: Kernel, complain: Callable[[str], None]) -> None:
    """Read what ``summary`` shows of the machine: counts, limits, and counters of all namespaces."""
    try:
        for protocol in accounts.PROTOCOLS:
            accounts.memory(kernel, protocol)
        accounts.orphans(kernel)
        for net in namespaces(kernel, complain):
            netns.inode_of(kernel, net)
            accounts.namespace(kernel, net)
            mibs.counters(kernel, net)
    except (drgn.FaultError, LookupError) as error:
        complain(f"what the kernel counts is not in the snapshot: {error}")


def _secrets(kernel: Kernel, handle: Handle) -> list[tuple[int, int]]:
    """Where keys lie inside of a socket's own object."""
    return [
        (handle.address + bound.spot.offset, bound.spot.size)
        for bound in kernel.bounds(SECRETS)
        if bound.spot and bound.field.ctype == handle.kind.ctype
    ]


def taken_meta(target: dict[str, Any], selection: list[str]) -> dict[str, Any]:
    """The note's account of where and when: ``target`` is the source as JSON describes it."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    live = target["source"] in ("live", "qemu")
    return {
        "source": target["source"],
        "release": target["release"],
        "taken": now if live else target["taken"],
        "written": now,
        "tool": target["tool"],
        "selection": selection,
    }


def split_types(snapshot: Snapshot, name: str) -> tuple[Snapshot, Snapshot]:
    """A snapshot without its BTF, which names the file ``name`` beside it, and that file's content."""
    lean = Snapshot(snapshot.vmcoreinfo, {**snapshot.meta, "types": name}, {}, snapshot.ranges)
    whose = [line for line in snapshot.vmcoreinfo.splitlines(keepends=True) if line.startswith(_OF_THE_BUILD)]
    return lean, Snapshot(b"".join(whose), {"schema": 1}, snapshot.btf, Ranges(()))
