# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bundled vmcores, which need no guest and no network: complete, unharmed, and right by their own truth."""

from __future__ import annotations

import hashlib
import lzma
import random
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import test_inspect_ss
from bundles import BUNDLED, SHELF, run
from harness import sockcrash_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundles import Bundle

try:
    import tomllib
except ImportError:  # Python 3.10
    tomllib = None  # type: ignore[assignment]


def test_there_is_one_of_each_kernel() -> None:
    assert [series for series in ("5.10", "6.1", "6.12") if series not in BUNDLED] == []
    assert len(BUNDLED) >= 4


def test_the_account_fits_the_files(bundle: Bundle) -> None:
    if tomllib is None:
        pytest.skip("this Python has no tomllib")
    meta: dict[str, Any] = tomllib.loads((bundle.directory / "meta.toml").read_text())
    assert meta["kernel"] == bundle.truth.raw["release"]
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bundle.directory.glob("*.xz")
    }
    assert meta["sha256"] == files


def test_every_key_of_ss(bundle: Bundle, figures: Callable[[str], None]) -> None:
    test_inspect_ss.test_every_key_of_ss(bundle, figures)


def test_nothing_that_ss_lists_is_missing(bundle: Bundle) -> None:
    test_inspect_ss.test_nothing_that_ss_lists_is_missing(bundle)


def test_every_option(bundle: Bundle, figures: Callable[[str], None]) -> None:
    """Byte for byte, by the record that lies beside it."""
    ended = run(bundle, "verify")
    assert (ended.status, ended.err) == (0, "")
    (total,) = [line.split() for line in ended.out.splitlines() if line.startswith("all ")]
    figures(f"bundled {bundle.series}, verify: {total[1]} compared, {total[5]} disagree")
    assert int(total[1]) > 30_000
    assert int(total[5]) == 0


def test_owners_are_kept(bundle: Bundle) -> None:
    for label, one in bundle.truth.tcp_sockets.items():
        if one.get("fd") is None or one.get("inode") in (None, 0):
            continue
        record = bundle.labelled(label)
        assert {"kind": "fd", "pid": one["pid"], "comm": "python3", "fd": one["fd"]} in record["owners"], (
            label
        )


def test_all_together_are_small() -> None:
    assert sum(path.stat().st_size for path in SHELF.rglob("*") if path.is_file()) < 6_000_000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "args", [("inspect", "--all", "--every", "--queues"), ("summary",)], ids=lambda args: args[0]
)
def test_scribbled_over(tmp_path: Path, args: tuple[str, ...], seed: int) -> None:
    """Where a dying kernel has written garbage, values are unreadable or wrong; the others are shown, and it ends."""
    core = tmp_path / "vmcore"
    core.write_bytes(_scribbled(lzma.decompress((SHELF / "6.1" / "vmcore.xz").read_bytes()), seed))
    shutil.copy(SHELF / "6.1" / "types.xz", tmp_path)

    done = sockcrash_process(*args, "-c", str(core))
    assert done.status in (0, 4)
    assert done.out.count("\n") > 30


def _scribbled(core: bytes, seed: int) -> bytearray:
    """An ELF vmcore of 64 bits, little-endian, with thousands of words of its memory overwritten."""
    noise, damaged = random.Random(seed), bytearray(core)
    (start,), (count,) = struct.unpack_from("<Q", core, 32), struct.unpack_from("<H", core, 56)
    headers = (struct.unpack_from("<IIQQQQQQ", core, start + 56 * number) for number in range(count))
    words = [
        at
        for kind, _, offset, _, _, size, *_ in headers
        if kind == 1  # PT_LOAD
        for at in range(offset, offset + size - 7, 8)
    ]
    for at in noise.sample(words, 3000):
        garbage = (0, 1, 0x8000, (1 << 64) - 1, noise.getrandbits(64), noise.getrandbits(24))
        struct.pack_into("<Q", damaged, at, noise.choice(garbage))
    return damaged


def test_no_snapshot_of_a_snapshot(tmp_path: Path) -> None:
    """What holds a socket is looked for in tasks and tables, which a snapshot has not."""
    core = SHELF / "6.1" / "vmcore.xz"
    done = sockcrash_process("snapshot", "-c", str(core), "-o", str(tmp_path / "smaller.xz"), "tcp::16971")
    assert done.status == 1
    assert "can't be taken of a snapshot" in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["-1", "1" + "0" * 16])
def test_an_address_that_no_pointer_can_hold(address: str) -> None:
    done = sockcrash_process("struct", "-c", str(SHELF / "6.1" / "vmcore.xz"), "tcp_sock", "--", address)
    assert (done.status, done.out) == (2, "")
    assert "they have 64 bits" in done.err
