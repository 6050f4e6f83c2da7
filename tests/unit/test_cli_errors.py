# SPDX-License-Identifier: LGPL-2.1-or-later
"""How runs end: exit status, and what stands on standard error."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from sockcrash.cli.errors import run
from sockcrash.errors import NotASocketError, TargetError, UsageError

RUNNER = """
import sys, click
from sockcrash.cli.errors import run
@click.command()
def command():
    {body}
sys.exit(run(command, []))
"""


def ending(raised: BaseException | None = None, returned: Any = None, args: tuple[str, ...] = ()) -> int:
    @click.command()
    def command() -> Any:
        if raised:
            raise raised
        return returned

    return run(command, args)


@pytest.mark.parametrize(
    ("raised", "status", "says"),
    [
        (TargetError("no kernel", hint="get one"), 1, "sockcrash: error: no kernel\nhint: get one\n"),
        (UsageError("what?", hint="one\ntwo"), 2, "sockcrash: error: what?\nhint: one\ntwo\n"),
        (NotASocketError("ino:1", "ino:1 is none"), 3, "sockcrash: error: ino:1 is none\n"),
        (TargetError("a\x1b[31mb\nc"), 1, "sockcrash: error: a\\x1b[31mb\\nc\n"),
        (OSError(5, "Input/output error", "/proc/kcore"), 1, "error: /proc/kcore: Input/output error\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, "sockcrash: error: Broken pipe\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ZeroDivisionError("division"),
            1,
            "sockcrash: internal error: ZeroDivisionError: division (this is a bug",
        ),
        (EOFError(), 1, "sockcrash: internal error: EOFError (this is a bug"),
        (MemoryError(), 1, "internal error: MemoryError"),
        (click.UsageError("no such thing"), 2, "no such thing"),
    ],
)
def test_exceptions(
    raised: BaseException, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(raised) == status
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (3, 3), (5, 5)])
def test_returned(returned: int | None, status: int) -> None:
    assert ending(returned=returned) == status


def test_context_exit() -> None:
    assert ending(click.exceptions.Exit(4)) == 4


def test_unknown_option_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(args=("--nonsense",)) == 2
    assert ending(args=("--help",)) == 0
    assert "Usage: sockcrash" in capsys.readouterr().out


def test_traceback_for_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("sockcrash")
    logger.setLevel(logging.DEBUG)
    try:
        ending(ZeroDivisionError("division"))
    finally:
        logger.setLevel(logging.NOTSET)
    assert "Traceback" in capsys.readouterr().err


def test_log_messages(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def command() -> None:
        logging.getLogger("sockcrash").warning("odd \x1b thing")
        logging.getLogger("drgn").info("not shown")

    assert run(command, []) == 0
    assert capsys.readouterr().err == "sockcrash: warning: odd \\x1b thing\n"
    logging.getLogger("sockcrash").warning("after the run: no handler is left behind")
    assert "after" not in capsys.readouterr().err


def start(body: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER.format(body=body)], stderr=subprocess.PIPE, **options
    )


def test_closed_pipe_is_silent() -> None:
    reader, writer = os.pipe()
    process = start("[click.echo('x' * 1000) for _ in range(1000)]", stdout=writer)
    os.close(writer)
    os.read(reader, 10)
    os.close(reader)
    assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_nobody_opened(tmp_path: Path, closed: str) -> None:
    """As a daemon may start it: the command does its work, and what it says goes nowhere."""
    body = f"open({str(tmp_path / 'done')!r}, 'w').write(sys.stdin.read()); click.echo('x'); click.echo('y', err=True)"
    shell = f'"$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-c", RUNNER.format(body=body)],
        input="given", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "done").read_text() == ("" if "<" in closed else "given")
    assert done.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "x\n")
    assert done.stderr == ("" if "2>&-" in closed else "y\n")


def test_what_a_locale_lacks_is_escaped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUNNER.format(body="print('191 \\u00b5s')")],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "191 \\xb5s\n", "")


def test_closed_pipe_with_little_output_is_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start("print('x')", stdout=writer)
    os.close(writer)
    assert process.communicate(timeout=20)[1] == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        process = start("print('x')", stdout=full)
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert said.startswith(b"sockcrash: error: ")
    assert b"No space left" in said
    assert said.count(b"\n") == 1


def test_interrupted() -> None:
    # A shell starts what it runs in the background with SIGINT ignored, and a child inherits that.
    listening = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = start(f"{listening}; print('up', flush=True); time.sleep(20)", stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert b"Traceback" not in process.communicate(timeout=20)[1]
    assert process.returncode == 130
