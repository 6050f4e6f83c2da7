# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shared options: what a command gets of them, and what is a usage error."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import click
import pytest

from sockcrash import cli
from sockcrash.__main__ import main
from sockcrash.cli import group
from sockcrash.cli.errors import run
from sockcrash.cli.params import output_options, target_options
from sockcrash.target import TargetOptions

got: dict[str, Any] = {}


@click.command()
@target_options
@output_options("text", "table", "json")
@click.argument("spec", nargs=-1)
def command(**kwargs: Any) -> None:
    got.clear()
    got.update(kwargs, level=logging.getLogger("drgn").level)


def given(*args: str) -> dict[str, Any]:
    assert run(command, args) == 0
    return got


def test_nothing_given() -> None:
    assert given()["target"] == TargetOptions()
    assert got["output_format"] == "text"
    assert got["level"] == logging.NOTSET


def test_all_given() -> None:
    options = given(
        *["-c", "core", "-s", "a", "--symbols", "b", "--main-symbols", "--extra-symbols", "x"],
        *["--try-symbols-by", "standard,build-id", "--try-symbols-by", "p", "--no-symbols-by", "debuginfod"],
        *["--debug-directory", "d", "--debug-directory", "e", "--kernel-directory", "k", "--vmcoreinfo", "v"],
        *["--btf", "t", "--system-map", "m", "--debuginfo", "dwarf", "--architecture", "x86_64"],
        *["--log-level", "debug", "ffff888000000000"],
    )
    assert options["target"] == TargetOptions(
        core="core",
        symbols=("a", "b"),
        main_symbols=True,
        extra_symbols=("x",),
        try_symbols_by=("standard", "build-id", "p"),
        no_symbols_by=("debuginfod",),
        debug_directory=("d", "e"),
        kernel_directory=("k",),
        vmcoreinfo="v",
        btf="t",
        system_map="m",
        debuginfo="dwarf",
        architecture="x86_64",
    )
    assert options["spec"] == ("ffff888000000000",)
    assert options["level"] == logging.DEBUG
    assert logging.getLogger("drgn").level == logging.NOTSET, "a run leaves no log level behind"


def test_kernel_and_qemu() -> None:
    assert given("-k")["target"] == TargetOptions()
    assert given("--qemu", ":1234")["target"] == TargetOptions(qemu=":1234")


def test_quiet() -> None:
    assert given("-q")["level"] > logging.CRITICAL
    assert given("--log-level", "none")["level"] > logging.CRITICAL


@pytest.mark.parametrize(("args", "output"), [(["--json"], "json"), (["--format", "table"], "table")])
def test_format(args: list[str], output: str) -> None:
    assert given(*args)["output_format"] == output


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-k", "-c", "x"], "-k and -c exclude each other"),
        (["-c", "x", "--qemu", "y"], "-c and --qemu exclude each other"),
        (["--main-symbols", "--no-default-symbols"], "exclude each other"),
        (["--format", "csv"], "this command can't give it; choose of text, table, json"),
        (["--format", "xml"], "there is no such format; choose of text, table, json"),
        (["--json", "--format", "table"], "exclude each other"),
        (["--debuginfo", "ctf"], "'ctf'"),
        (["--try-symbols-by", "a,,b"], "empty name"),
    ],
)
def test_usage_errors(args: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, args) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "inspect ino:1 -f snd_wnd --every",
        "inspect ino:1 --every --format table",
        "inspect ino:1 --every --format csv",
        "inspect ino:1 --drgn --json",
        "inspect ino:1 --drgn --every",
        "inspect ino:1 --drgn --queues",
        "inspect ino:1 --drgn --explain",
        "options ino:1 --drgn --format csv",
        "list --drgn --json",
        "list --drgn --sort -rtt",
    ],
)
def test_no_option_is_ignored_beside_another(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(group, [*words.split(), "-c", "/nonexistent"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_json_of_a_command_that_streams() -> None:
    chosen = []

    @click.command()
    @output_options("text", "jsonl")
    def stream(output_format: str) -> None:
        chosen.append(output_format)

    assert run(stream, ["--json"]) == 0
    assert chosen == ["jsonl"]


def test_help_needs_no_drgn() -> None:
    code = "import sys, sockcrash.cli.params, sockcrash.cli.errors; sys.exit('drgn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("time", ["nan", "inf", "1e300", "-1", "x"])
@pytest.mark.parametrize("words", [("watch", "fd:1/1", "--interval"), ("trace", "--duration")])
def test_a_time_that_nobody_can_wait(
    words: tuple[str, ...], time: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(group, (*words, time)) == 2
    assert f"Invalid value for '{words[-1]}'" in capsys.readouterr().err


def test_ctrl_c_while_modules_are_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main()


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "15 bytes"), ("x" * 16, "15 bytes"), ('a"b', "quotes"), ("a\nb", "quotes"), ("\udcff", "quotes")],
)
def test_a_name_that_no_filter_takes(name: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(group, ["trace", "--comm", name]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("level", ["SOL_ALG", "sol_tcp", "tcp"])
def test_a_level_that_a_trace_names_can_be_chosen(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    number = {"SOL_ALG": 279}.get(level, 6)

    assert run(group, ["trace", "--level", level, "--emit", "bpftrace"]) == 0
    assert f"== {number}" in capsys.readouterr().out
