# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash verify``: what memory says of socket options against what getsockopt says, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sockcrash.cli.errors import CHECK_FAILED
from sockcrash.cli.params import output_options, target_options

if TYPE_CHECKING:
    from sockcrash.cli.session import Session
    from sockcrash.model import Account
    from sockcrash.target import TargetOptions

__all__ = ("command",)

_SEED = 1


@click.command("verify")
@click.argument("pids", metavar="[PID]...", nargs=-1, type=int)
@click.option(
    "--truth",
    type=click.Path(),
    metavar="FILE",
    help="What the dumped kernel said. [default: beside the dump]",
)
@click.option(
    "--seed", type=int, default=_SEED, show_default=True, help="Which options the opened sockets get."
)
@output_options("text", "json")
@target_options
def command(
    target: TargetOptions, pids: tuple[int, ...], truth: str | None, seed: int, output_format: str
) -> int:
    """Prove it on this kernel: compare options read from memory with getsockopt's answers, byte for byte.

    Without PID, sockets of every family are opened with a spread of options; with it, the sockets of running
    processes are asked (by duplicates of their descriptors, and only options whose reading changes nothing).
    In a dump, with what its kernel said when it was taken.

    The exit status is 5 if anything disagrees, or if the kernel answers an option that is unknown here.

    \b
    For example:
      sockcrash verify
      sockcrash verify 1234
      sockcrash verify -c vmcore --truth truth.json
    """
    from sockcrash.cli.session import Session

    wanted = _truth_of(target, truth, pids)
    session = Session(target)
    account = _compared(session, wanted, pids, seed)
    if output_format == "json":
        from sockcrash.render.json import SCHEMA, dumps
        from sockcrash.render.verify import account_object

        document = {"schema": SCHEMA, "target": session.target.describe(), "verify": account_object(account)}
        click.echo(dumps(document))
    else:
        from sockcrash.render.verify import account_text

        for line in account_text(account):
            click.echo(line)
    return CHECK_FAILED if not account.agrees else session.status


def _truth_of(target: TargetOptions, truth: str | None, pids: tuple[int, ...]) -> Path | None:
    """The record to compare a dump with; None on the running kernel."""
    from sockcrash.errors import UsageError
    from sockcrash.verify.recorded import find_truth

    if target.core is None:
        if target.qemu is not None or truth is not None:
            raise UsageError(
                "verify asks the running kernel, or compares a dump (-c) with a record (--truth)"
            )
        return None
    if pids:
        raise UsageError("processes of a dump can't be asked", hint="leave the PIDs out, or leave -c out")
    found = Path(truth) if truth is not None else find_truth(target.core)
    if found is None:
        raise UsageError(
            f"beside {target.core} lies no record of what its kernel said", hint="name one by --truth FILE"
        )
    return found


def _compared(session: Session, truth: Path | None, pids: tuple[int, ...], seed: int) -> Account:
    if truth is not None:
        from sockcrash.locate import all_sockets
        from sockcrash.verify.recorded import load_truth, verify_record

        handles = all_sockets(session.kernel, session.complain)
        return verify_record(session.kernel, handles, load_truth(truth), session.complain)
    from sockcrash.verify.live import verify_own, verify_processes

    if pids:
        return verify_processes(session.kernel, pids, session.complain)
    return verify_own(session.kernel, seed, session.complain)
