# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of socket options: its numbers against the system's headers, its rows against each other."""

from __future__ import annotations

import importlib.util
import itertools
import re
import socket
from pathlib import Path
from types import ModuleType

import pytest

from sockcrash.decode.chosen import checked_level
from sockcrash.kernel import uapi
from sockcrash.kernel.options import LEVELS, ROWS, SMC, STREAM, answers, option_group
from sockcrash.kernel.options.row import EVERY_KIND, Option
from sockcrash.kernel.sockets import KINDS

PROJECT = Path(__file__).resolve().parents[2]
HEADERS = ("asm-generic/socket.h", "linux/tcp.h", "linux/in.h", "linux/in6.h", "linux/udp.h", "linux/if_packet.h",
           "linux/netlink.h", "linux/vm_sockets.h", "linux/if_xdp.h", "linux/tls.h", "linux/mptcp.h", "linux/icmp.h",
           "linux/icmpv6.h", "linux/mroute.h", "linux/mroute6.h")  # fmt: skip
# Names that sockcrash writes as the kernel does, where headers know only the name that fits the machine.
OLD = re.compile(r"_OLD$")
FAMILIES = (uapi.AF_INET, uapi.AF_INET6)


def defined() -> dict[str, int]:
    """Every ``#define NAME number`` of the headers that this machine has."""
    found: dict[str, int] = {}
    for name in HEADERS:
        path = Path("/usr/include", name)
        if path.is_file():
            for word, number in re.findall(r"^#\s*define\s+(\w+)\s+(\d+)\b", path.read_text(), re.MULTILINE):
                found.setdefault(word, int(number))
    return found


def known_numbers() -> dict[str, int]:
    """Numbers of options as Python and the system's headers have them."""
    python = {
        name: value for name, value in vars(socket).items() if name.isupper() and isinstance(value, int)
    }
    return {**defined(), **python}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.level}.{row.name}")
def test_numbers_are_those_of_the_headers(row: Option) -> None:
    known = known_numbers()
    names = {row.name, OLD.sub("", row.name)}

    for name in names & known.keys():
        assert row.number == known[name]


def test_the_headers_were_a_test_of_most_rows() -> None:
    known = known_numbers()
    named = {row.name for row in ROWS if {row.name, OLD.sub("", row.name)} & known.keys()}

    assert len(named) > len({row.name for row in ROWS}) * (0.8 if defined() else 0.3)


def test_levels_are_those_of_the_headers() -> None:
    known = known_numbers()

    assert {name: known[name] for name in LEVELS if name in known} == {
        name: number for name, number in LEVELS.items() if name in known
    }


@pytest.mark.parametrize("name", ["SOL_TCP", "sol_tcp", "TCP", "IPPROTO_TCP"])
def test_names_of_a_level(name: str) -> None:
    assert socket.SOL_TCP == socket.IPPROTO_TCP
    assert checked_level(name) == "IPPROTO_TCP"


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_no_option_has_two_rows_for_one_socket(kind: str) -> None:
    for family, variant in itertools.product((*FAMILIES, uapi.AF_UNIX), ("", "tls", STREAM, SMC)):
        rows = [row for row in ROWS if kind in row.kinds and answers(row, kind, family, variant)]
        names = [(row.level, row.name) for row in rows]
        assert len(set(names)) == len(names)
        returned = [(row.level, row.number) for row in rows if row.raw is None]
        assert len(set(returned)) == len(returned)


def test_rows_read_only_structs_that_their_sockets_have() -> None:
    """A field of a struct that a kind does not begin with would be read from its neighbour in memory."""
    inet = {"struct sock", "struct inet_sock"}
    connection = {*inet, "struct inet_connection_sock"}
    begins = {
        "tcp": {*connection, "struct tcp_sock"},
        "mptcp": {*connection, "struct mptcp_sock"},
        "udp": {*inet, "struct udp_sock"},
        "udplite": {*inet, "struct udp_sock"},
        "raw": {*inet, "struct raw_sock", "struct raw6_sock"},
        "ping": inet,
        "inet": inet,
        **{
            kind: {"struct sock", f"struct {kind}_sock"}
            for kind in ("unix", "packet", "netlink", "vsock", "xdp")
        },
        "other": {"struct sock"},
    }

    for kind, structs in begins.items():
        assert {one.ctype for one in option_group(kind).fields} <= structs
    assert begins.keys() == {kind for kind, one in KINDS.items() if one.full}


def test_every_option_of_raw6_is_for_ipv6_only() -> None:
    for row in ROWS:
        if any(one.ctype == "struct raw6_sock" for one in row.fields):
            assert row.families == (uapi.AF_INET6,)


def test_set_only_options_are_never_said_to_be_returned() -> None:
    """Of reference getsockopt(2) these have no case."""
    refused = {"SO_ATTACH_BPF", "SO_BUSY_POLL_BUDGET", "IP_ADD_MEMBERSHIP", "IPV6_ADD_MEMBERSHIP", "TCP_MD5SIG",
               "PACKET_RX_RING", "PACKET_TX_RING", "XDP_UMEM_REG", "IP_XFRM_POLICY", "IPV6_PKTINFO"}  # fmt: skip

    assert {row.name for row in ROWS if row.name in refused and row.raw is not None} == refused


def script(name: str) -> ModuleType:
    """A script of the project as a module."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_options_is_current() -> None:
    assert (PROJECT / "docs/options.md").read_text() == script("options_doc").page()
