# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every line that a kernel's ss and /proc/net printed leads to its socket: by cookie, inode, address, or its ends.

The lines say themselves which socket is right, by its cookie or inode; what names less has those cut out of it.
"""

from __future__ import annotations

import functools
import io
import re
import socket
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from drgn import Object
from drgn.helpers.linux.net import SOCK_INODE

from bundles import run
from sockcrash.errors import NotASocketError
from sockcrash.kernel.view import kernel_of
from sockcrash.locate import all_sockets, locate
from sockcrash.locate.netns import find_netns
from sockcrash.locate.spec import Spec, parse_spec
from sockcrash.locate.walk import in_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from drgn import Program

    from bundles import Bundle
    from harness import Dump
    from sockcrash.locate import Handle, Located

COOKIES, INODES, ENDS = "cookie sk:", "inode ino:", "ends "
SHOWN, USAGE, NOT_FOUND = 0, 2, 3
COOKIE = re.compile(r" sk:([0-9a-f]+)")
UNIX_INODE = re.compile(r" (?:\*|[/@]\S*) (\d+) +\* \d+")
INODE = re.compile(r" ino:(\d+)")
# Columns of /proc/net files, counted from the end or the beginning, that hold the inode.
PROC_INODE = {
    "tcp": 9,
    "tcp6": 9,
    "udp": 9,
    "udp6": 9,
    "raw": 9,
    "raw6": 9,
    "unix": 6,
    "packet": -1,
    "netlink": -1,
}


@dataclass(frozen=True)
class Sample:
    """An output of the guest, and by line the address of the socket that it is about, as far as it still lives."""

    what: str
    netns: int
    text: str
    right: dict[int, str]


@dataclass(frozen=True)
class Known:
    """A socket of a dump by drgn's own reading."""

    address: str
    kind: str
    full: bool
    cookie: int
    inode: int


@functools.lru_cache(maxsize=1)
def known(prog: Program) -> list[Known]:
    """Every socket of a dump."""
    found = []
    for handle in all_sockets(kernel_of(prog), pytest.fail):
        common = Object(prog, "struct sock_common", address=handle.address)
        socket = Object(prog, "struct sock", address=handle.address).sk_socket if handle.kind.full else None
        inode = int(SOCK_INODE(socket).i_ino) if socket else 0
        address = f"{handle.address:#x}"
        found.append(
            Known(address, handle.kind.name, handle.kind.full, int(common.skc_cookie.counter), inode)
        )
    return found


def by_cookie(dump: Dump) -> dict[int, str]:
    """Addresses of sockets by cookie; a mini socket's heir wins."""
    return {
        one.cookie: one.address for one in sorted(known(dump.prog), key=lambda one: one.full) if one.cookie
    }


def by_inode(dump: Dump) -> dict[tuple[str, int], str]:
    """Addresses by kind and inode, where just one has both: subflows of MPTCP have that of their owner."""
    found = [((one.kind, one.inode), one.address) for one in known(dump.prog) if one.inode]
    often = Counter(key for key, _ in found)
    return {key: address for key, address in found if often[key] == 1}


def ss_samples(dump: Dump) -> Iterator[Sample]:
    """What ss said just before the dump was taken, of sockets that it still said just after."""
    cookies, inodes = by_cookie(dump), by_inode(dump)
    after = defaultdict(str)
    for command in dump.truth.raw.get("after", dump.truth.raw["before"])["commands"]:
        after[command["netns"], command["argv"][1]] += command["stdout"]
    for command in dump.truth.raw["before"]["commands"]:
        if command["argv"][0] != "ss" or command["argv"][1] in ("-s", "-f"):
            continue
        later = after[command["netns"], command["argv"][1]]
        right = {}
        for number, line in enumerate(command["stdout"].splitlines(), 1):
            key = COOKIE.search(line)
            if key and f"{key[0]} " in later:
                right[number] = cookies[int(key[1], 16)]
            elif line.startswith("u_") and (inode := UNIX_INODE.search(line)) and inode[0] in later:
                right[number] = inodes["unix", int(inode[1])]
        yield Sample(" ".join(command["argv"]), command["netns"], command["stdout"], right)


