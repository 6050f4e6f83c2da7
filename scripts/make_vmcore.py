# SPDX-License-Identifier: LGPL-2.1-or-later
"""One bundled vmcore from one full dump: snapshot, types, truth and an account of how it was made."""

from __future__ import annotations

import hashlib
import json
import lzma
import subprocess
import sys
from pathlib import Path
from typing import Any

TEMPLATE = """\
# How this vmcore was made: `scripts/make-vmcores {series}`
kernel = "{release}"
series = "{series}"
sockets = {sockets}
taken = "{taken}"
made-by = "{tool}"
how = "a guest under QEMU ran tests/guest, was dumped by dump-guest-memory, and sockcrash snapshot --all kept this"

[sha256]
"""


def main(dump: Path, shelf: Path) -> None:
    """Put the bundle of ``dump`` onto ``shelf``."""
    series = dump.name
    place = shelf / series
    place.mkdir(parents=True, exist_ok=True)
    core, types = place / "vmcore.xz", place / "types.xz"
    command = [
        "snapshot",
        "-c",
        str(dump / "vmcore"),
        "--all",
        "-o",
        str(core),
        "--types-in",
        str(types),
        "--force",
    ]
    subprocess.run([sys.executable, "-m", "sockcrash", *command], check=True)
    truth = json.loads((dump / "truth.json").read_text())
    (place / "truth.json.xz").write_bytes(
        lzma.compress(json.dumps(truth, separators=(",", ":")).encode(), preset=9)
    )
    (place / "meta.toml").write_text(_account(series, core, place))
    print(f"{place}: {sum(path.stat().st_size for path in place.iterdir())} bytes", file=sys.stderr)


def _account(series: str, core: Path, place: Path) -> str:
    command = [sys.executable, "-m", "sockcrash", "info", "--json", str(core)]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    text = TEMPLATE.format(
        series=series,
        release=told["target"]["release"],
        sockets=told["info"]["what"].split()[3],
        taken=told["target"]["taken"],
        tool=told["target"]["tool"],
    )
    for path in sorted(place.glob("*.xz")):
        text += f'"{path.name}" = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
