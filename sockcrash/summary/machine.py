# SPDX-License-Identifier: LGPL-2.1-or-later
"""The summary of a kernel: its sockets, counted, beside what the kernel counts itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel import accounts, mibs
from sockcrash.kernel.namespaces import namespaces
from sockcrash.kernel.netns import inode_of, paths, processes
from sockcrash.model import Absent, Reason
from sockcrash.model.overview import NamespaceSummary, Summary
from sockcrash.summary.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockcrash.kernel.chains import Complain
    from sockcrash.kernel.view import Kernel
    from sockcrash.model import SocketRecord
    from sockcrash.model.overview import ProtocolMemory

__all__ = ("summarize",)


def summarize(kernel: Kernel, records: Iterable[SocketRecord], complain: Complain) -> Summary:
    """Count the sockets, and read the kernel's own counts; what of these is unreadable is left out."""
    tally = Tally()
    for record in records:
        tally.add(record)
    for what, (number, why) in tally.untold.items():
        complain(f"{what} can't be told of {number} of the sockets, and not counted: {why}")
    found, limit = _orphans(kernel, complain)
    return Summary(
        whole=kernel.index is None,
        load=tally.load(),
        kinds=tally.kinds(),
        holders=dict(tally.holders.most_common()),
        namespaces=tuple(_namespaces(kernel, tally, complain)),
        processes=tally.processes(),
        memory=tuple(_memory(kernel, complain)),
        page_size=int(kernel.prog["PAGE_SIZE"]),
        orphans=found,
        max_orphans=limit,
        top=tally.top(),
    )


def _namespaces(kernel: Kernel, tally: Tally, complain: Complain) -> Iterator[NamespaceSummary]:
    """Every namespace, those with most sockets first."""
    names, inhabitants = paths(kernel, complain), processes(kernel, complain)
    found = []
    for net in namespaces(kernel, complain):
        try:
            inode = inode_of(kernel, net)
            counts = accounts.namespace(kernel, net)
            counters = mibs.counters(kernel, net)
        except (drgn.FaultError, LookupError) as error:
            complain(f"the counts of the namespace at {net:#x} are unreadable: {error}")
            continue
        load, states, ports = tally.of_namespace(inode, counts.first_port, counts.last_port)
        found.append(
            NamespaceSummary(
                inode=inode,
                names=names.get(inode, ()),
                processes=inhabitants(inode),
                load=load,
                states=states,
                counts=counts,
                ports=ports,
                counters=counters,
            )
        )
    yield from sorted(found, key=lambda one: -one.load.sockets)


def _memory(kernel: Kernel, complain: Complain) -> Iterator[ProtocolMemory]:
    for protocol in accounts.PROTOCOLS:
        try:
            found = accounts.memory(kernel, protocol)
        except drgn.FaultError as error:
            complain(f"the memory accounts of {protocol} are unreadable: {error}")
            continue
        if found is not None:
            yield found


def _orphans(kernel: Kernel, complain: Complain) -> tuple[int | Absent, int | Absent]:
    try:
        return accounts.orphans(kernel)
    except drgn.FaultError as error:
        complain(f"the count of orphans is unreadable: {error}")
        return (kernel.unreadable(error),) * 2
    except LookupError as error:
        return (Absent(Reason.NOT_IN_KERNEL, str(error)),) * 2
