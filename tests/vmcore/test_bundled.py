# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bundled vmcores, which need no guest and no network: complete, unharmed, and right by their own truth."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

import test_inspect_ss
from bundles import BUNDLED, SHELF, run

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
