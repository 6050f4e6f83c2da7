# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots as files: the format read back, damage refused, files created safely."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import stat

import drgn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sockcrash.errors import TargetError, UsageError
from sockcrash.memory import Ranges
from sockcrash.snapshot.files import read_content, write_content
from sockcrash.snapshot.format import Snapshot, parse, serialize

INFO = b"OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82610000\nKERNELOFFSET=0\n"
BASE = 0xFFFF888000000000


def made(pieces, btf=None):
    types = btf or {"vmlinux": b"\x9f\xeb" * 9, "tls": b"x"}
    return Snapshot(INFO, {"sockets": [], "symbols": []}, types, Ranges(pieces))


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=300)), max_size=12))
def test_what_is_written_is_read_back(pieces):
    snapshot = made([(BASE + offset, data) for offset, data in pieces])
    again = parse(serialize(snapshot))
    assert again.vmcoreinfo == snapshot.vmcoreinfo
    assert again.meta == {"sockets": [], "symbols": []}
    assert again.btf == snapshot.btf
    assert list(again.ranges) == list(snapshot.ranges)


def test_drgn_reads_the_file(tmp_path):
    path = tmp_path / "core"
    path.write_bytes(serialize(made([(BASE + 100, b"sockets!"), (BASE + 9000, b"more")])))
    prog = drgn.Program()
    prog.set_core_dump(path)
    assert prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL
    assert prog.read(BASE + 100, 8) == b"sockets!"
    assert prog.read(BASE + 8998, 6) == b"\0\0more"
    with pytest.raises(drgn.FaultError):
        prog.read(BASE + 5000, 1)


def test_more_segments_than_a_header_counts(tmp_path):
    count = 70_000
    content = serialize(made([(BASE + 2 * 4096 * i, b"!") for i in range(count)]))
    path = tmp_path / "core"
    path.write_bytes(content)
    prog = drgn.Program()
    prog.set_core_dump(path)
    assert prog.read(BASE + 2 * 4096 * (count - 1), 1) == b"!"
    assert len(list(parse(content).ranges)) == count


def test_a_cut_file_says_how_much_is_missing():
    content = serialize(made([(BASE, b"abc" * 50), (BASE + (1 << 20), b"x" * 3000)]))
    with pytest.raises(TargetError, match=r"cut short: 3100 bytes are missing"):
        parse(content[:-3100])


@settings(max_examples=300)
@given(st.data())
def test_damage_is_an_error_and_nothing_else(data):
    content = bytearray(serialize(made([(BASE, b"abc" * 50)])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(TargetError):
        parse(cut)


@pytest.mark.parametrize("name", ["core", "core.xz", "core.gz"])
def test_compression_goes_by_ending_and_comes_back_by_content(tmp_path, name):
    path = tmp_path / name
    write_content(path, b"content" * 99, force=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    raw = path.read_bytes()
    unpacked = {"core": bytes, "core.xz": lzma.decompress, "core.gz": gzip.decompress}[name](raw)
    assert unpacked == b"content" * 99
    other = path.rename(tmp_path / "renamed")
    assert read_content(other) == b"content" * 99


def test_nothing_is_overwritten_and_no_link_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("mine")
    link = tmp_path / "core"
    link.symlink_to(target)
    for path in (target, link, tmp_path):
        with pytest.raises(UsageError):
            write_content(path, b"x", force=False)
    with pytest.raises(UsageError):
        write_content(tmp_path / "nowhere" / "core", b"x", force=False)
    write_content(link, b"x", force=True)
    assert target.read_text() == "mine"
    assert link.read_bytes() == b"x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["core", "precious"]


def test_a_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.xz"
    path.write_bytes(lzma.compress(bytes(64 << 20)))
    with pytest.raises(TargetError, match="unpacks to more"):
        read_content(path, limit=1 << 20)


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_a_cut_or_damaged_packed_file_is_said_to_be_damaged(tmp_path, pack):
    raw = pack(bytes(range(256)) * 999)
    middle = len(raw) // 2
    flipped = raw[:middle] + bytes([raw[middle] ^ 0xFF]) + raw[middle + 1 :]
    for damaged in (raw[: len(raw) // 2], flipped):
        path = tmp_path / "x"
        path.write_bytes(damaged)
        with pytest.raises(TargetError, match="damaged"):
            read_content(path)
