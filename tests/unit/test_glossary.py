# SPDX-License-Identifier: LGPL-2.1-or-later
"""The glossary: every name has an entry, every entry is about something, says more than its name and has a source."""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Iterator
from functools import cache

import pytest

from sockcrash.glossary import SORTS, Entry, entries, meaning, plain
from sockcrash.glossary.find import find, near, search
from sockcrash.kernel import uapi
from sockcrash.kernel.options import LEVELS, ROWS
from sockcrash.kernel.sockets import KINDS
from sockcrash.model import Reason

SCHEMA = json.loads((importlib.resources.files("sockcrash") / "schema.json").read_text())["$defs"]
SECTIONS = (
    "sock",
    "tcp",
    "timewait",
    "request",
    "mptcp",
    "udp",
    "raw",
    "unix",
    "packet",
    "netlink",
    "vsock",
    "xdp",
)
# Rows that only decoding uses: they are shown under other names, in parts of a record with entries of their own.
ROWS_OF = {"identity": "record", "full": "record", "tcp_timers": "tcp"}
ENTRIES = entries()


def shown_members() -> Iterator[tuple[str, str]]:
    """Section and name of all that a record shows: the JSON Schema, which a test of its own holds to the rows."""
    for section in SECTIONS:
        yield from ((section, name) for name in SCHEMA[section]["properties"])
    yield from (
        ("record", name)
        for name in SCHEMA["socket"]["properties"]
        if name not in {*SECTIONS, "schema", "minisock"}
    )
    for kind in KINDS.values():
        for group in kind.groups:
            if group.name in ROWS_OF:
                yield from ((ROWS_OF[group.name], field.name) for field in group.fields)


MEMBERS = sorted(set(shown_members()))
OPTIONS = sorted({(row.level, row.name) for row in ROWS})
# of netlink sockets, decode/netlink.py
STATES = (*uapi.TCP_STATES.values(), *uapi.CA_STATES.values(), "CONNECTED", "UNCONNECTED")
TIMERS = SCHEMA["timer"]["properties"]["name"]["enum"]
# Words of ours: who holds a socket, why a value is absent, why the kernel gives it up, who set an option.
WORDS = {
    "owners": {
        word
        for one in SCHEMA["owner"]["oneOf"]
        for word in one["properties"]["kind"].get("enum", [one["properties"]["kind"].get("const")])
    },
    "absent": {reason.value for reason in Reason},
    "gives_up": set(SCHEMA["gives_up"]["properties"]["because"]["enum"]),
    "options": {"set", "default"},
}


@pytest.mark.parametrize("section", [*SECTIONS, "record"])
def test_every_member_that_a_record_shows_is_explained(section: str) -> None:
    shown = [name for where, name in MEMBERS if where == section]

    assert shown
    assert [name for name in shown if not meaning("member", section, name)] == []


@pytest.mark.parametrize("level", LEVELS)
def test_every_option_is_explained(level: str) -> None:
    names = [name for where, name in OPTIONS if where == level]

    assert names
    assert [name for name in names if not meaning("option", level, name)] == []


def test_every_state_and_timer_is_explained() -> None:
    assert [name for name in STATES if not meaning("state", "", name)] == []
    assert [name for name in TIMERS if not meaning("timer", "", name)] == []


def test_every_word_is_explained() -> None:
    """Some have the name of a timer, which tells what they mean."""
    assert [word for words in WORDS.values() for word in words if not find(word)] == []


def test_every_entry_is_about_something() -> None:
    """No orphan: what it explains is shown, can be asked for, or is a part of a member that is."""
    assert [(entry.what, entry.name) for entry in ENTRIES if not is_about_something(entry)] == []


def is_about_something(entry: Entry) -> bool:
    names = {entry.name, *entry.also}
    if entry.section.startswith("cc-"):
        return True  # compared with the kernels' structs in tests/vmcore
    if entry.sort == "member":
        known = {name for section, name in MEMBERS if section == entry.section} | rows_of(entry.section)
        return names <= known
    if entry.sort == "option":
        return (entry.section, entry.name) in OPTIONS
    if entry.sort == "word":
        return entry.name in WORDS[entry.section]
    if entry.sort == "flag":
        return entry.section in {name for _, name in MEMBERS} | {"TCP_SKB_CB(skb)->sacked"}
    return names <= set(STATES if entry.sort == "state" else TIMERS)


@cache
def rows_of(section: str) -> set[str]:
    """Names of rows, and of what is converted from them."""
    groups = [group for kind in KINDS.values() for group in kind.groups]
    fields = [
        one for group in groups if ROWS_OF.get(group.name, group.name) == section for one in group.fields
    ]
    names = {name for one in fields for name in (one.name, *(convert.name for convert in one.converts))}
    return names | ({"recv_q", "send_q"} if section == "record" else set())


