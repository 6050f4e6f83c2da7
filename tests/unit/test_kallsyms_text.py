# SPDX-License-Identifier: LGPL-2.1-or-later
"""/proc/kallsyms and System.map as sources of symbols."""

from __future__ import annotations

import pytest

from sockcrash.errors import TargetError
from sockcrash.kernel import symbol_text, vmcoreinfo
from sockcrash.kernel.kallsyms import Named

MAP = b"""\
0000000000000000 D fixed_percpu_data
0000000000031000 D runqueues
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t twin
ffffffff81000180 d twin
ffffffff81000200 D init_uts_ns
ffffffff81000300 B _end
"""
LINKED = vmcoreinfo.parse("SYMBOL(_stext)=ffffffff81000000\nSYMBOL(init_uts_ns)=ffffffff81000200\n")
MOVED = vmcoreinfo.parse(
    "SYMBOL(_stext)=ffffffff91000000\nSYMBOL(init_uts_ns)=ffffffff91000200\nKERNELOFFSET=10000000\n"
)


def system_map(tmp_path, text=MAP, info=LINKED):
    path = tmp_path / "System.map"
    path.write_bytes(text)
    return symbol_text.from_system_map(path, info)


def test_names_and_addresses(tmp_path):
    symbols = system_map(tmp_path)
    assert symbols.label == "system-map"
    assert symbols.find("twin") == [
        Named("twin", 0xFFFFFFFF81000100, "t"),
        Named("twin", 0xFFFFFFFF81000180, "d"),
    ]
    assert symbols.find("twi") == symbols.find("") == symbols.find("T") == []
    assert {symbol.name for symbol in symbols.at(0xFFFFFFFF81000010)} == {"_stext", "_text"}
    assert symbols.next_address(0xFFFFFFFF81000000) == 0xFFFFFFFF81000100
    assert symbols.at(0xFFFFFFFF81000300) == []
    assert len(list(symbols.all())) == 8


def test_kaslr_moves_the_kernel_but_not_percpu_offsets(tmp_path):
    symbols = system_map(tmp_path, info=MOVED)
    assert symbols.find("init_uts_ns")[0].address == 0xFFFFFFFF91000200
    assert symbols.find("runqueues")[0].address == 0x31000
    assert [symbol.name for symbol in symbols.at(0xFFFFFFFF91000110)] == ["twin"]


def test_the_map_of_another_kernel_is_refused(tmp_path):
    with pytest.raises(TargetError, match="another address of init_uts_ns"):
        system_map(tmp_path, MAP.replace(b"81000200", b"81000210"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 5000,
        b"ffffffff B The real System.map is in the linux-image-<version>-dbg package\n",
        MAP.replace(b"ffffffff", b"zzzzzzzz"),
    ],
)
def test_a_file_without_symbols_is_refused(tmp_path, text):
    with pytest.raises(TargetError, match="has no symbols of the kernel"):
        system_map(tmp_path, text)


def test_a_missing_file(tmp_path):
    with pytest.raises(TargetError, match="can't be read"):
        symbol_text.from_system_map(tmp_path / "no", LINKED)


def test_proc_kallsyms_has_modules_too(tmp_path, monkeypatch):
    path = tmp_path / "kallsyms"
    path.write_bytes(MAP + b"ffffffffc0300000 t bbr_main\t[tcp_bbr]\n")
    monkeypatch.setattr(symbol_text, "PROC_KALLSYMS", path)
    symbols = symbol_text.from_proc(LINKED)
    assert symbols.label == "kallsyms"
    assert symbols.find("bbr_main") == [Named("bbr_main", 0xFFFFFFFFC0300000, "t")]


def test_hidden_addresses_are_not_taken_for_symbols(tmp_path, monkeypatch):
    path = tmp_path / "kallsyms"
    path.write_bytes(b"0000000000000000 T _stext\n0000000000000000 D init_uts_ns\n")
    monkeypatch.setattr(symbol_text, "PROC_KALLSYMS", path)
    with pytest.raises(TargetError, match="shows no addresses") as caught:
        symbol_text.from_proc(LINKED)
    assert "kptr_restrict" in caught.value.hint
