# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel image made up for a test: its ``kallsyms_*`` tables in the order that a kernel of some age has them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from drgn import Architecture, Platform, PlatformFlags, Program

X86_64 = Platform(Architecture.X86_64, PlatformFlags.IS_64_BIT | PlatformFlags.IS_LITTLE_ENDIAN)
IMAGE = 0xFFFFFFFF_81000000
# The tables in the order in which kernels of these ages have them.
ORDERS = {
    "5.10": "offsets base count names marks tokens index",
    "6.1": "offsets base count names marks seqs tokens index",
    "6.12": "count names marks tokens index offsets base seqs",
    "7.2": "count names marks tokens index offsets seqs",
}
TOKENS = {1: "init", 2: "tcp_", 3: "_ops", 4: "sock"}


@dataclass
class Image:
    """Bytes from ``IMAGE`` on, where each table lies in them, and what VMCOREINFO says."""

    data: bytearray
    places: dict[str, int]
    vmcoreinfo: str

    def program(self) -> Program:
        """A Program of that memory."""
        prog = Program(X86_64)
        prog.set_linux_kernel_custom(self.vmcoreinfo, False)
        data = self.data
        prog.add_memory_segment(
            IMAGE, len(data), lambda _address, count, offset, _physical: bytes(data[offset : offset + count])
        )
        return prog


def sample(count: int = 600) -> list[tuple[int, str, str]]:
    """Address, kind and name of symbols: some percpu ones, some of the same name, one at the address of another."""
    symbols = [(0, "A", "fixed_percpu_data"), (0x31000, "A", "runqueues"), (IMAGE, "T", "_stext")]
    symbols += [(IMAGE + 0x100 + 16 * i, "Tt"[i % 2], f"tcp_function_{i}") for i in range(count)]
    after = IMAGE + 0x100 + 16 * count
    symbols += [(after, "t", "sock_twin"), (after + 16, "d", "sock_twin"), (after + 16, "D", "alias")]
    symbols += [(after + 32, "D", "init_uts_ns"), (after + 48, "d", "x" * 200), (after + 64, "B", "_end")]
    return symbols


def make_image(age: str, symbols: list[tuple[int, str, str]] | None = None) -> Image:
    """An image as a kernel of that age has it. Before 6.15 percpu variables are absolute, later there are none."""
    symbols = symbols or sample()
    if age == "7.2":
        symbols = [symbol for symbol in symbols if symbol[0] >= IMAGE]
    names, marks = _names(symbols)
    parts = {
        "count": struct.pack("<I", len(symbols)),
        "names": names,
        "marks": struct.pack(f"<{len(marks)}I", *marks),
        "base": struct.pack("<Q", IMAGE),
        "offsets": bytes(4 * len(symbols)),
        "seqs": b"".join(
            i.to_bytes(3, "big") for i in sorted(range(len(symbols)), key=lambda i: symbols[i][2])
        ),
    }
    parts["tokens"], parts["index"] = _tokens()
    data = bytearray(b"\x90" * 0x5000)
    places = {}
    for part in ORDERS[age].split():
        data += bytes(-len(data) % (4 if age == "7.2" else 8))
        places[part] = IMAGE + len(data)
        data += parts[part]
    data += bytes(-len(data) % 4096 + 4096)
    at = places["offsets"] - IMAGE
    offsets = [_offset(age, address, places["offsets"] + 4 * i) for i, (address, _, _) in enumerate(symbols)]
    data[at : at + 4 * len(offsets)] = struct.pack(f"<{len(offsets)}i", *offsets)
    return Image(data, places, _vmcoreinfo(age, places, symbols))


def _offset(age: str, address: int, place: int) -> int:
    if age == "7.2":
        return address - place
    return address if address < IMAGE else IMAGE - 1 - address


def _vmcoreinfo(age: str, places: dict[str, int], symbols: list[tuple[int, str, str]]) -> str:
    lines = ["OSRELEASE=6.1.0-test", "PAGESIZE=4096", "KERNELOFFSET=0", f"SYMBOL(swapper_pg_dir)={IMAGE:x}"]
    lines += [
        f"SYMBOL({name})={address:x}" for address, _, name in symbols if name in ("_stext", "init_uts_ns")
    ]
    if age != "5.10":
        known = {"names": "names", "count": "num_syms", "tokens": "token_table", "index": "token_index"}
        known |= {"offsets": "offsets", "base": "relative_base"}
        lines += [
            f"SYMBOL(kallsyms_{known[part]})={place:x}" for part, place in places.items() if part in known
        ]
    return "".join(f"{line}\n" for line in lines)


def _tokens() -> tuple[bytes, bytes]:
    table, index = b"", []
    for code in range(256):
        index.append(len(table))
        text = TOKENS.get(
            code, chr(code) if (chr(code).isalnum() and code < 128) or chr(code) in "_.$" else ""
        )
        table += text.encode() + b"\0"
    return table, struct.pack("<256H", *index)


def _names(symbols: list[tuple[int, str, str]]) -> tuple[bytes, list[int]]:
    names, marks = b"", []
    for number, (_, code, name) in enumerate(symbols):
        if number % 256 == 0:
            marks.append(len(names))
        packed = (code + name).encode()
        for token, text in TOKENS.items():
            packed = packed.replace(text.encode(), bytes([token]))
        length = len(packed)
        names += bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])
        names += packed
    return names, marks