SOURCE = re.compile(
    r"RFC \d{3,4} (section \d+(\.\d+)*$|tcpEStats)|Documentation/[\w/.-]+\.(rst|txt)|man [1-8] [\w.-]+"
    r"|(include|net|drivers|docs|kernel)/[\w/.-]+\.(c|h|md)|draft-[\w-]+"
)


def test_every_entry_names_its_source() -> None:
    """An RFC with its section, a function of the kernel with its file, or a document."""
    assert [entry.name for entry in ENTRIES if not (entry.sources or entry.written)] == []
    assert [source for entry in ENTRIES for source in entry.sources if not SOURCE.match(source)] == []
    for file, functions in (pair for entry in ENTRIES for pair in entry.written):
        assert re.fullmatch(r"(include|net|drivers|kernel|fs)/[\w/-]+\.[ch]", file), file
        assert all(re.fullmatch(r"[a-z_]\w*", function) for function in functions), functions


def words(text: str) -> set[str]:
    """Words in small letters, without their ends that only grammar needs."""
    return {re.sub(r"(ing|ed|es|s)$", "", word) for word in re.findall(r"[a-z]{2,}", text.casefold())}


COMMON = words(
    "the of to in is it on that this and or by for from with whether what value bit option socket tcp"
)


def test_every_entry_says_something_that_the_name_does_not() -> None:
    assert [(entry.name, entry.means) for entry in ENTRIES if len(new_words(entry)) < 3] == []


def new_words(entry: Entry) -> set[str]:
    of_name = words(" ".join(entry.names).replace("_", " ").replace(".", " "))
    return words(entry.means) - of_name - COMMON


def test_the_meaning_is_one_line_and_one_sentence() -> None:
    assert [entry.means for entry in ENTRIES if len(entry.means) > 110 or not entry.means.endswith(".")] == []
    assert [entry.name for entry in ENTRIES if plain(entry.text) == plain(entry.means)] == []


def test_no_two_entries_have_one_name_in_a_section() -> None:
    seen: set[tuple[str, str, str]] = set()
    for entry in ENTRIES:
        for name in (entry.name, *entry.also):
            assert (entry.sort, entry.section, name) not in seen
            seen.add((entry.sort, entry.section, name))


def test_no_two_entries_say_the_same() -> None:
    said: dict[str, str] = {}
    for entry in ENTRIES:
        assert entry.means not in said, (entry.name, said.get(entry.means))
        said[entry.means] = entry.name


def test_see_also_leads_somewhere_else() -> None:
    assert [
        (entry.name, name) for entry in ENTRIES for name in entry.see if not set(find(name)) - {entry}
    ] == []


def test_what_is_looked_up_is_found() -> None:
    """Names of RFCs, of C, of options; capitals, hyphens, prefixes and structs don't matter."""
    for name, expected in {
        "SND.UNA": "snd_una",
        "snd.una": "snd_una",
        "tcp_sock.snd_una": "snd_una",
        "CWND": "snd_cwnd",
        "SRTT": "srtt_us",
        "rtt_us": "srtt_us",
        "fin-wait-1": "FIN_WAIT1",
        "TCP_CLOSE_WAIT": "CLOSE_WAIT",
        "tcp_nodelay": "TCP_NODELAY",
        "Persist": "persist",
        "snd_wscale": "rx_opt.snd_wscale",
        "IRS": "rcv_isn",
        "PTO": "loss-probe",
        "zero window probe": "persist",
        "Zero Window": "zero-window",
    }.items():
        assert expected in [entry.name for entry in find(name)], name


def test_several_meanings_are_all_found() -> None:
    assert {entry.section for entry in find("snd_nxt")} >= {"tcp", "mptcp"}
    assert {entry.sort for entry in find("TIME-WAIT")} == {"state", "timer"}
    assert [entry.section for entry in find("mptcp.snd_nxt")] == ["mptcp"]
    assert {entry.section for entry in find("SND.NXT")} >= {"tcp", "timewait"}


def test_near_names_are_suggested() -> None:
    assert "snd_ssthresh" in near("snd_sstresh")
    assert "TCP_NODELAY" in near("nodely") + near("nodelay_")
    assert near("qqqqqqqq") == []
    assert find("qqqqqqqq") == []


def test_search_needs_all_words_and_puts_names_first() -> None:
    found = [entry.name for entry in search(["zero", "window"])]

    assert "persist" in found
    assert all(
        "window" in json.dumps([entry.means, entry.text, entry.misread]).casefold()
        for entry in search(["window"])[:3]
    )
    assert search(["zero", "qqqqqqqq"]) == []
    assert search([]) == []


def test_every_sort_has_entries() -> None:
    assert {entry.sort for entry in ENTRIES} == set(SORTS)
