# SPDX-License-Identifier: LGPL-2.1-or-later
"""The glossary against the kernels' own debug information: functions stand in the files that it names, flags exist."""

from __future__ import annotations

import contextlib
import os
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from harness import SERIES, Dump, dump_directory
from sockcrash.glossary import entries, section_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drgn import Program, Type

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        "SOCKCRASH_TEST_SERIES" in os.environ, reason="old and new kernels are needed together"
    ),
]

# Modules of these kernels, of which no debug information is loaded here.
OF_MODULES = (
    "net/ax25/", "net/ipv4/inet_diag.c", "net/ipv4/tcp_bbr", "net/ipv4/tcp_dctcp", "net/ipv4/tcp_diag.c",
    "net/ipv4/udp_tunnel_core.c", "net/sched/", "net/tls/", "net/vmw_vsock/",
)  # fmt: skip
# Macros, which debug information doesn't have.
MACROS = (
    "ICSK_TIME_",
    "RCV_SHUTDOWN",
    "SEND_SHUTDOWN",
    "SOCK_BIND",
    "_LOCK",
    "TCP_ECN_",
    "TCP_NAGLE_",
    "TCP_URG_",
)


@cache
def programs() -> tuple[Program, ...]:
    """Every kernel, the newest first."""
    return tuple(Dump(series, dump_directory(series)).prog for series in reversed(SERIES))


def anywhere(look: Callable[[Program], object]) -> bool:
    """Whether some kernel has what is looked for."""
    for prog in programs():
        with contextlib.suppress(LookupError):
            look(prog)
            return True
    return False


def functions() -> Iterator[tuple[str, str]]:
    """Function and file of all that the glossary says the kernel writes by."""
    found = {(name, file) for entry in entries() for file, names in entry.written for name in names}
    yield from (pair for pair in sorted(found) if not pair[1].startswith(OF_MODULES))


def test_functions_stand_in_the_files_that_are_named() -> None:
    named = list(functions())

    assert len(named) > 400
    assert [pair for pair in named if not anywhere(lambda prog, pair=pair: prog.function(*pair))] == []


def test_a_wrong_file_is_noticed() -> None:
    assert not anywhere(lambda prog: prog.function("tcp_ack", "net/ipv4/tcp_output.c"))


def test_flags_are_enumerators_of_some_kernel() -> None:
    names = [entry.name for entry in entries() if entry.sort == "flag"]
    enumerators = [name for name in names if not any(macro in name for macro in MACROS)]

    assert len(enumerators) > 40
    assert [name for name in enumerators if not anywhere(lambda prog, name=name: prog.constant(name))] == []


def test_values_that_the_text_gives_are_those_of_the_kernel() -> None:
    """``Bit 4: ...`` and ``Value 2: ...`` of a flag: its number, or of numbered bits its place."""
    said = {
        entry.name: int(words[1].rstrip(":,"))
        for entry in entries()
        if entry.sort == "flag" and (words := entry.means.split())[0] in ("Bit", "Value")
    }
    checked = []
    for name, number in said.items():
        for prog in programs():
            with contextlib.suppress(LookupError):
                assert prog.constant(name).value_() == number, name
                checked.append(name)

    assert {"ICSK_ACK_PUSHED2", "TSQ_QUEUED", "TCP_CHRONO_SNDBUF_LIMITED", "SK_PACING_FQ"} <= set(checked)


def test_congestion_controls_have_these_members() -> None:
    """Cubic is a part of all kernels here; what is converted is not looked for."""
    members = {name for prog in programs() for name in leaves(prog.type("struct bictcp", "tcp_cubic.c"))}

    assert {entry.name for entry in section_entries("member", "cc-cubic")} == members


def leaves(type_: Type) -> set[str]:
    """Names of the members of a struct without structs in it."""
    return {member.name for member in type_.members or () if member.name}


@pytest.mark.parametrize("series", SERIES)
def test_every_value_of_every_socket_has_its_meaning(series: str) -> None:
    """Of all families, as this kernel's records have them."""
    ended = Dump(series, dump_directory(series)).inspect("--all", "--explain")
    values = [line for line in ended.out.splitlines() if re.match(r"    [\w.\[\]-]+ +\S", line)]

    assert len(values) > 10_000
    assert {line.split()[0] for line in values if not line.endswith((".", ")"))} == set()
