# SPDX-License-Identifier: LGPL-2.1-or-later
"""JSON objects as one document or as lines, given out as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sockcrash.render.json import SCHEMA, dumps

__all__ = ("objects",)


def objects(
    made: Iterable[Any], target: dict[str, Any], output_format: str, text: Callable[[Any], str] = dumps
) -> Iterator[str]:
    """Pieces of text: for jsonl one line an object, for json a document with ``target`` and ``sockets``.

    ``text`` writes one of those that were ``made``.
    """
    if output_format == "jsonl":
        for one in made:
            yield text(one) + "\n"
        return
    yield f'{{"schema":{SCHEMA},"target":{dumps(target)},"sockets":['
    for number, one in enumerate(made):
        yield ("," if number else "") + "\n" + text(one)
    yield "\n]}\n"
