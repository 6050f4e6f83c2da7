# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reading the picture of a sequence space back: the strip, the marks below it, and how much of what there is."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ("Space", "spaces")

HEAD = re.compile(r"(send|receive) space, (?:from snd_una|around rcv_nxt) (\d+)")
PART = re.compile(r"(\S) (\d+) ([a-zA-Z][a-zA-Z, ]*?)(?: at ([+-]?\d+))?$")


@dataclass(frozen=True)
class Space:
    """One picture: its strip by column, each mark's number and column, amounts by letter and words, islands."""

    base: int
    strip: str
    marks: dict[str, int]
    columns: dict[str, int]
    amounts: dict[str, int]
    islands: dict[int, int]

    def letters(self, start: str, end: str) -> str:
        """What stands between two marks."""
        return self.strip[self.columns[start] : self.columns[end]]


def spaces(text: str) -> dict[str, Space]:
    """The pictures in a text, ``send`` and ``receive``."""
    lines = text.splitlines()
    heads = [(number, match) for number, line in enumerate(lines) if (match := HEAD.match(line.strip()))]
    return {match[1]: _space(int(match[2]), lines[number + 1 :]) for number, match in heads}


def _space(base: int, lines: list[str]) -> Space:
    strip, carets = lines[0], lines[1]
    columns = [column for column, letter in enumerate(carets) if letter == "^"]
    names: dict[str, int] = {}
    rest = iter(lines[2:])
    for line in rest:
        cells = _cells(line, columns)
        if all(re.fullmatch(r"0|[+-]\d+", cell) for cell in cells.values()):
            numbers = {column: int(cell) for column, cell in cells.items()}
            break
        names |= {cell: column for column, cell in cells.items()}
    amounts: dict[str, int] = {}
    islands: dict[int, int] = {}
    for line in rest:
        parts = [PART.match(part) for part in re.split(r" {3,}", line.strip())]
        if not all(parts):
            break
        for part in parts:
            assert part is not None
            if part[4] is None:
                amounts[part[3]] = int(part[2])
            else:
                islands[int(part[4])] = int(part[2])
    marks = {name: numbers[column] for name, column in names.items()}
    return Space(base, strip, marks, names, amounts, islands)


def _cells(line: str, columns: list[int]) -> dict[int, str]:
    """What stands at each of these columns, up to the next."""
    ends = [*columns[1:], None]
    cells = {column: line[column:end].strip() for column, end in zip(columns, ends, strict=True)}
    return {column: cell for column, cell in cells.items() if cell}
