# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a machine stands as a whole: what its sockets add up to, and what the kernel itself has counted."""
