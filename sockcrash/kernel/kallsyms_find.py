# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where in a kernel's memory do its ``kallsyms_*`` tables lie?

VMCOREINFO names them since Linux 6.0. Older kernels have them in the one order that ``scripts/kallsyms.c``
wrote then: offsets, relative base, count, names, marks, token table, token index. They are found by the
tokens "0" to "9", which stand in a row in the token table because no kernel lacks digits in its names.
"""

from __future__ import annotations

import struct
import sys
from array import array
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast

import drgn

from sockcrash.errors import TargetError
from sockcrash.kernel.kallsyms import MAX_SYMBOLS, Kallsyms, Tables, damaged, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.vmcoreinfo import VmcoreInfo

__all__ = ("by_search", "by_vmcoreinfo", "byteorder_of", "search")

# VMCOREINFO's symbols that stand under the same name and address in kallsyms on every kernel that has them.
# Others do not: SYMBOL(mem_section) is a pointer's value, swapper_pg_dir a macro.
CHECKED = ("_stext", "init_uts_ns", "prb", "printk_rb_static", "clear_seq", "vmap_area_list")

_TABLES = ("names", "num_syms", "token_table", "token_index", "offsets")
MAX_IMAGE = 256 << 20  # bytes of kernel image searched from _stext on
_MAX_TABLES = 64 << 20
MAX_CANDIDATES = 1000  # places that look like what is searched for; a kernel image has a handful
_TOKENS = 256
_DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
_MAX_TOKEN_TABLE = 1 << 15  # its index has 16-bit offsets; a table has about 1000 bytes
_MAX_GROUP = 256 * 513  # bytes of 256 names: a name has at most 511 letters
_MAX_BEFORE = 8 << 20  # bytes of names and marks before the token table
_PAGE = 4096
_WINDOW = 1 << 20
_MAX_HOLE = 8  # windows in a row; the largest known hole, between text and rodata, has 2 MB


def by_vmcoreinfo(prog: drgn.Program, info: VmcoreInfo) -> Kallsyms | None:
    """The tables at the addresses that VMCOREINFO names, None if it names none.

    TargetError if they are damaged.
    """
    wanted = [info.symbols.get(f"kallsyms_{name}") for name in _TABLES]
    if None in wanted:
        return None
    names, num_syms, token_table, token_index, offsets = cast("list[int]", wanted)
    relative_base = info.symbols.get("kallsyms_relative_base")
    try:
        count = prog.read_u32(num_syms)
        if not 0 < count < MAX_SYMBOLS:
            raise damaged(f"they have {count} symbols")
        ends = [address for address in (token_table, token_index, offsets) if address > names]
        if not ends or min(ends) - names > _MAX_TABLES:
            raise damaged("the names have no end")
        index = struct.unpack(f"{_order(prog)}{_TOKENS}H", prog.read(token_index, 2 * _TOKENS))
        tables = Tables(
            names=prog.read(names, min(ends) - names),
            tokens=tokens(_read_up_to(prog, token_table, max(index) + 256), index),
            offsets=_words(prog, "i", prog.read(offsets, 4 * count)),
            offsets_address=offsets,
            base=prog.read_u64(relative_base) if relative_base else 0,
        )
    except drgn.FaultError as error:
        raise damaged(f"address {error.address:#x} can't be read") from error
    kallsyms = Kallsyms(tables)
    _find_index(prog, kallsyms, token_table, max(offsets + 4 * count, (relative_base or 0) + 8))
    return _check(kallsyms, info)


def by_search(prog: drgn.Program, info: VmcoreInfo) -> Kallsyms:
    """The tables, found in the kernel's memory from ``_stext`` on.

    Raises TargetError if there are none to be found.
    """
    start = info.symbols.get("_stext")
    if start is None:
        raise damaged("VMCOREINFO does not say where the kernel is")
    for address in islice(search(prog, _DIGITS, start, start + MAX_IMAGE), MAX_CANDIDATES):
        if tables := _tables_around(prog, address):
            try:
                return _check(Kallsyms(tables), info)
            except TargetError:
                continue
    raise damaged("VMCOREINFO does not name them, and they are not found in memory")


def search(prog: drgn.Program, needle: bytes, start: int, end: int) -> Iterator[int]:
    """Addresses of a string of bytes in ``[start, end)``, as far as the kernel image can be read.

    There are holes in it: what the kernel freed after boot, and what the dump left out.
    """
    overlap = len(needle) - 1
    tail = b""
    unreadable = 0
    for address in range(start, end, _WINDOW):
        window = _read_with_holes(prog, address, _WINDOW)
        unreadable = 0 if window else unreadable + 1
        if unreadable > _MAX_HOLE:
            return
        data = tail + (window or bytes(_WINDOW))
        at = data.find(needle)
        while at >= 0:
            yield address - len(tail) + at
            at = data.find(needle, at + 1)
        tail = data[-overlap:]


def _read_with_holes(prog: drgn.Program, address: int, size: int) -> bytes:
    """Memory, with zeros for pages that can't be read; nothing if none can."""
    whole = _read(prog, address, size)
    if whole:
        return whole
    pages = [_read(prog, page, _PAGE) for page in range(address, address + size, _PAGE)]
    return b"".join(page or bytes(_PAGE) for page in pages) if any(pages) else b""


