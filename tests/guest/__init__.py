# SPDX-License-Identifier: LGPL-2.1-or-later
"""What runs inside a guest: opens sockets of every state, and records what that kernel says of them.

Standard library only, Python 3.11, root. Started by scripts/vm as `python3 -m tests.guest`.
"""
