# SPDX-License-Identifier: LGPL-2.1-or-later
"""What sockcrash says of a file before drgn opens it."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import struct
import sys
from pathlib import Path

import drgn
import pytest
from hypothesis import given
from hypothesis import strategies as st

import coremaker
from coremaker import core, kdump, note, vmlinux, with_sections
from sockcrash.errors import TargetError
from sockcrash.target import elf
from sockcrash.target.corefile import check_core, looks_like_core
from sockcrash.target.symbolfile import check_symbol_file, explain_unused

FLATTENED = b"makedumpfile\0\0\0\0" + b"\0" * 64


def refusal(path: Path | str, *, vmcoreinfo_given: bool = False) -> str:
    with pytest.raises(TargetError) as caught:
        check_core(str(path), vmcoreinfo_given=vmcoreinfo_given)
    assert str(path) in caught.value.message
    return f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"root:x:0:0:root:/root:/bin/bash\n", "not a vmcore (text)"),
        (b"\x00\x01\x02\x03" * 99, "neither an ELF nor a kdump file"),
        (gzip.compress(core()), "compressed with gzip | decompress it first: gunzip"),
        (b"\xfd7zXZ\0....", "compressed with xz"),
        (b"\x28\xb5\x2f\xfd....", "compressed with zstd"),
        (b"QEVM\0\0\0\3", "saved QEMU machine state"),
        (b"LibvirtQemudSave....", "virsh dump --memory-only"),
        (b"\0" * 0x202 + b"HdrS", "a boot image (vmlinuz)"),
        (b"\x7fELF\2\1\1" + b"\0" * 20, "cut short within its ELF header"),
        (core()[:100], "cut short: the headers reach to byte 176, but it ends at 100; 76 bytes are missing"),
        (core()[:200], "with them VMCOREINFO"),
        (core(note(b"CORE", 6, b"\0" * 32)), "core dump of a process"),
        (core(note(b"CORE", 1, b"\0" * 336) + note(b"QEMU", 0, b"\0" * 440)), "-device vmcoreinfo"),
        (core(b""), "no VMCOREINFO note, so nothing says what kernel it holds | give that kernel's"),
        (core(machine=coremaker.RISCV), "another architecture (riscv)"),
        (core(machine=9999), "another architecture (unknown machine 9999)"),
        (vmlinux(b"\1" * 20), "a kernel image (vmlinux), not a dump | did you mean -s"),
        (
            with_sections(coremaker.ET_REL, None, **{".modinfo": b"license=GPL"}),
            "a kernel module, not a dump",
        ),
        (kdump(split=1), "one part of a split dump | join the parts: makedumpfile --reassemble"),
        (kdump()[:100], "cut short within its headers (100 bytes)"),
        (kdump()[:5000], "cut short within its headers (5000 bytes)"),
        (FLATTENED, "flattened dump that is cut short"),
    ],
)
def test_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert says in refusal(path)


def test_program_is_refused() -> None:
    assert "is a program or library" in refusal(os.path.realpath(sys.executable))


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert "is a pipe" in refusal(tmp_path / "pipe")
        assert "is a socket" in refusal(tmp_path / "socket")
        assert "use --qemu" in refusal(tmp_path / "socket")
    assert "is a directory" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "nothing")
    assert "is a device" in refusal("/dev/zero")
    assert not looks_like_core(str(tmp_path / "pipe"))


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        (core(), None),
        (core(machine=coremaker.AARCH64), None),
        (core(ram=8192)[:-8000], "8000 of"),
        (kdump(pages=4, page_bytes=100), None),
        (kdump(pages=4, page_bytes=100)[:-150], "at least 150 bytes are missing"),
        (kdump(pages=400, page_bytes=100)[: 4096 * 4 + 240], "at least 9360 bytes are missing"),
        (kdump(status=1 | 8), "incomplete, as makedumpfile noted"),
        (FLATTENED + b"\xff" * 16, None),
    ],
)
def test_bearable(tmp_path: Path, content: bytes, lacks: str | None) -> None:
    path = tmp_path / "dump"
    path.write_bytes(content)
    said = check_core(str(path), vmcoreinfo_given=False)
    assert said is None if lacks is None else lacks in str(said)
    assert looks_like_core(str(path))


def test_given_vmcoreinfo_serves(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(core(note(b"QEMU", 0, b"\0" * 440)))
    assert check_core(str(path), vmcoreinfo_given=True) is None


@pytest.mark.parametrize("content", [b"", b"text", vmlinux(None), core(kind=coremaker.ET_EXEC), b"\x7fELF"])
def test_other_files_do_not_look_like_cores(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert not looks_like_core(str(tmp_path / "file"))


def test_words_that_are_no_paths_do_not_look_like_cores() -> None:
    assert not looks_like_core("ffff8802305a0800")
    assert not looks_like_core("tcp:127.0.0.1:80")
    assert not looks_like_core("\0")
    assert not looks_like_core("x" * 5000)


def test_many_segments_are_counted_in_the_first_section(tmp_path: Path) -> None:
    """elf(5), PN_XNUM: e_phnum 0xffff means that sh_info of section 0 has the number."""
    data = bytearray(core())
    struct.pack_into("<H", data, 56, 0xFFFF)
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<HH", data, 58, 64, 1)
    data += b"\0" * 44 + struct.pack("<I", 2) + b"\0" * 16
    path = tmp_path / "dump"
    path.write_bytes(data)
    assert check_core(str(path), vmcoreinfo_given=False) is None
    struct.pack_into("<I", data, len(data) - 20, 0x7FFFFFFF)
    path.write_bytes(data)
    assert "cut short: the headers reach" in refusal(path)


def test_sparse_file_with_absurd_headers(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    data = bytearray(core()[:64])
    struct.pack_into("<HH", data, 54, 0xFFFF, 0xFFFE)
    path.write_bytes(data)
    os.truncate(path, 1 << 40)
    assert "is damaged" in refusal(path)


@given(at=st.integers(0, 175), byte=st.integers(0, 255))
def test_damaged_headers_give_an_answer_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    data = bytearray(core())
    data[at] = byte
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    with contextlib.suppress(TargetError):
        check_core(str(path), vmcoreinfo_given=False)


def test_build_id_is_the_one_that_drgn_reads() -> None:
    interpreter = os.path.realpath(sys.executable)
    with Path(interpreter).open("rb") as file:
        header = elf.read_header(file)
        assert header
        own = elf.build_id(file, header)
    module = drgn.Program().extra_module(interpreter, create=True)
    module.try_file(interpreter)
    assert own == module.build_id


def test_sections_of_a_file_without_segments() -> None:
    file = io.BytesIO(vmlinux(b"\7" * 20))
    header = elf.read_header(file)
    assert header
    assert {".init.text", "__ksymtab", ".rodata", ".shstrtab"} <= {
        part.name for part in elf.sections(file, header)
    }
    assert elf.build_id(file, header) == b"\7" * 20


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (core(), "this is a core dump | did you mean -c"),
        (kdump(), "this is a core dump | did you mean -c"),
        (b"", "this is an empty file"),
        (b"ffffffff81000000 T _text\n", "this is a text file | did you mean --system-map"),
        (b"int main(void)\n", "this is a text file | give a vmlinux"),
    ],
)
def test_no_symbol_file(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TargetError) as caught:
        check_symbol_file(str(path))
    assert says in f"{caught.value.message} | {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            vmlinux(b"\1" * 20),
            f"of another build: build id {'01' * 20} (6.1.0-98-amd64), the kernel is build id 0a0a",
        ),
        (vmlinux(None), "of another build: without build id (6.1.0-98-amd64)"),
        (vmlinux(b"\x0a" * 20), "but without debug information (.debug_info)"),
        (vmlinux(b"\1" * 20)[:-10], "the file is cut short"),
        (with_sections(coremaker.ET_REL, None, **{".modinfo": b"x"}), "a module that is not loaded there"),
        (with_sections(coremaker.ET_EXEC, None, **{".text": b"x"}), "another program"),
        (b"\0" * 0x202 + b"HdrS", "a boot image (vmlinuz)"),
        (b"\xfd7zXZ\0....", "compressed with xz"),
    ],
)
def test_unused_symbol_file(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert says in explain_unused(str(path), b"\x0a" * 20, "6.1.0-99-amd64").message
