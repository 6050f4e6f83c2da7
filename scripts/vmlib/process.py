# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starting programs that never outlive us."""

from __future__ import annotations

import functools
import os
import subprocess
from typing import TYPE_CHECKING, Any

from .errors import VmError

if TYPE_CHECKING:
    from collections.abc import Sequence

Done = subprocess.CompletedProcess[str]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOUND = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "--",
)  # killed when the thread that starts it ends, however it ends


@functools.cache
def _contained() -> tuple[str, ...]:
    """A prefix that gives a program mounts and processes of its own, which end with it; () if not allowed."""
    prefix = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    allowed = not subprocess.run([*prefix, "true"], capture_output=True).returncode
    return prefix if allowed else ()


def run(
    argv: Sequence[str],
    timeout: float = 600,
    contained: bool = False,
    check: bool = True,
    bound: bool = True,
    **options: Any,
) -> Done:
    """Run a program to its end, quietly; VmError with its last words if it fails or takes over `timeout` seconds.

    `bound`: it is killed when this process ends; `contained`: so is all that it starts, its mounts vanish.
    """
    prefix = (*(BOUND if bound else ()), *(_contained() if contained else ()))
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stdin", subprocess.DEVNULL)
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            [*prefix, *argv],
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
            env=environment,
            **options,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VmError(f"{argv[0]}: {error}") from error
    if check and done.returncode:
        words = "\n".join(((done.stdout or "") + done.stderr).strip().splitlines()[-15:])
        raise VmError(f"{' '.join(argv[:4])} ... ended with {done.returncode}:\n{words}")
    return done