def proc_samples(dump: Dump) -> Iterator[Sample]:
    """What /proc/net said of sockets that have an inode."""
    inodes = by_inode(dump)
    kinds = {"tcp": "tcp", "tcp6": "tcp", "udp": "udp", "udp6": "udp", "raw": "raw", "raw6": "raw"}
    for file in dump.truth.raw["before"]["files"]:
        if file["path"] not in PROC_INODE:
            continue
        right = {}
        for number, line in enumerate(file["text"].splitlines()[1:], 2):
            words = line.split()
            if len(words) < 7:  # the rest of a name with a newline in it
                continue
            inode = int(words[PROC_INODE[file["path"]]])
            address = inodes.get((kinds.get(file["path"], file["path"]), inode))
            if address:
                right[number] = address
        yield Sample(f"/proc/net/{file['path']}", file["netns"], file["text"], right)


def named(dump: Dump, *words: str, content: str | None = None, netns: int | None = None) -> list[Located]:
    """What names lead to; nothing may have been unreadable."""
    trouble: list[str] = []
    specs = (
        [Spec("-", "text", name="-", content=content)]
        if content is not None
        else [parse_spec(one) for one in words]
    )
    found = locate(kernel_of(dump.prog), specs, trouble.append, netns=netns)
    assert trouble == []
    return found


def by_line(found: Located) -> dict[int, list[Handle]]:
    """The sockets of a text by the line that named them."""
    lines: dict[int, list[Handle]] = defaultdict(list)
    for handle in found.handles:
        lines[int(re.findall(r"line (\d+)", handle.how)[0])].append(handle)
    return lines


def check(dump: Dump, samples: Iterator[Sample], change: Callable[[str], str], by: str) -> tuple[int, int]:
    """Each line leads to its socket, found by ``by``. How many lines there were, and how many named it alone."""
    lines = alone = 0
    for sample in samples:
        if not sample.right:
            continue
        (found,) = named(dump, content="\n".join(map(change, sample.text.split("\n"))), netns=sample.netns)
        handles = by_line(found)
        seen = {f"{handle.address:#x}" for handle in found.handles}
        for number, address in sample.right.items():
            here = [f"{handle.address:#x}" for handle in handles[number]]
            # of two lines that name the same sockets the first one has them
            assert address in (here if by == COOKIES else here or seen), (sample.what, number, address, here)
            # an MPTCP socket and its subflows share an inode, and these lines don't say which of them they mean
            shared = by == INODES and "mptcp" in {handle.kind.name for handle in handles[number]}
            assert len(here) <= 1 or shared or by == ENDS, (sample.what, number, here)
            assert [handle.how for handle in handles[number] if f": {by}" not in handle.how] == []
            lines += 1
            alone += here == [address]
    return lines, alone


def keep(line: str) -> str:
    return line


def without_cookie(line: str) -> str:
    return COOKIE.sub("", line)


def bare(line: str) -> str:
    """As ss prints it without -e."""
    return INODE.sub("", COOKIE.sub("", line))


def check_every_name(dump: Dump, figures: Callable[[str], None]) -> None:
    """All samples of a dump in all strengths."""
    has_cookie = [sample for sample in ss_samples(dump) if not sample.what.startswith("ss -x")]
    unix = [sample for sample in ss_samples(dump) if sample.what.startswith("ss -x")]
    whole, _ = check(dump, iter(has_cookie), keep, COOKIES)
    with_inode = [
        Sample(one.what, one.netns, one.text, {n: a for n, a in one.right.items() if _has_inode(one.text, n)})
        for one in has_cookie
    ]
    inodes, _ = check(dump, iter(with_inode), without_cookie, INODES)
    names, _ = check(dump, iter(unix), keep, INODES)
    inet = [one for one in has_cookie if re.match("ss -[tuwM]", one.what)]
    ends, alone = check(dump, iter(inet), bare, ENDS)
    files, _ = check(dump, proc_samples(dump), keep, INODES)
    figures(
        f"Linux {dump.series}, names: {whole} lines of ss by cookie, {inodes + names} by inode, {ends} by their ends"
        f" ({alone} of them name one socket), {files} lines of /proc/net"
    )
    assert whole > 300
    assert inodes > 250
    assert names >= 30
    assert alone > 200
    assert files > 150


