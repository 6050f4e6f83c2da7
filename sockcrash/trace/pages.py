# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pages of a ring buffer, as trace_pipe_raw gives them, into records with their time.

kernel/trace/ring_buffer.c, enum ring_buffer_type; the head of a page is described by events/header_page.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

__all__ = ("PageFormat", "parse_page", "parse_page_format")

_FIELD = re.compile(r"field: (?:u64|local_t|char) (\w+);\s*offset:(\d+);\s*size:(\d+);")
_PADDING, _EXTEND, _STAMP = 29, 30, 31
_DELTA_BITS = 27
_STAMP_BITS = 59
_LOST = 1 << 31  # RB_MISSED_EVENTS
_LENGTH = (1 << 27) - 1


@dataclass(frozen=True, slots=True)
class PageFormat:
    """Where the time and the length of a page stand, where its records begin, and how large it is."""

    time: struct.Struct
    commit: int
    commit_code: struct.Struct
    data: int
    size: int
    word: struct.Struct


def parse_page_format(text: str, byte_order: str) -> PageFormat:
    """The text of events/header_page; ValueError if it is none."""
    fields = {match[1]: (int(match[2]), int(match[3])) for match in _FIELD.finditer(text)}
    try:
        (commit, wide), (data, size) = fields["commit"], fields["data"]
    except KeyError:
        raise ValueError("no description of a page") from None
    code = {4: "I", 8: "Q"}.get(wide)
    if code is None or fields.get("timestamp") != (0, 8) or data < commit + wide:
        raise ValueError("an unknown description of a page")
    return PageFormat(
        struct.Struct(byte_order + "Q"),
        commit,
        struct.Struct(byte_order + code),
        data,
        data + size,
        struct.Struct(byte_order + "I"),
    )


def parse_page(page: bytes, layout: PageFormat) -> tuple[list[tuple[int, bytes]], bool]:
    """(time in ns, record) of a page in order, and whether events before it were lost. A broken rest is left out."""
    if len(page) < layout.data:
        return [], False
    (now,) = layout.time.unpack_from(page)
    (commit,) = layout.commit_code.unpack_from(page, layout.commit)
    end = min(layout.data + (commit & 0xFFFFF), len(page))
    found: list[tuple[int, bytes]] = []
    at = layout.data
    word, little = layout.word.unpack_from, layout.word.format.startswith("<")
    while at + 4 <= end:
        (head,) = word(page, at)
        kind, delta = (head & 31, head >> 5) if little else (head >> 27, head & _LENGTH)
        at += 4
        if 0 < kind < _PADDING:
            size = kind * 4
            now += delta
        elif at + 4 > end:
            break
        else:
            (more,) = word(page, at)
            if kind in (_EXTEND, _STAMP):
                whole = delta | more << _DELTA_BITS
                now = _absolute(whole, now) if kind == _STAMP else now + whole
                at += 4
                continue
            if kind == _PADDING:
                if not delta:
                    break
                at += more
                now += delta
                if more < 4:
                    break
                continue
            size = more - 4
            at += 4
            now += delta
            if size <= 0:
                break
        if at + size > end:
            break
        found.append((now, page[at : at + size]))
        at += size
    return found, bool(commit & _LOST)


def _absolute(stamp: int, now: int) -> int:
    """An absolute time has 59 bits; the rest is that of the page (rb_fix_abs_ts)."""
    return stamp & (1 << _STAMP_BITS) - 1 | now >> _STAMP_BITS << _STAMP_BITS
