# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/options.md from the rows of sockcrash/kernel/options: written, or with --check compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import EVERY_KIND, SET_ONLY, Default, Option
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.layout import Place

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
HEAD = """\
# Socket options

Every socket option that `sockcrash options` knows, level by level. This page is made from the rows of
`sockcrash/kernel/options/` by `python scripts/options_doc.py`; a test fails while it is out of date.

- **Sockets**: the kinds that have it, as `kind` in the output names them. AF_INET6 sockets (but RAW) have the options
  of IPPROTO_IP too. An MPTCP socket that fell back to TCP answers with those of its TCP socket.
- **Untouched**: what a socket holds on which nobody has set it, and the sysctl that it comes from. `-` marks facts,
  which nobody sets.
- **Stored in**: where kernels keep it, newest first; the first place that the kernel at hand has is taken.
- **getsockopt**: whether the call returns it. Where it doesn't, the value is shown nevertheless, without its bytes.
"""


def page() -> str:
    """The whole page."""
    return "\n".join((HEAD, *(line for level in LEVELS for line in _level(level)))) + "\n"


def _level(level: str) -> Iterator[str]:
    rows = [row for row in ROWS if row.level == level]
    names = list(dict.fromkeys((row.number, row.name) for row in rows))
    also = sorted({other for row in rows for other in row.also})
    yield f"## {level} ({LEVELS[level]})"
    yield ""
    if also:
        yield f"Some of them are answered at level {', '.join(also)} too."
        yield ""
    yield "| option | number | sockets | untouched | stored in | getsockopt |"
    yield "|---|---|---|---|---|---|"
    for number, name in names:
        yield _line([row for row in rows if (row.number, row.name) == (number, name)])
    yield ""


def _line(rows: list[Option]) -> str:
    cells = (
        rows[0].name,
        str(rows[0].number),
        _sockets(rows),
        _distinct(_untouched(row) for row in rows),
        _distinct(_stored(row) for row in rows),
        _distinct(_given(row) for row in rows),
    )
    return "| " + " | ".join(cells) + " |"


def _distinct(texts: Iterator[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _sockets(rows: list[Option]) -> str:
    kinds = [kind for kind in EVERY_KIND if any(kind in row.kinds for row in rows)]
    return "all" if len(kinds) == len(EVERY_KIND) else ", ".join(kinds)


def _untouched(row: Option) -> str:
    default = row.default
    if row.origin is kernel or default is None:
        return "-"
    if isinstance(default, Default):
        return f"`{default.source.name}`" if default.source else "depends on the socket"
    return "none" if isinstance(default, Absent) else row.codec.text(default)


def _stored(row: Option) -> str:
    places = (" or ".join(_place(field.ctype, place) for place in field.places) for field in row.fields)
    members = list(dict.fromkeys(places))
    return ", ".join([*members[:3], "..."] if len(members) > 3 else members)


def _place(ctype: str, place: Place) -> str:
    bit = "" if place.bit is None else f" bit {place.bit}"
    return f"`{ctype.removeprefix('struct ')}.{place.path}`{bit}"


def _given(row: Option) -> str:
    if row.raw is None:
        members = " and ".join(_place(field.ctype, field.places[0]) for field in row.given)
        return f"in kernels with {members}" if members else "yes"
    if row.raw is SET_ONLY:
        return "set-only"
    return "secret" if row.raw.reason is Reason.SECRET else row.raw.detail


def main() -> int:
    """Write the page; with --check, say whether it is current."""
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made)
        return 0
    if PAGE.read_text() == made:
        return 0
    print(f"{PAGE.name} is out of date: run python scripts/options_doc.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
