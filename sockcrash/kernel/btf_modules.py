# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where is the BTF of kernel modules? Each is read when its types are first looked through."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import drgn
from drgn.helpers.linux.list import list_for_each_entry

from sockcrash.errors import TargetError
from sockcrash.kernel.btf import MAX_BLOB
from sockcrash.kernel.lost_types import types_are_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("Readers", "in_memory", "of_running_kernel")

SYSFS = Path("/sys/kernel/btf")
_MAX_MODULES = 4096

logger = logging.getLogger("sockcrash")

Readers = dict[str, "Callable[[], bytes]"]


def of_running_kernel() -> Readers:
    """Module → what reads its BTF, from sysfs, by name."""
    try:
        return {path.name: path.read_bytes for path in sorted(SYSFS.iterdir()) if path.name != "vmlinux"}
    except OSError:
        return {}


def in_memory(prog: drgn.Program) -> Readers:
    """Module → what reads its BTF, from the kernel's list ``btf_modules``, by name.

    Linux before 5.11 has no BTF of modules and no list.
    """
    return dict(sorted(_walk(prog)))


def _walk(prog: drgn.Program) -> Iterator[tuple[str, Callable[[], bytes]]]:
    try:
        entries = list_for_each_entry("struct btf_module", prog["btf_modules"].address_of_(), "list")
    except LookupError:
        return
    seen: set[int] = set()
    try:
        for entry in entries:
            if entry.value_() in seen or len(seen) >= _MAX_MODULES:
                logger.warning("the list of modules' BTF is damaged: it is cut after %d", len(seen))
                types_are_lost(prog)
                return
            seen.add(entry.value_())
            blob = entry.btf.read_()
            name = blob.name.string_().decode("ascii", "replace")
            yield name, partial(_read, prog, name, blob.data.value_(), blob.data_size.value_())
    except drgn.FaultError as error:
        logger.warning("the list of modules' BTF can't be read after %d: %s", len(seen), error)
        types_are_lost(prog)


def _read(prog: drgn.Program, name: str, address: int, size: int) -> bytes:
    if size > MAX_BLOB:
        raise TargetError(f"the BTF of {name} has {size} bytes")
    try:
        blob: bytes = prog.read(address, size)
    except drgn.FaultError as error:
        raise TargetError(f"the BTF of {name} can't be read: {error}") from error
    return blob