def _has_inode(text: str, number: int) -> bool:
    line = text.splitlines()[number - 1]
    found = INODE.search(line)
    return found is not None and found[1] != "0"


def test_every_line_of_ss_and_proc_leads_to_its_socket(
    bundle: Bundle, figures: Callable[[str], None]
) -> None:
    check_every_name(bundle, figures)


@pytest.mark.vm
@pytest.mark.timeout(600)
def test_on_full_dumps(dump: Dump, figures: Callable[[str], None]) -> None:
    check_every_name(dump, figures)


# ---- SPECs


def the_one(dump: Dump, label: str) -> str:
    """The address of a socket of the scenario, by its cookie."""
    return by_cookie(dump)[dump.truth.sockets[label]["cookie"]]


def addresses(found: list[Located]) -> list[str]:
    return [f"{handle.address:#x}" for one in found for handle in one.handles]


def written(end: list[str | int]) -> str:
    """An end as a SPEC has it."""
    return f"[{end[0]}]:{end[1]}" if ":" in str(end[0]) else f"{end[0]}:{end[1]}"


def connected(dump: Dump, protocol: int, kind: int) -> Iterator[tuple[str, str, str, int]]:
    """Label, ends and namespace of every held socket of a type that has a peer."""
    for label, one in dump.truth.sockets.items():
        inet = one["family"] in (socket.AF_INET, socket.AF_INET6) and one["type"] == kind
        if inet and one["protocol"] in (0, protocol) and one["peer"] and one["peer"][1]:
            yield label, written(one["local"]), written(one["peer"]), one["netns"]


@pytest.mark.parametrize(
    ("form", "protocol", "kind", "least"),
    [
        ("tcp", 6, socket.SOCK_STREAM, 80),
        ("udp", 17, socket.SOCK_DGRAM, 1),
        ("mptcp", 262, socket.SOCK_STREAM, 2),
    ],
)
def test_two_ends(bundle: Bundle, form: str, protocol: int, kind: int, least: int) -> None:
    kinds = {one.address: one.kind for one in known(bundle.prog)}
    cases: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for label, local, peer, netns in connected(bundle, protocol, kind):
        if kinds[the_one(bundle, label)] != form:  # what fell back from MPTCP to TCP, for instance
            continue
        port = local.rpartition(":")[2]
        cases[netns] += [
            (label, f"{form}:{ends}") for ends in (f"{local}-{peer}", local, peer, f":{port}", f"*:*-{peer}")
        ]
    for netns, pairs in cases.items():
        for (label, spec), found in zip(
            pairs, named(bundle, *(spec for _, spec in pairs), netns=netns), strict=True
        ):
            assert the_one(bundle, label) in addresses([found]), (label, spec)
    count = sum(map(len, cases.values())) // 5
    if form == "mptcp" and "mptcp" not in bundle.truth.sockets:
        assert "mptcp" in {one["label"] for one in bundle.truth.raw["refused"]}
        return
    assert count >= least


def test_two_ends_name_the_side_that_is_local(bundle: Bundle) -> None:
    """Both sides of est-v4 are on this machine; the side of a far peer alone is found by the reversed ends."""
    one = bundle.truth.sockets["est-v4"]
    local, peer = written(one["local"]), written(one["peer"])
    assert addresses(named(bundle, f"tcp:{local}-{peer}")) == [the_one(bundle, "est-v4")]
    assert addresses(named(bundle, f"tcp:{peer}-{local}")) == [the_one(bundle, "est-v4-child")]
    far = bundle.truth.sockets["syn-sent-v4"]
    local, peer = written(far["local"]), written(far["peer"] or ["10.99.0.1", 80])
    (found,) = named(bundle, f"tcp:{peer}-{local}")
    assert addresses([found]) == [the_one(bundle, "syn-sent-v4")]
    assert found.handles[0].how == f"tcp:{peer}-{local}, reversed"


