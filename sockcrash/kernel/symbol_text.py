# SPDX-License-Identifier: LGPL-2.1-or-later
"""What does a text of symbols say of a name or an address: /proc/kallsyms, or a System.map file?

Both have lines of address, kind letter and name; /proc/kallsyms adds ``[module]``.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from sockcrash.errors import TargetError
from sockcrash.kernel.kallsyms import Named
from sockcrash.kernel.kallsyms_find import CHECKED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.vmcoreinfo import VmcoreInfo

__all__ = ("SymbolText", "from_proc", "from_system_map")

PROC_KALLSYMS = Path("/proc/kallsyms")
MAX_TEXT = 256 << 20  # bytes; a System.map has 4 to 10 MB
_HEX = re.compile(rb"[0-9a-f]{8,16}")
_SIGN = 1 << 63  # addresses below are not the kernel's own: percpu offsets and other absolute numbers
_MASK = (1 << 64) - 1


class SymbolText:
    """Lookups in one text.

    ``shift`` is added to the kernel's addresses. TargetError if it does not fit ``info``.
    """

    def __init__(self, text: bytes, label: str, info: VmcoreInfo, *, shift: int = 0) -> None:
        self.label = label
        self._shift = shift
        self._lines = text.split(b"\n")
        self._first, self._more = _by_name(self._lines)
        self._sorted: list[tuple[int, int]] | None = None
        known = [name for name in CHECKED if name in info.symbols and self.find(name)]
        if not known:
            raise TargetError(f"{label} has no symbols of the kernel", hint="is it the stub that /boot has?")
        for name in known:
            if info.symbols[name] not in {symbol.address for symbol in self.find(name)}:
                raise TargetError(
                    f"{label} is not of this kernel: it has another address of {name} than VMCOREINFO",
                    hint="give the System.map of exactly this build of the kernel",
                )

    def find(self, name: str) -> list[Named]:
        """Every symbol of this name."""
        wanted = name.encode("utf-8", "replace")
        first = self._first.get(wanted)
        return [] if first is None else [self._symbol(line) for line in (first, *self._more.get(wanted, ()))]

    def at(self, address: int) -> list[Named]:
        """The symbols at the nearest address at or below this one; none if it lies outside the kernel."""
        order = self._by_address()
        after = bisect_right(order, (address, len(self._lines)))
        if not after or after == len(order):
            return []
        first = bisect_left(order, (order[after - 1][0], 0))
        return [self._symbol(line) for _, line in order[first:after]]

    def next_address(self, address: int) -> int:
        """The lowest address of a symbol above this one, or the address itself if it is the last."""
        order = self._by_address()
        after = bisect_right(order, (address, len(self._lines)))
        return order[after][0] if after < len(order) else address

    def all(self) -> Iterator[Named]:
        """All symbols, by address."""
        return (self._symbol(line) for _, line in self._by_address())

    def _symbol(self, line: int) -> Named:
        address, code, name = self._lines[line].split()[:3]
        text = name.decode("utf-8", "backslashreplace")
        return Named(text, self._moved(address), code.decode("ascii", "replace"))

    def _moved(self, digits: bytes) -> int:
        address = int(digits, 16)
        return (address + self._shift) & _MASK if address >= _SIGN else address

    def _by_address(self) -> list[tuple[int, int]]:
        """Address and line of every symbol, sorted."""
        if self._sorted is None:
            numbers = (*self._first.values(), *(line for lines in self._more.values() for line in lines))
            lines = self._lines
            self._sorted = sorted((self._moved(lines[line].split(None, 1)[0]), line) for line in numbers)
        return self._sorted


def _by_name(lines: list[bytes]) -> tuple[dict[bytes, int], dict[bytes, list[int]]]:
    """Name → number of the first line with it, and of further ones. Lines of another form are left out."""
    first: dict[bytes, int] = {}
    more: dict[bytes, list[int]] = {}
    for number, line in enumerate(lines):
        parts = line.split(None, 3)
        if len(parts) < 3 or len(parts[1]) != 1 or not _HEX.fullmatch(parts[0]):
            continue
        if first.setdefault(parts[2], number) != number:
            more.setdefault(parts[2], []).append(number)
    return first, more


def from_proc(info: VmcoreInfo) -> SymbolText:
    """The running kernel's symbols. Raises TargetError if they can't be read or are hidden."""
    try:
        text = PROC_KALLSYMS.read_bytes()
    except OSError as error:
        raise TargetError(f"{PROC_KALLSYMS} can't be read: {error.strerror}", hint="run as root") from error
    if not re.search(rb"^0*[1-9a-f]", text, re.MULTILINE):
        raise TargetError(
            f"{PROC_KALLSYMS} shows no addresses",
            hint="run as root with CAP_SYSLOG; if kernel.kptr_restrict is 2: sysctl kernel.kptr_restrict=1",
        )
    return SymbolText(text, "kallsyms", info)


def from_system_map(path: Path, info: VmcoreInfo) -> SymbolText:
    """The symbols of a System.map file, moved by the kernel's KASLR offset.

    Raises TargetError if it does not fit.
    """
    try:
        if path.stat().st_size > MAX_TEXT:
            raise TargetError(f"{path} is too large for a System.map")
        text = path.read_bytes()
    except OSError as error:
        raise TargetError(f"{path} can't be read: {error.strerror}") from error
    try:
        return SymbolText(text, "system-map", info, shift=info.kaslr_offset)
    except TargetError as error:
        raise TargetError(f"--system-map {path}: {error.message}", hint=error.hint) from error
