# SPDX-License-Identifier: LGPL-2.1-or-later
"""Types of a running kernel by its own BTF against those of a debug package in the guest: the same records."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import COMMAND, SERIES, Live
from oracle.types import NO_TYPES, without_module_types
from vmlib import store
from vmlib.errors import NotCarried
from vmlib.guest import PROJECT_IN_GUEST, Guest
from vmlib.kernels import fetch, make_image
from vmlib.scenario import started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Record
    from vmlib.kernels import Kernel

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1500)]

DEBUG = "/mnt"
INDEXING = 900.0  # seconds that an emulated processor may take to index the DWARF of a kernel
MISSING = "not there"
# What goes up and comes back while a segment is sent again and again.
FLICKERING = frozenset(
    {"retrans_out", "lost_out", "packets_out", "sacked_out", "pending", "expires_in_ms", "snd_cwnd"}
)
# Likewise what the cached route says: time-outs drop it, and the next segment brings it back.
OF_ROUTES = re.compile(r"\b(IP_MTU|IPV6_MTU|IPV6_PATHMTU)\b")
MOVING = 0.1  # the share of values that may move under the three looks


@pytest.fixture(params=SERIES)
def with_debug_files(request: pytest.FixtureRequest) -> Iterator[Live]:
    """A guest with the scenario in it, and vmlinux and the modules' debug files below /mnt."""
    try:
        kernel = fetch(request.param)
    except NotCarried as error:
        pytest.skip(f"{request.param}: {error}")
    with tempfile.TemporaryDirectory(dir=store.vm_dir()) as name:
        image = debug_image(kernel, Path(name))
        with Guest.boot(request.param, mem=2560, disks=(image,)) as guest:
            guest.put_project()
            guest.run(["mount", "-o", "ro", "/dev/vdc", DEBUG]).check()
            with started(guest) as scenario:
                yield Live(request.param, guest, scenario)
            guest.check_console()


def debug_image(kernel: Kernel, directory: Path) -> Path:
    """An image of vmlinux and the debug files of modules."""
    tree = directory / "tree"
    tree.mkdir()
    for path in (kernel.vmlinux, *sorted((kernel.directory / "modules-debug").glob("*.ko"))):
        (tree / path.name).hardlink_to(path)
    make_image(tree, directory / "debug.img", 16)
    return directory / "debug.img"


def look(live: Live, *files: str) -> dict[str, Record]:
    """Every socket with every option, by address."""
    words = [word for path in files for word in ("-s", path)]
    argv = [*COMMAND, "inspect", "-q", *words, "--all", "--every", "--format", "jsonl"]
    done = live.guest.run(argv, timeout=INDEXING, cwd=PROJECT_IN_GUEST)
    assert done.rc in (0, 4), done.stderr
    return {one["address"]: one for one in map(json.loads, done.stdout.splitlines())}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a record, by its path; options by name."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            name = part["name"] if isinstance(part, dict) and "name" in part else number
            yield from leaves(part, f"{path}[{name}]")
    else:
        yield path, value


def test_the_same_as_by_dwarf(with_debug_files: Live, figures: Callable[[str], None]) -> None:
    """A value that stands still in two looks by BTF has the same value in a look by DWARF between the two."""
    live = with_debug_files
    names = live.guest.run(["ls", DEBUG]).check().stdout.split()
    first = look(live)
    dwarf = look(live, *(f"{DEBUG}/{name}" for name in names if name != "lost+found"))
    last = look(live)
    equal, moved, wrong = 0, 0, []
    for address in first.keys() & last.keys():
        lost = first[address]["absent"]
        if first[address]["kind"] == "vsock" and any(why.startswith(NO_TYPES) for why in lost.values()):
            continue
        looks = [dict(leaves(without_module_types(found[address], lost))) for found in (first, dwarf, last)]
        for path in set().union(*looks):
            values = [found.get(path, MISSING) for found in looks]
            if values[0] != values[2]:
                moved += 1
            elif values[0] == values[1]:
                equal += 1
            elif path.rpartition(".")[2] not in FLICKERING and not OF_ROUTES.search(path):
                wrong.append((address, path, *values))
    figures(
        f"Linux {live.series}, live BTF and DWARF: {len(first)} sockets, {equal} values equal, {moved} moved"
    )
    assert wrong == []
    assert equal > 50_000
    assert moved < MOVING * equal
