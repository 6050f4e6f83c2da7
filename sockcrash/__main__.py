# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python3 -m sockcrash``, and the console script: Ctrl-C ends it quietly from its first moment on."""

from __future__ import annotations

import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """Import the command line and run it."""
    try:
        from sockcrash.cli import main as run_and_exit

        run_and_exit()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
