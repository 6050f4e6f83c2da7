# SPDX-License-Identifier: LGPL-2.1-or-later
"""drgn's own interactive session with the plugin, on bundled vmcores: every helper, every command, and no bystanders.

What the session says is compared with drgn's own reading of the same memory, or with what the guest's kernel said.
"""

from __future__ import annotations

import ast
import json
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundles import SHELF, Bundle
from harness import sockcrash_process
from repl import Session
from sockcrash import helpers
from sockcrash.plugin.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

DRGN = str(Path(sys.executable).with_name("drgn"))
MODULES = "print([m for m in sys.modules if m.startswith('sockcrash')])"
AT_START = {"sockcrash", "sockcrash.kernel", "sockcrash.kernel.offer", "sockcrash.plugin"}


def unpacked(series: str, directory: Path) -> Path:
    """A bundled vmcore as an ordinary ELF file, which drgn opens itself; its types beside it."""
    directory.mkdir(exist_ok=True)
    core = directory / "vmcore"
    core.write_bytes(lzma.decompress((SHELF / series / "vmcore.xz").read_bytes()))
    shutil.copy(SHELF / series / "types.xz", directory)
    return core


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked("6.1", tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def truth() -> Iterator[Bundle]:
    opened = Bundle(SHELF / "6.1")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def session(core: Path, truth: Bundle) -> Iterator[Session]:
    opened = Session([DRGN, "-c", str(core)])
    assert opened.ask("from sockcrash.helpers import *") == ""
    assert opened.ask(f"sk = find_sock('ino:{closed_window(truth)['inode']}')") == ""
    yield opened
    assert opened.close() == 0


def closed_window(truth: Bundle) -> dict[str, int]:
    """A socket whose peer's window was closed, as the guest's kernel said: pid, fd, inode."""
    return truth.truth.sockets["zero-window"]


def value(session: Session, expression: str) -> object:
    return ast.literal_eval(session.ask(f"print(repr({expression}))"))


# ---- helpers


def test_every_helper_is_tried_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in helpers.__all__ if f"{name}(" not in text] == []


def test_a_socket_is_found_by_each_of_its_names(session: Session, truth: Bundle) -> None:
    one = closed_window(truth)

    assert session.ask("sk.type_") == "struct sock *\n"
    assert value(session, f"find_sock('fd:{one['pid']}/{one['fd']}') == sk") is True
    assert value(session, "find_sock(sk.value_()) == sk and find_sock(sk) == sk") is True
    assert value(session, "find_sock(prog, 'cookie:%d' % sk_record(sk).cookie) == sk") is True
    assert value(session, "find_sock(sk_record(sk)) == sk") is True
    assert value(session, "sk_kind(sk)") == "tcp"


def test_what_is_no_socket_is_refused(session: Session) -> None:
    assert "NotASocketError: ino:1: no socket has it" in session.ask("find_sock('ino:1')")
    assert "UsageError: 'nonsense' names no socket" in session.ask("find_sock('nonsense')")
    assert "sockets go by it" in session.ask("find_sock('tcp::16971')")


def test_casts_are_those_of_the_kernel(session: Session) -> None:
    types = [session.ask(cast) for cast in ("tcp_sk(sk).type_", "inet_sk(sk).type_", "inet_csk(sk).type_")]

    assert types == ["struct tcp_sock *\n", "struct inet_sock *\n", "struct inet_connection_sock *\n"]
    assert value(session, "tcp_sk(sk).snd_wnd.value_()") == 0


def test_records_say_what_the_members_say(session: Session) -> None:
    pairs = {
        "sk_record(sk).tcp['snd_una']": "tcp_sk(sk).snd_una.value_()",
        "sk_record(sk).sock['sk_rcvbuf']": "sk.sk_rcvbuf.value_()",
        "sk_option(sk, 'TCP_NODELAY').value": "tcp_sk(sk).nonagle.value_() & 1",
        "[o.value for o in sk_options(sk, every=True) if o.name == 'SO_SNDBUF']": "[sk.sk_sndbuf.value_()]",
        "tcp_flight(sk)": "tcp_sk(sk).packets_out.value_()",
        "tcp_receive_window(sk)": "(tcp_sk(sk).rcv_wup + tcp_sk(sk).rcv_wnd - tcp_sk(sk).rcv_nxt).value_()",
        "[t.name for t in sk_timers(sk) if t.pending]": "['persist']",
    }
    differing = {
        ours: theirs for ours, theirs in pairs.items() if value(session, ours) != value(session, theirs)
    }

    assert differing == {}


