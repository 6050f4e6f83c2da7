# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading truth.json, which the scenario of tests/guest writes: what that kernel said before and after our look."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oracle.clock import Window
from oracle.compare import Sample
from oracle.ss import parse

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ("Truth", "load", "of_raw")

IPPROTO_TCP, TCP_INFO = 6, 11
SOCK_STREAM = 1
INET = (2, 10)
SS_TCP = ("-tanieOm", "-tanieOmH")


@dataclass(frozen=True)
class Truth:
    """One record. Sockets are keyed by cookie; ``after`` is empty where the kernel crashed (kdump)."""

    raw: dict[str, Any]
    before: dict[int, Sample]
    after: dict[int, Sample]

    @property
    def between(self) -> Window:
        """From the last word before our look to the first one after it."""
        after = self.raw["after"]["start"] if "after" in self.raw else float("inf")
        return Window(self.raw["before"]["end"] * 1000, after * 1000)

    @property
    def sockets(self) -> dict[str, dict[str, Any]]:
        """The held sockets by label."""
        return {one["label"]: one for one in self.raw["sockets"]}

    @property
    def tcp_sockets(self) -> dict[str, dict[str, Any]]:
        """The held plain TCP sockets by label."""
        return {label: one for label, one in self.sockets.items() if _is_tcp(one)}

    @property
    def without_fd(self) -> dict[str, dict[str, Any]]:
        """The objects that no descriptor stands for, by label."""
        return {one["label"]: one for one in self.raw["without_fd"]}

    def netns(self, name: str) -> int:
        """Inode of a network namespace of the scenario."""
        return next(int(one["inode"]) for one in self.raw["netns"] if one["name"] == name)

    def tcp_info(self, label: str, when: str) -> bytes | None:
        """The struct tcp_info of a socket ``before`` or ``after``, None if the kernel gave none."""
        answers = self.raw[when]["options"][label]["value"].get(str(IPPROTO_TCP), {})
        answer = answers.get(str(TCP_INFO))
        return bytes.fromhex(answer) if isinstance(answer, str) else None


def _is_tcp(one: dict[str, Any]) -> bool:
    return one["family"] in INET and one["type"] == SOCK_STREAM and one["protocol"] in (0, IPPROTO_TCP)


def load(path: Path) -> Truth:
    """Read one; ss lines nearest to our look win: the last before it and the first after it."""
    return of_raw(json.loads(path.read_text()))


def of_raw(raw: dict[str, Any]) -> Truth:
    """A truth that is read already."""
    before = _samples(raw["before"]["commands"])
    after = _samples(list(reversed(raw["after"]["commands"]))) if "after" in raw else {}
    return Truth(raw, before, after)


def _samples(commands: list[dict[str, Any]]) -> dict[int, Sample]:
    """Samples by cookie; of several the last command's is kept."""
    samples: dict[int, Sample] = {}
    for command in commands:
        if command["argv"][0] != "ss" or command["argv"][1] not in SS_TCP:
            continue
        assert command["rc"] == 0, command
        when = Window(command["start"] * 1000, command["end"] * 1000)
        samples.update({line.cookie: Sample(line.keys, when) for line in parse(command["stdout"])})
    return samples
