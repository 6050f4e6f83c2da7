# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which words of a socket a traced call fetches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sockcrash.kernel.layout import Spot
from sockcrash.kernel.probes import runs


def kernel(*spots: Spot | None) -> Any:
    return SimpleNamespace(bounds=lambda _group: [SimpleNamespace(spot=spot) for spot in spots])


def test_what_lies_close_together_is_fetched_at_once() -> None:
    # Addresses, ports, family and state; two IPv6 addresses; type and protocol in one word; a member that is not there.
    spots = (Spot(0, 4, "I"), Spot(12, 2, "H"), Spot(16, 2, "H"), Spot(18, 1, "B"), Spot(56, 16, "16s"),
             Spot(72, 4, "I", count=4), Spot(514, 2, "H"), Spot(516, 2, "H"), None)  # fmt: skip

    assert runs(kernel(*spots)) == {"head0": (0, 3), "head56": (56, 4), "head512": (512, 1)}


@given(st.lists(st.builds(Spot, st.integers(0, 1000), st.integers(1, 64), st.just("s")), max_size=10))
def test_every_byte_is_in_one_run(spots: list[Spot]) -> None:
    fetched = [
        byte for offset, words in runs(kernel(*spots)).values() for byte in range(offset, offset + 8 * words)
    ]

    assert len(fetched) == len(set(fetched))
    assert set(fetched) >= {byte for one in spots for byte in range(one.offset, one.offset + one.size)}