def test_owners_are_those_of_the_guest(session: Session, truth: Bundle) -> None:
    one = closed_window(truth)

    assert value(session, "[(o.pid, o.fd) for o in sk_owners(sk)]") == [(one["pid"], one["fd"])]


def test_queues(session: Session) -> None:
    unsent = "(tcp_sk(sk).write_seq - tcp_sk(sk).snd_nxt).value_()"

    assert value(session, "{q.name: q.bytes for q in sk_queues(sk)}['write']") == value(session, unsent) != 0


def test_walks_are_complete_and_typed(session: Session, truth: Bundle) -> None:
    everything = {record["address"] for record in truth.records}

    assert value(session, "sorted({hex(sk) for sk in for_each_sock()})") == sorted(everything)
    assert value(session, "{str(sk.type_) for sk in for_each_sock(kind='tcp-timewait')}") == {
        "struct tcp_timewait_sock *"
    }
    assert value(session, "{str(tp.type_) for tp in for_each_tcp_sock()}") == {"struct tcp_sock *"}
    netns = value(session, "sk_record(sk).netns")
    assert value(session, f"any(s == sk for s in for_each_sock(kind='tcp', netns={netns}))") is True
    assert (
        value(session, f"any(s == sk for s in for_each_sock(netns='ino:{netns}', filter='snd_wnd = 0'))")
        is True
    )
    assert "no kind of socket" in session.ask("for_each_sock(kind='udpp')")


# ---- commands


def test_every_command_is_tried_here() -> None:
    text = Path(__file__).read_text()
    assert [name for name in COMMANDS if f"%{name} " not in text] == []


def test_sock_shows_what_inspect_shows(session: Session, truth: Bundle) -> None:
    one = closed_window(truth)

    shown = session.ask(f"%sock ino:{one['inode']}")

    assert shown == sockcrash_process("inspect", *truth.target_options, f"ino:{one['inode']}").out
    assert value(session, "_.inode") == one["inode"]


def test_sock_with_fields_json_pipes_and_files(session: Session, truth: Bundle, tmp_path: Path) -> None:
    spec = f"ino:{closed_window(truth)['inode']}"

    assert session.ask(f"%sock {spec} -f snd_wnd,nonagle | grep snd_wnd") == "  snd_wnd = 0\n"
    assert session.ask(f"%sock {spec} --json > {tmp_path}/record.json") == ""
    assert json.loads((tmp_path / "record.json").read_text())["tcp"]["snd_wnd"] == 0
    assert session.ask(f"%sock {spec} | head -1").startswith("tcp  ")


def test_socks_lists_and_leaves_objects(session: Session, truth: Bundle) -> None:
    words = ("state", "established", "snd_wnd", "=", "0")

    shown = session.ask(f"%socks {' '.join(words)}")

    assert shown == sockcrash_process("list", *truth.target_options, *words).out
    assert value(session, "len(_)") == len(shown.splitlines()) - 1
    assert value(session, "{str(sk.type_) for sk in _}") == {"struct sock *"}
    assert session.ask("%socks -o netid,inode state listening | wc -l").strip().isdigit()


def test_sockopts_shows_what_options_shows(session: Session, truth: Bundle) -> None:
    spec = f"ino:{closed_window(truth)['inode']}"

    assert (
        session.ask(f"%sockopts {spec} --every")
        == sockcrash_process("options", *truth.target_options, spec, "--every").out
    )
    session.ask(f"%sockopts {spec} --name TCP_NODELAY")
    assert value(session, "[(o.name, o.value) for o in _]") == [("TCP_NODELAY", 0)]


def test_commands_fail_with_a_sentence(session: Session) -> None:
    for line in (
        "%sock nonsense",
        "%sock ino:1",
        "%socks flugs = 3",
        "%sockopts ino:1",
        "%sock tcp::9 -f nonsense",
    ):
        shown = session.ask(line)
        assert "error" in shown, line
        assert "Traceback" not in shown


def test_no_option_of_a_command_is_ignored(session: Session) -> None:
    for options in ("-f snd_wnd --every", "--drgn --json", "--drgn --every"):
        assert "exclude each other" in session.ask(f"%sock tcp::16971 {options}")


def test_commands_explain_themselves(session: Session) -> None:
    for name in COMMANDS:
        assert "For example" in session.ask(f"%{name} --help")


# ---- bystanders


