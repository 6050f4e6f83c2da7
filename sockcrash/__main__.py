# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python3 -m sockcrash``."""

from sockcrash.cli import main

main()
