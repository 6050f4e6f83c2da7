# SPDX-License-Identifier: LGPL-2.1-or-later
"""``sockcrash info``: what a snapshot or dump is, when and how it was taken, and what it holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from sockcrash.cli.params import log_options, output_options

if TYPE_CHECKING:
    from sockcrash.snapshot.format import Snapshot

__all__ = ("command",)


@click.command("info")
@click.argument("file", type=click.Path())
@output_options("text", "json")
@log_options
def command(file: str, output_format: str) -> int:
    """Show what FILE holds, when it was taken, of which kernel, and by what.

    \b
    For example:
      sockcrash info sockets.xz
    """
    from sockcrash.render import json
    from sockcrash.render.units import show
    from sockcrash.target import TargetOptions, open_target
    from sockcrash.target.snapshot import is_snapshot_file, read_snapshot

    if is_snapshot_file(file):
        snapshot = read_snapshot(file)
        facts = _of_snapshot(snapshot)
        target: dict[str, Any] = {name: snapshot.meta.get(name) for name in ("release", "taken", "tool")}
        target = {"source": "snapshot", **target}
    else:
        opened = open_target(TargetOptions(core=file))
        target = opened.describe()
        facts = {
            "what": "a vmcore",
            "kernel": opened.release,
            "taken": opened.taken,
            "notes": list(opened.notes),
        }
    if output_format == "json":
        click.echo(json.dumps({"schema": json.SCHEMA, "target": target, "info": facts}))
        return 0
    click.echo(f"{file}: {facts.pop('what')}")
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else show(value)
        click.echo(f"  {name:<10} {shown}")
    return 0


def _of_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    meta = snapshot.meta
    sockets = meta["sockets"]
    kinds = Counter(entry["kind"] for entry in sockets)
    types = [f"{name} ({len(blob)} bytes)" for name, blob in sorted(snapshot.btf.items())]
    ranges = list(snapshot.ranges)
    return {
        "what": f"a snapshot of {len(sockets)} sockets",
        "kernel": meta["release"],
        "taken": meta["taken"],
        "from": {"live": "the running kernel", "qemu": "a QEMU guest"}.get(
            meta["source"], f"a {meta['source']}"
        ),
        "written": f"{meta['written']} by {meta['tool']}",
        "selected": meta["selection"],
        "sockets": [f"{count} {kind}" for kind, count in kinds.most_common()],
        "torn": sum(entry["torn"] for entry in sockets),
        "memory": f"{sum(len(data) for _, data in ranges)} bytes in {len(ranges)} ranges",
        "types": types or [f"in {meta.get('types')} beside it"],
    }
