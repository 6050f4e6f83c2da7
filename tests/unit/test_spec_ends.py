# SPDX-License-Identifier: LGPL-2.1-or-later
"""SPECs of ends, names and texts: what they mean, and which ends of sockets they match."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockcrash.errors import UsageError
from sockcrash.kernel.sockets import KINDS
from sockcrash.locate.address import Handle
from sockcrash.locate.search import _best as best
from sockcrash.locate.spec import FORMS, Spec, parse_spec
from sockcrash.locate.tuple import UNSPECIFIED, End, Ends, pairs_of, parse_end
from sockcrash.locate.unix_name import spellings, unescaped


def four(text: str) -> bytes:
    return socket.inet_aton(text)


def six(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


HERE, THERE = End(four("127.0.0.1"), 975), End(four("192.168.1.200"), 2049)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("127.0.0.1:975-192.168.1.200:2049", Ends(HERE, THERE)),
        ("127.0.0.1:975", Ends(HERE)),
        (":2049", Ends(End(None, 2049))),
        ("*:2049", Ends(End(None, 2049))),
        ("127.0.0.1:*", Ends(End(four("127.0.0.1"), None))),
        (":22-192.168.1.200:*", Ends(End(None, 22), End(four("192.168.1.200"), None))),
        ("[::1]:80", Ends(End(six("::1"), 80))),
        ("[fe80::1%eth0]:80", Ends(End(six("fe80::1"), 80, "eth0"))),
        ("[fe80::1]%eth0:80", Ends(End(six("fe80::1"), 80, "eth0"))),
        ("127.0.0.53%lo:53", Ends(End(four("127.0.0.53"), 53, "lo"))),
        (
            "[fe80::1%br-lan]:80-[fe80::2]:90",
            Ends(End(six("fe80::1"), 80, "br-lan"), End(six("fe80::2"), 90)),
        ),
        (
            "[::ffff:1.2.3.4]:5-[::ffff:1.2.3.5]:6",
            Ends(End(six("::ffff:1.2.3.4"), 5), End(six("::ffff:1.2.3.5"), 6)),
        ),
        (":ssh", Ends(End(None, 22))),
        ("10.0.0.1:0-10.0.0.2:65535", Ends(End(four("10.0.0.1"), 0), End(four("10.0.0.2"), 65535))),
    ],
)
def test_ends(text: str, ends: Ends) -> None:
    assert parse_spec(f"tcp:{text}") == Spec(f"tcp:{text}", "tcp", ends=ends)


@pytest.mark.parametrize("form", ["tcp", "udp", "udplite", "raw", "mptcp"])
def test_protocols(form: str) -> None:
    assert parse_spec(f"{form}:127.0.0.1:975").form == form


def test_a_port_of_raw_is_a_protocol() -> None:
    assert parse_spec("raw::icmp").ends == Ends(End(None, 1))


@pytest.mark.parametrize(
    "text",
    [
        "tcp:", "tcp:80", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:127.0.0.1:65536", "tcp:127.0.0.1:-1", "tcp:1.2.3:4",
        "tcp:::1:80", "tcp:[::1]", "tcp:[::1:80", "tcp:[1.2.3.4]:80", "tcp:[::g]:80", "tcp:*:*", "tcp::",
        "tcp::no-such-service", "tcp:example.org:80", "tcp:1.2.3.4:5-", "tcp:-1.2.3.4:5", "tcp:1.2.3.4:5-6",
        "tcp:1.2.3.4:5-1.2.3.4:6-1.2.3.4:7", "tcp: 1.2.3.4:5", "tcp:1.2.3.4:5\n", "tcp:1.2.3.4:\u0665",
        "tcp:1.2.3.4:0x50", "sctp:1.2.3.4:5", "unix:", "unix:@", "@",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert caught.value.hint == FORMS


def test_names_and_texts() -> None:
    assert parse_spec("unix:/run/x y.sock").name == "/run/x y.sock"
    assert parse_spec("unix:@abs:tract").name == "@abs:tract"
    assert (parse_spec("-").form, parse_spec("-").name) == ("text", "-")
    assert (parse_spec("@ss.txt").form, parse_spec("@ss.txt").name) == ("text", "ss.txt")
    assert parse_spec("@-").name == "-"


@given(st.sampled_from(["tcp:", "udp:", "unix:", "raw:", "@", ""]), st.text(max_size=60))
def test_any_text_is_a_spec_or_a_usage_error(form: str, text: str) -> None:
    try:
        spec = parse_spec(form + text)
    except UsageError:
        return
    assert spec.text == form + text


PORTS = st.none() | st.integers(0, 65535)
ENDS = st.builds(
    End, st.none() | st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), PORTS
)


@given(ENDS, ENDS)
def test_what_is_written_is_read_again(local: End, peer: End) -> None:
    assert parse_spec(f"tcp:{Ends(local, peer)}").ends == Ends(local, peer)


# ---- matching

PAIR = (HERE.address, 975, THERE.address, 2049)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("127.0.0.1:975-192.168.1.200:2049", True),
        ("192.168.1.200:2049-127.0.0.1:975", False),  # reversed: a matter of the search
        ("127.0.0.1:975", True),
        ("192.168.1.200:2049", True),
        (":2049", True),
        (":975", True),
        (":976", False),
        ("127.0.0.1:2049", False),  # the address of one end with the port of the other
        ("127.0.0.1:*-:2049", True),
        (":2049-:975", False),
    ],
)
def test_matching(text: str, matches: bool) -> None:
    ends = parse_spec(f"tcp:{text}").ends
    assert ends is not None
    assert ends.matches(PAIR) is matches
    reversed_ends = ends.reversed()
    if reversed_ends is not None:
        assert reversed_ends.matches((*PAIR[2:], *PAIR[:2])) is matches


@given(ENDS, ENDS, st.binary(min_size=4, max_size=4), st.integers(0, 65535))
def test_pairs_are_those_that_match(local: End, peer: End, address: bytes, port: int) -> None:
    ends = Ends(local, peer)
    for pair in ends.pairs():
        assert ends.matches(pair)
    other = (address, port, *PAIR[2:])
    if list(ends.pairs()):
        assert ends.matches(other) is (other in list(ends.pairs()))


def test_the_star_of_ss_is_the_unspecified_address_of_either_family() -> None:
    ends = Ends(parse_end("*:80", "tcp", star=UNSPECIFIED), End(UNSPECIFIED, 0))
    assert set(ends.pairs()) == {(bytes(4), 80, bytes(4), 0), (bytes(16), 80, bytes(16), 0)}


def test_a_mapped_socket_answers_to_both() -> None:
    mapped = six("::ffff:127.0.0.1"), 975, six("::ffff:192.168.1.200"), 2049
    assert pairs_of(*mapped) == (mapped, PAIR)
    listener = six("::ffff:127.0.0.1"), 975, bytes(16), 0
    assert pairs_of(*listener) == (listener, (four("127.0.0.1"), 975, bytes(4), 0))
    plain = six("::1"), 975, six("::ffff:192.168.1.200"), 2049
    assert pairs_of(*plain) == (plain,)
    assert pairs_of(*PAIR) == (PAIR,)


# ---- hits


def handle(address: int, kind: str) -> Handle:
    return Handle(address, KINDS[kind], "sk:1")


@pytest.mark.parametrize("mini", ["tcp-request", "tcp-timewait"])
def test_a_cookie_of_two_objects_names_the_full_socket(mini: str) -> None:
    """While a request becomes a socket, or a socket TIME_WAIT, both are in the tables with one cookie."""
    sure = 0
    assert best({sure: [handle(1, mini), handle(2, "tcp")]}) == [handle(2, "tcp")]
    assert best({sure: [handle(1, mini)], 4: [handle(2, "tcp")]}) == [handle(1, mini)]
    assert best({4: [handle(3, "tcp")], 3: [handle(1, mini), handle(2, "tcp")]}) == [
        handle(1, mini),
        handle(2, "tcp"),
    ]
    assert best({}) == []


# ---- names of UNIX sockets


@given(st.binary(min_size=1, max_size=108))
def test_every_spelling_of_a_name_is_text(name: bytes) -> None:
    for text in spellings(name):
        assert text.encode("utf-8", "surrogateescape")


@given(st.text(max_size=60))
def test_unescaping_never_fails(text: str) -> None:
    assert isinstance(unescaped(text), str)


def test_escapes() -> None:
    assert unescaped(r"a\x0ab\\x41\q") == "a\nb\\x41\\q"
    assert spellings(b"\0a\0b") == {"@a\0b", "@a@b"}
    assert spellings(b"/run/\xff") == {"/run/\udcff"}
