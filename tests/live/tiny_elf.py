# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of a few machine instructions: 32-bit calls without a 32-bit compiler, a loop that does nothing else."""

from __future__ import annotations

import struct

__all__ = ("loop64", "program32")

_BASE = 0x400000
_HEAD32, _HEAD64 = 52 + 32, 64 + 56
_SOCKET32, _SETSOCKOPT32, _SOCKETCALL, _EXIT32 = 359, 366, 102, 1
_PAGE = 4096
_OF_SOCKETCALL = 14  # SYS_SETSOCKOPT


def program32(calls: list[tuple[int, int, bytes]], *, socketcall: bool) -> bytes:
    """An i386 executable: a TCP socket, and setsockopt(level, number, value) on it; the last through socketcall(2)."""
    code_size = 64 + 32 * len(calls) + 64
    data = b""
    code = _mov("eax", _SOCKET32) + _mov("ebx", 2) + _mov("ecx", 1) + b"\x31\xd2\xcd\x80\x89\xc5"
    start = _BASE + _HEAD32 + code_size
    for number, (level, option, value) in enumerate(calls):
        at = start + len(data)
        data += value.ljust(-(-len(value) // 8) * 8, b"\0")
        if socketcall and number == len(calls) - 1:
            arguments = start + len(data)
            data += struct.pack("<5I", 0, level, option, at, len(value))
            code += b"\x89\x2d" + struct.pack("<I", arguments)  # mov [arguments], ebp
            code += (
                _mov("eax", _SOCKETCALL) + _mov("ebx", _OF_SOCKETCALL) + _mov("ecx", arguments) + b"\xcd\x80"
            )
        else:
            code += _mov("eax", _SETSOCKOPT32) + b"\x89\xeb" + _mov("ecx", level) + _mov("edx", option)
            code += _mov("esi", at) + _mov("edi", len(value)) + b"\xcd\x80"
    code += _mov("eax", _EXIT32) + b"\x31\xdb\xcd\x80"
    assert len(code) <= code_size
    content = code.ljust(code_size, b"\x90") + data
    size = _HEAD32 + len(content)
    head = b"\x7fELF\1\1\1" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, _BASE + _HEAD32, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    head += struct.pack("<8I", 1, 0, _BASE, _BASE, size, size, 7, 4096)
    return head + content


def _mov(register: str, value: int) -> bytes:
    codes = {"eax": 0xB8, "ecx": 0xB9, "edx": 0xBA, "ebx": 0xBB, "esi": 0xBE, "edi": 0xBF}
    return struct.pack("<BI", codes[register], value)


def loop64(times: int, rounds: int) -> bytes:
    """An x86-64 executable that sets TCP_NODELAY on one socket ``times`` times and does nothing else.

    That ``rounds`` times; then it writes two struct timespec of CLOCK_MONOTONIC: just before, just after, of each.
    """
    stamps = _BASE + _PAGE
    code = bytes.fromhex(
        "b829000000bf02000000be0100000031d20f05"  # socket(AF_INET, SOCK_STREAM, 0)
        "4189c4"  # mov r12d, eax
        "4883ec306a01"  # sub rsp, 48; push 1
        "4989e6"  # mov r14, rsp
    )
    code += b"\xbb" + struct.pack("<I", stamps)  # mov ebx, stamps
    code += b"\x41\xbf" + struct.pack("<I", rounds)  # mov r15d, rounds
    begin = len(code)
    code += b"\x41\xbd" + struct.pack("<I", times)  # mov r13d, times
    code += bytes.fromhex("b8e4000000bf010000004889de0f05")  # clock_gettime(CLOCK_MONOTONIC, rbx)
    loop = bytes.fromhex(
        "4489e7be06000000ba010000004d89f241b804000000"  # fd, IPPROTO_TCP, TCP_NODELAY, &1, 4
        "b8360000000f05"  # setsockopt
        "41ffcd"  # dec r13d
    )
    code += loop + b"\x75" + struct.pack("<b", -(len(loop) + 2))  # jnz
    code += bytes.fromhex(
        "b8e4000000bf01000000488d73100f05"  # clock_gettime(CLOCK_MONOTONIC, rbx + 16)
        "4883c32041ffcf"  # add rbx, 32; dec r15d
    )
    code += b"\x0f\x85" + struct.pack("<i", begin - len(code) - 6)  # jnz
    code += b"\xbe" + struct.pack("<I", stamps) + b"\xba" + struct.pack("<I", 32 * rounds)
    code += bytes.fromhex(
        "b801000000bf010000000f05"  # write(1, stamps, 32 * rounds)
        "b83c00000031ff0f05"  # exit(0)
    )
    size = _HEAD64 + len(code)
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEAD64, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head += struct.pack("<IIQQQQQQ", 1, 7, 0, _BASE, _BASE, size, _PAGE + 32 * rounds, _PAGE)
    return head + code
