# SPDX-License-Identifier: LGPL-2.1-or-later
"""Completion, asked of the shells themselves where they are installed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sockcrash.cli.completion import SHELLS

SOCKCRASH = Path(sys.executable).with_name("sockcrash")

# Each prints what it would propose, one a line, for the command line in $LINE.
_ASK = {
    "bash": """
        eval "$(sockcrash completion bash)"
        compopt() { :; }
        COMP_LINE=$LINE COMP_POINT=${#LINE}
        _sockcrash_completion sockcrash
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { : }
        eval "$(sockcrash completion zsh)"
        compadd() { print -l -- $completions }
        _describe() { print -rl -- $'\\t'${^completions_with_descriptions} }
        words=(${(z)LINE}); [[ $LINE == *' ' ]] && words+=('')
        CURRENT=$#words
        _sockcrash_completion
    """,
    "fish": "sockcrash completion fish | source; complete -C $LINE",
}
_RUN = {"bash": ["bash", "--norc", "-c"], "zsh": ["zsh", "-f", "-c"], "fish": ["fish", "--no-config", "-c"]}


def proposed(shell: str, line: str) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    env = {**os.environ, "LINE": line, "PATH": f"{SOCKCRASH.parent}:{os.environ['PATH']}"}
    done = subprocess.run([*_RUN[shell], _ASK[shell]], capture_output=True, text=True, env=env, timeout=60)
    assert done.stderr == ""
    return [_bare(shown) for shown in done.stdout.splitlines()]


def _bare(shown: str) -> str:
    """A proposal without its description: behind a tab in fish, behind a colon in zsh (marked by a tab in front)."""
    if shown.startswith("\t"):
        described = re.match(r"\t((?:\\.|[^:\\])*)", shown)
        assert described is not None
        return described[1].replace("\\:", ":")
    return shown.partition("\t")[0]


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_options_and_names(shell: str) -> None:
    assert proposed(shell, "sockcrash insp") == ["inspect"]
    assert set(proposed(shell, "sockcrash inspect --debuginf")) == {"--debuginfo"}
    assert proposed(shell, "sockcrash options --name TCP_NODEL") == ["TCP_NODELAY"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_last_of_several_names(shell: str) -> None:
    assert "snd_una,snd_wnd" in proposed(shell, "sockcrash inspect -f snd_una,snd_w")


@pytest.mark.parametrize("shell", SHELLS)
def test_sockets_of_this_machine(shell: str) -> None:
    """Colons and all. bash takes what stands behind the last colon for the word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fd = f"fd:{os.getpid()}/{listener.fileno()}"
        inode = os.fstat(listener.fileno()).st_ino
        for typed, wanted in (
            (f"tcp:127.0.0.1:{port}", str(port)),
            (fd, fd),
            (f"ino:{inode}", f"ino:{inode}"),
        ):
            found = proposed(shell, f"sockcrash inspect {typed[:-1]}")
            assert any(wanted.endswith(name) or name == typed for name in found), typed


def test_words_are_kept_whole_in_bash() -> None:
    line = "sockcrash list 'state established and snd_cw"
    assert any("snd_cwnd" in name for name in proposed("bash", line))


def test_names_of_states_and_formats() -> None:
    assert proposed("bash", "sockcrash list state estab") == ["estab", "established"]
    assert proposed("bash", "sockcrash struct --format ") == ["crash", "json"]


def test_names_of_each_command_are_its_own() -> None:
    assert proposed("bash", "sockcrash explain FIN_WAIT2")[:1] == ["FIN_WAIT2"]
    assert proposed("bash", "sockcrash layout skc_fam") == ["skc_family"]
    assert proposed("bash", "sockcrash man lis") == ["list"]
    assert proposed("bash", "sockcrash trace --option TCP_NODEL") == ["TCP_NODELAY"]


def test_a_dump_has_no_sockets_of_this_machine() -> None:
    assert proposed("bash", "sockcrash inspect -c vmcore pid:") == [""]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_well_formed(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = subprocess.run(
        [SOCKCRASH, "completion", shell], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)
    assert shlex.quote("sockcrash") in script