def _read(prog: drgn.Program, address: int, size: int) -> bytes:
    """Memory, nothing if it can't be read."""
    try:
        data: bytes = prog.read(address, size)
    except drgn.FaultError:
        return b""
    return data


def _read_up_to(prog: drgn.Program, address: int, size: int) -> bytes:
    """Memory of at most this size, cut at the first page that can't be read."""
    data = b""
    while len(data) < size:
        part = _read(prog, address + len(data), min(size - len(data), _PAGE - (address + len(data)) % _PAGE))
        if not part:
            break
        data += part
    return data


def byteorder_of(prog: drgn.Program) -> Literal["little", "big"]:
    """The byte order of the kernel's words."""
    platform = prog.platform
    little = platform is None or drgn.PlatformFlags.IS_LITTLE_ENDIAN in platform.flags
    return "little" if little else "big"


def _order(prog: drgn.Program) -> str:
    return "<" if byteorder_of(prog) == "little" else ">"


def _words(prog: drgn.Program, code: str, data: bytes) -> array[int]:
    words: array[int] = array(code, data)
    if byteorder_of(prog) != sys.byteorder:
        words.byteswap()
    return words


def _check(kallsyms: Kallsyms, info: VmcoreInfo) -> Kallsyms:
    kallsyms.choose_encoding({name: info.symbols[name] for name in CHECKED if name in info.symbols})
    return kallsyms


def _find_index(prog: drgn.Program, kallsyms: Kallsyms, token_table: int, end_of_offsets: int) -> None:
    """Let the kernel's index by name serve, if it has one.

    It lies behind the offsets and the relative base, or behind the marks, before the token table; only its
    contents tell.
    """
    size = 3 * kallsyms.count
    behind_offsets = (_up(end_of_offsets, 8), end_of_offsets)
    before_tokens = (token_table - _up(size, 8), token_table - _up(size, 4))
    any(kallsyms.use_index(_read(prog, address, size)) for address in (*behind_offsets, *before_tokens))


def _up(number: int, alignment: int) -> int:
    return -(-number // alignment) * alignment


def _tables_around(prog: drgn.Program, digits: int) -> Tables | None:
    """The tables whose tokens "0" to "9" stand at this address, or None if it is something else."""
    order = _order(prog)
    before = _read_with_holes(prog, digits - _MAX_TOKEN_TABLE, _MAX_TOKEN_TABLE)
    at = len(before)
    if not at:
        return None
    for _ in range(ord("0") + 1):
        at = before.rfind(b"\0", 0, at)
    token_table = digits - len(before) + at + 1
    data = _read_with_holes(prog, token_table, 2 * _MAX_TOKEN_TABLE)
    starts, end = [], 0
    for _ in range(_TOKENS):
        starts.append(end)
        end = data.find(b"\0", end) + 1
        if not 0 < end < _MAX_TOKEN_TABLE:
            return None
    index = struct.pack(f"{order}{_TOKENS}H", *starts)
    if index not in (data[_up(end, step) : _up(end, step) + len(index)] for step in (4, 8)):
        return None
    found = _names_before(prog, token_table)
    if found is None:
        return None
    names, count, num_syms = found
    offsets = num_syms - 8 - _up(4 * count, 8)
    try:
        return Tables(
            names=names,
            tokens=tokens(data[:end], tuple(starts)),
            offsets=_words(prog, "i", prog.read(offsets, 4 * count)),
            offsets_address=offsets,
            base=prog.read_u64(num_syms - 8),
        )
    except drgn.FaultError:
        return None


def _names_before(prog: drgn.Program, token_table: int) -> tuple[bytes, int, int] | None:
    """The names that end before the marks before a token table, their number, and the address of that number.

    A mark is the place of every 256th name: back from the token table they fall until 0.
    """
    raw = _read_up_to_before(prog, token_table, _MAX_BEFORE)
    marks = _words(prog, "I", raw)
    last = len(marks) - 1
    if last < 1 or (not marks[last] and not marks[last - 1]):
        return None
    last -= not marks[last]
    first = last
    while first and marks[first] and marks[first - 1] < marks[first]:
        first -= 1
    if marks[first]:
        return None
    groups, names_end = last - first + 1, 4 * first
    for start in range((names_end - marks[last]) // 8 * 8, max(8, names_end - marks[last] - _MAX_GROUP), -8):
        count = marks[(start - 8) // 4]
        second = marks[first + 1] if groups > 1 else None
        if (count + 255) // 256 == groups and _group_ends(raw, start, min(count, 256), second):
            return raw[start:names_end], count, token_table - len(raw) + start - 8
    return None


def _group_ends(raw: bytes, start: int, names: int, end: int | None) -> bool:
    """Whether so many names from here on end where the second mark says, if there is one."""
    at = start
    for _ in range(names):
        if at + 1 >= len(raw):
            return False
        at += raw[at] + 1 if raw[at] < 0x80 else (raw[at] & 0x7F | raw[at + 1] << 7) + 2
    return end in (None, at - start)


def _read_up_to_before(prog: drgn.Program, end: int, size: int) -> bytes:
    """Memory that ends at an address: as much of the size as can be read."""
    parts: list[bytes] = []
    at = end
    for step in (_WINDOW, _PAGE):
        while at - step >= end - size and (part := _read(prog, at - step, step)):
            parts.append(part)
            at -= step
    return b"".join(reversed(parts))
