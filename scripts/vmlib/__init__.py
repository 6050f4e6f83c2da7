# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real Debian kernels under emulation: fetch, boot, run, dump. The command is scripts/vm."""
