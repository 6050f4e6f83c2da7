# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which names of a filter stand for nothing in the target: why it may have selected no socket."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import nearest
from sockcrash.kernel.cgroups import cgroup_paths
from sockcrash.kernel.devices import device_names
from sockcrash.model.container import container_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("missing",)


def missing(kernel: Kernel, named: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A sentence for each name, by the field that it is compared with, if no such thing is there.

    None where that can't be told: of a snapshot, and where what there is can't be read.
    """
    if kernel.index is not None:
        return
    for field, name in sorted(named):
        what, names_of = _KINDS[field]
        try:
            known = set(names_of(kernel))
        except (drgn.FaultError, LookupError):
            continue
        if not any(fnmatchcase(one, name) for one in known):
            yield f"there is no {what} {name.rstrip('*')!r}.{nearest(name, sorted(known))}"


def _containers(kernel: Kernel) -> Iterator[str]:
    return filter(None, map(container_of, cgroup_paths(kernel)))


_KINDS: dict[str, tuple[str, Callable[[Kernel], Iterable[str]]]] = {
    "device": ("device", device_names),
    "cgroup": ("control group", cgroup_paths),
    "container": ("container (a control group's path begins with /)", _containers),
}
