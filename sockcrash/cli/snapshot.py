# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash snapshot``: a small vmcore of just the selected sockets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sockcrash.cli.params import filter_option, netns_option, target_options

if TYPE_CHECKING:
    from sockcrash.filter import Filter
    from sockcrash.target import TargetOptions

__all__ = ("command",)


@click.command("snapshot")
@click.argument("specs", metavar="[SPEC]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every socket of every namespace.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The file; .xz, .gz, .zst pack."
)
@click.option(
    "--types-in", type=click.Path(path_type=Path), help="Write the types (BTF) to this file beside it."
)
@click.option("--force", is_flag=True, help="Overwrite files; take addresses that can't be proved.")
@netns_option
@filter_option
@target_options
def command(
    target: TargetOptions,
    specs: tuple[str, ...],
    everything: bool,
    output: Path,
    types_in: Path | None,
    force: bool,
    netns: str | None,
    selected: Filter | None,
) -> int:
    """Write an ordinary ELF vmcore that holds only the memory that the selected sockets needed.

    It holds no queued data, no keys, and nothing of other processes; every command gives the same answers on it as
    on its source: sockcrash inspect -c FILE --all.

    \b
    For example:
      sockcrash snapshot -o sockets.xz --all
      sockcrash snapshot -c vmcore -o one.xz ffff8802305a0800
    """
    from sockcrash.cli.session import Session, parse_specs
    from sockcrash.errors import NotASocketError
    from sockcrash.snapshot.files import check_writable, write_content
    from sockcrash.snapshot.format import serialize
    from sockcrash.snapshot.take import split_types, take, taken_meta

    for path in filter(None, (output, types_in)):
        check_writable(path, force=force)
    if types_in is not None and types_in.parent.resolve() != output.parent.resolve():
        raise click.UsageError("--types-in names a file beside the snapshot, in the same directory")
    parsed = parse_specs(specs, everything=everything, selected=selected)
    session = Session(target)
    found = session.handles(parsed, force=force, netns=netns, selected=selected)
    handles = {handle.address: handle for handle in found}
    if not handles:
        raise NotASocketError(" ".join(specs), "nothing was selected, so nothing is written")
    pairs = [
        (handle, record)
        for handle in handles.values()
        for record in session.records([handle], many=not parsed or len(handles) > 8)
    ]
    selection = [*(specs or ["--all"]), *(["--netns", netns] if netns else [])]
    selection += ["--filter", selected.text] if selected else []
    meta = taken_meta(session.target.describe(), selection)
    snapshot = take(session.kernel, pairs, meta, session.complain)
    torn = sum(entry["torn"] for entry in snapshot.meta["sockets"])
    if types_in is not None:
        snapshot, types = split_types(snapshot, types_in.name)
        write_content(types_in, serialize(types), force=force)
    size = write_content(output, serialize(snapshot), force=force)
    click.echo(f"{output}: {len(pairs)} sockets, {size} bytes", err=True)
    if torn:
        session.unreadable = True
        click.echo(f"{torn} of them changed while they were read and are marked torn", err=True)
    if session.kernel.live:
        click.echo("note: it reveals where this kernel is loaded (KASLR) until the next boot", err=True)
    return session.status