def test_a_mapped_socket_answers_to_its_ipv4_ends(bundle: Bundle) -> None:
    one = bundle.truth.sockets["est-mapped-both"]
    (local, here), (peer, there) = one["local"][:2], one["peer"][:2]
    right = the_one(bundle, "est-mapped-both")
    short = f"tcp:{local.removeprefix('::ffff:')}:{here}-{peer.removeprefix('::ffff:')}:{there}"
    assert addresses(named(bundle, short)) == [right]
    assert addresses(named(bundle, f"tcp:[{local}]:{here}-[{peer}]:{there}")) == [right]


def test_mini_sockets_by_their_ends(bundle: Bundle) -> None:
    kinds = Counter()
    for one in bundle.truth.raw["without_fd"]:
        if one["kind"] not in ("tcp-request", "tcp-timewait"):
            continue
        (found,) = named(bundle, f"tcp:{written(one['local'])}-{written(one['peer'])}", netns=one["netns"])
        assert [handle.kind.name for handle in found.handles] == [one["kind"]], one
        kinds[one["kind"]] += 1
    assert kinds["tcp-request"] >= 3
    assert kinds["tcp-timewait"] >= 3


UNIX_NAMES = [
    ("unix-listen", "/run/sockcrash-test.sock"),
    ("unix-abstract", "@sockcrash-test"),
    ("fam-unix-odd-bytes", r"@\xff\xfe\x1b[31m\x0a\\x41 end"),  # as inspect shows it
    ("fam-unix-odd-bytes", "@\udcff\udcfe\x1b[31m\n\\x41 end"),  # as a shell passes it on
    ("fam-unix-inner-nul", r"@a\x00b\x00"),
    ("fam-unix-inner-nul", "@a@b@"),  # as ss shows it
    ("fam-unix-utf8", "@é ☃"),
    ("fam-unix-like-abstract", r"\x40file"),
    ("fam-unix-odd-file", "odd\udcff\x07\nfile"),
    ("fam-unix-full-length", "L" * 108),
]


@pytest.mark.parametrize(("label", "name"), UNIX_NAMES)
def test_names_of_unix_sockets(bundle: Bundle, label: str, name: str) -> None:
    if label not in bundle.truth.sockets:
        pytest.skip("this bundle was made before the scenario had it")
    assert the_one(bundle, label) in addresses(named(bundle, f"unix:{name}"))
    assert named(bundle, f"unix:{name}x")[0].error is not None


def test_unix_names_are_those_of_the_socket_not_of_its_peer(bundle: Bundle) -> None:
    found = addresses(named(bundle, "unix:/run/sockcrash-test.sock"))
    assert sorted(found) == sorted([the_one(bundle, "unix-listen"), the_one(bundle, "unix-child")])


