# SPDX-License-Identifier: LGPL-2.1-or-later
"""Addresses of sockets of every family are proved, by slab or by back pointer; freed neighbours are refused."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from drgn.helpers.linux.slab import slab_object_info

from sockcrash.errors import NotASocketError
from sockcrash.kernel.view import kernel_of
from sockcrash.locate.address import prove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import drgn

    from harness import Dump

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


def test_every_address_is_proved(dump: Dump, figures: Callable[[str], None]) -> None:
    kernel = kernel_of(dump.prog)
    kinds = {one["kind"] for one in dump.records}
    for one in dump.records:
        address = int(one["address"], 16)
        handle = prove(kernel, address, one["address"])
        assert (handle.address, handle.kind.name, handle.proved) == (address, one["kind"], True)
        inside = prove(kernel, address + 1, one["address"])
        assert inside.address == address
        assert "inside" in inside.note
    figures(f"Linux {dump.series}: {len(dump.records)} addresses of {len(kinds)} kinds proved")


def test_freed_neighbours_are_refused(dump: Dump, figures: Callable[[str], None]) -> None:
    """Free objects of the same slabs: what was a socket still looks like one."""
    kernel = kernel_of(dump.prog)
    refused: Counter[str] = Counter()
    known = {int(one["address"], 16) for one in dump.records}
    for one in dump.records:
        for address in _free_neighbours(dump.prog, int(one["address"], 16)):
            assert address not in known
            with pytest.raises(NotASocketError, match="is freed"):
                prove(kernel, address, hex(address))
            refused[one["kind"]] += 1
    figures(f"Linux {dump.series}: freed and refused beside {dict(refused)}")
    assert {"tcp", "unix", "netlink"} <= refused.keys()  # netlink's have no slab of their own


def _free_neighbours(prog: drgn.Program, address: int) -> Iterator[int]:
    size = int(slab_object_info(prog, address).slab_cache.size)
    for step in (-2, -1, 1, 2):
        info = slab_object_info(prog, address + step * size)
        if info is not None and not info.allocated:
            yield int(info.address)