def test_nothing_costs_at_the_start(core: Path) -> None:
    code = f"import sys; {MODULES}"
    done = subprocess.run([DRGN, "-c", str(core), "-e", code], capture_output=True, text=True, check=True)

    assert set(ast.literal_eval(done.stdout)) <= {*AT_START, "sockcrash.plugin.commands"}
    assert "sockcrash" not in done.stderr


def test_a_user_space_program_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        opened = Session([DRGN, "-p", str(sleeping.pid), "--no-default-symbols"])
        try:
            assert "sockcrash" not in opened.banner
            assert opened.ask("import sys") == ""
            assert set(ast.literal_eval(opened.ask(MODULES))) <= AT_START
            assert "command not found" in opened.ask("%sock tcp::1")
            assert "no Linux kernel" in opened.ask(
                "from sockcrash.helpers import find_sock; find_sock('tcp::1')"
            )
        finally:
            opened.close()
            sleeping.kill()


def test_the_types_can_be_refused(core: Path) -> None:
    command = [DRGN, "-q", "-c", str(core), "-e", "prog.type('struct tcp_sock')"]
    env = {**os.environ, "SOCKCRASH_NO_BTF": "1"}

    assert subprocess.run(command, capture_output=True).returncode == 0
    refused = subprocess.run(command, capture_output=True, text=True, env=env)
    assert "LookupError" in refused.stderr


def test_the_plugin_never_raises(core: Path, tmp_path: Path) -> None:
    """Even where a snapshot's types are missing: drgn goes on without a word, our commands say why."""
    alone = tmp_path / "vmcore"
    alone.write_bytes(core.read_bytes())
    opened = Session([DRGN, "-q", "-c", str(alone)])
    try:
        assert "LookupError" in opened.ask("prog.type('struct tcp_sock')")
        shown = opened.ask("%socks state listening")
        assert "error" in shown
        assert "Traceback" not in shown
    finally:
        opened.close()


# ---- sockcrash shell


@pytest.mark.parametrize("series", sorted(path.name for path in SHELF.iterdir() if path.is_dir()))
def test_shell_opens_every_bundled_vmcore(series: str) -> None:
    opened = Session([sys.executable, "-m", "sockcrash", "shell", "-c", str(SHELF / series / "vmcore.xz")])
    try:
        assert "snapshot" in opened.banner
        assert all(name in opened.banner for name in (*helpers.__all__, *(f"%{name}" for name in COMMANDS)))
        assert int(opened.ask("%socks state listening and kind = tcp -o address | wc -l")) > 1
        assert (
            opened.ask("tcp_sk(find_sock(sk_record(next(for_each_sock(kind='tcp'))))).type_")
            == "struct tcp_sock *\n"
        )
    finally:
        assert opened.close() == 0


@pytest.mark.vm
def test_dwarf_that_is_loaded_later_wins() -> None:
    from harness import dump_directory

    directory = dump_directory("6.1")
    opened = Session([DRGN, "-q", "-c", str(directory / "vmcore")])
    try:
        assert opened.ask("prog.type('struct tcp_sock').type_name()") == "'struct tcp_sock'\n"
        opened.ask(f"prog.load_debug_info(['{directory}/vmlinux'])")
        assert "tcp_prot" in opened.ask("prog['tcp_prot'].address_of_()")
        assert "net/ipv4" in opened.ask("source_location(prog.symbol('tcp_sendmsg').address)")
        assert opened.ask("from sockcrash.helpers import *; sk_kind(next(for_each_tcp_sock()))") == "'tcp'\n"
    finally:
        opened.close()


@pytest.mark.vm
def test_helpers_agree_with_dwarf_and_without() -> None:
    """The same sockets with the same values, by vmlinux and by nothing."""
    from harness import dump_directory

    directory = dump_directory("6.1")
    answers = []
    for symbols in ([], ["-s", str(directory / "vmlinux")]):
        opened = Session([DRGN, "-q", "-c", str(directory / "vmcore"), *symbols], timeout=120)
        try:
            opened.ask("from sockcrash.helpers import *")
            walk = "sorted((hex(s), sk_kind(s)) for s in for_each_sock())"
            windows = "sorted((hex(t), t.snd_wnd.value_(), repr(tcp_flight(t))) for t in for_each_tcp_sock())"
            answers.append((value(opened, walk), value(opened, windows)))
        finally:
            opened.close()

    assert len(answers[0][0]) > 500
    assert answers[0] == answers[1]