def test_many_names_cost_one_walk(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []

    def counted(*args: Any) -> Iterator[Any]:
        walks.append(1)
        return in_tables(*args)

    monkeypatch.setattr("sockcrash.locate.search.in_tables", counted)
    sample = next(one for one in ss_samples(bundle) if len(one.right) > 100)
    found = named(bundle, "tcp::16959", "unix:@sockcrash-test", "ino:999999999", *["sk:1"] * 100)
    assert len(found) == 103
    named(bundle, content=sample.text * 50)
    assert len(walks) == 2


# ---- what a text may not do


def test_text_of_another_boot_names_nothing(bundle: Bundle) -> None:
    """Cookies are small numbers on every boot; the inode beside it tells that it is another socket."""
    one = bundle.truth.sockets["est-v4"]
    local, peer = written(one["local"]), written(one["peer"])
    line = f"ESTAB 0 0 {local} {peer} ino:{{}} sk:{one['cookie']:x} cgroup:/ <->"
    assert addresses(named(bundle, content=line.format(one["inode"]))) == [the_one(bundle, "est-v4")]
    assert addresses(named(bundle, content=line.format(one["inode"] + 1))) == []
    assert addresses(named(bundle, content=f"udp {line.format(one['inode'])}")) == []


def test_a_socket_whose_ends_changed_is_found_and_says_so(bundle: Bundle) -> None:
    one = bundle.truth.sockets["est-v4"]
    (found,) = named(
        bundle, content=f"UNCONN 0 0 0.0.0.0:0 0.0.0.0:* ino:{one['inode']} sk:{one['cookie']:x}"
    )
    assert addresses([found]) == [the_one(bundle, "est-v4")]
    assert "ends are others" in found.handles[0].note


def test_an_address_in_a_text(bundle: Bundle) -> None:
    """As ss printed it before Linux 4.1, and as /proc/net does where kptr_restrict is 1."""
    one = bundle.truth.sockets["est-v4"]
    right = the_one(bundle, "est-v4")
    (found,) = named(bundle, content=f"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 ino:{one['inode']} sk:{right[2:]}")
    assert addresses([found]) == [right]
    assert found.handles[0].how == f"ss line 1: address {right}"
    text = next(sample.text for sample in proc_samples(bundle) if sample.what == "/proc/net/tcp")
    line = next(line for line in text.splitlines() if f" {one['inode']} " in line)
    pointer = line.split()[11]
    assert addresses(named(bundle, content=line.replace(pointer, right[2:]))) == [right]
    wrong = the_one(bundle, "est-v4-child")
    assert addresses(named(bundle, content=line.replace(pointer, wrong[2:]))) == []


def test_subflows_that_share_an_inode_are_told_apart_by_their_ends(bundle: Bundle) -> None:
    often = Counter(one.inode for one in known(bundle.prog) if one.kind == "tcp" and one.inode)
    lines = 0
    for sample in proc_samples(bundle):
        for line in (
            sample.text.splitlines()[1:] if sample.what in ("/proc/net/tcp", "/proc/net/tcp6") else ()
        ):
            words = line.split()
            if often[int(words[9])] < 2:
                continue
            (found,) = named(bundle, content=line, netns=sample.netns)
            (handle,) = found.handles
            common = Object(bundle.prog, "struct sock_common", address=handle.address)
            assert f"{int(common.skc_num):04X}" == words[1][-4:]
            lines += 1
    assert lines >= 2 or "mptcp" not in bundle.truth.sockets


# ---- the command line


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a text to the next command."""

    def give(text: str) -> None:
        raw = io.BytesIO(text.encode("utf-8", "surrogateescape"))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw, encoding="utf-8"))

    return give


def test_a_pipe_from_ss(bundle: Bundle, stdin: Callable[[str], None]) -> None:
    one = bundle.truth.sockets["est-v4"]
    known = f"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 ino:{one['inode']} sk:{one['cookie']:x}"
    stdin(
        f"State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n{known}\nnonsense\nmore of it\n"
    )
    ended = run(bundle, "inspect", "-", "-f", "skc_num", "--format", "jsonl")
    assert ended.status == SHOWN
    assert [record["address"] for record in ended.records] == [the_one(bundle, "est-v4")]
    assert ended.err == "sockcrash: warning: standard input, lines 3-4: no socket in it; left out\n"


def test_lines_that_match_nothing(bundle: Bundle, tmp_path: Path) -> None:
    one = bundle.truth.sockets["est-v4"]
    path = tmp_path / "ss_-peaonmi"
    path.write_text(
        f"ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 ino:{one['inode']} sk:{one['cookie']:x}\n"
        "ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 ino:4000000000 sk:fffffff0\n"
    )
    ended = run(bundle, "inspect", f"@{path}", "-f", "skc_num", "--format", "jsonl")
    assert ended.status == NOT_FOUND
    assert [record["address"] for record in ended.records] == [the_one(bundle, "est-v4")]
    assert ended.err.startswith(f"sockcrash: error: {path}, line 2: no such socket\nhint: ")


@pytest.mark.parametrize("text", ["", "\n\n", "State Recv-Q Send-Q Local Address:Port Peer Address:Port\n"])
def test_a_text_without_sockets(bundle: Bundle, stdin: Callable[[str], None], text: str) -> None:
    stdin(text)
    ended = run(bundle, "inspect", "-")
    assert (ended.status, ended.out) == (NOT_FOUND, "")
    assert ended.err.startswith("sockcrash: error: standard input: no line names a socket\n")


@pytest.mark.parametrize(
    "words",
    [["@/nowhere/at/all"], ["@/"], ["-", "-"], ["--netns", "", "--all"], ["--netns", "ino:x", "--all"]],
)
def test_wrong_texts_and_namespaces(bundle: Bundle, stdin: Callable[[str], None], words: list[str]) -> None:
    stdin("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2\n")
    ended = run(bundle, "inspect", *words)
    assert (ended.status, ended.out) == (USAGE, "")
    assert ended.err.startswith("sockcrash: error: ")


def test_secrets_of_a_text_are_not_repeated(bundle: Bundle, stdin: Callable[[str], None]) -> None:
    """ss -i prints MD5 keys to root, some versions ahead of the record."""
    stdin("topsecretLISTEN 0 2 * * md5keys:127.0.0.1/32=topsecret\ntopsecret\nESTAB 0 0 topsecret:x y:1\n")
    ended = run(bundle, "inspect", "-")
    assert ended.status == NOT_FOUND
    assert "topsecret" not in ended.err + ended.out


# ---- namespaces


def names_of_namespaces(dump: Dump) -> dict[str, int]:
    return {one["name"]: one["inode"] for one in dump.truth.raw["netns"] if one["name"] != "init"}


def check_namespaces(dump: Dump) -> None:
    """By name, path, inode, and as that of a process."""
    kernel = kernel_of(dump.prog)
    (pid,) = {one["pid"] for one in dump.truth.sockets.values()}
    init = dump.truth.netns("init")
    assert find_netns(kernel, f"pid:{pid}", pytest.fail) == init
    for name, inode in names_of_namespaces(dump).items():
        assert find_netns(kernel, name, pytest.fail) == inode
        assert find_netns(kernel, f"/run/netns/{name}", pytest.fail) == inode
        assert find_netns(kernel, f"ino:{inode}", pytest.fail) == inode
    for wrong in ("nowhere", "netns", "ino:1", "pid:999999"):
        with pytest.raises(NotASocketError) as caught:
            find_netns(kernel, wrong, pytest.fail)
        assert caught.value.hint or "no process" in caught.value.message


def test_namespaces(bundle: Bundle) -> None:
    check_namespaces(bundle)


def test_a_namespace_narrows_every_form(bundle: Bundle) -> None:
    one, netns = bundle.truth.sockets["tuned-udp"], bundle.truth.netns("tuned")
    for spec in (f"ino:{one['inode']}", f"sk:{one['cookie']:x}", "udp::5355", f"fd:{one['pid']}/{one['fd']}"):
        assert the_one(bundle, "tuned-udp") in addresses(named(bundle, spec, netns=netns)), spec
        (found,) = named(bundle, spec, netns=bundle.truth.netns("peer"))
        assert found.handles == [], spec
        assert found.error is not None, spec
    ended = run(bundle, "inspect", "--all", "--netns", "tuned", "-f", "skc_net", "--format", "jsonl")
    assert ended.status == SHOWN
    right = {one.address for one in known(bundle.prog) if namespace_of(bundle, int(one.address, 16)) == netns}
    assert {record["address"] for record in ended.records} == right
    assert len(right) > 10


def namespace_of(dump: Dump, address: int) -> int:
    return int(Object(dump.prog, "struct sock_common", address=address).skc_net.net.ns.inum)


@pytest.mark.vm
@pytest.mark.timeout(600)
def test_namespaces_of_full_dumps(dump: Dump) -> None:
    check_namespaces(dump)
