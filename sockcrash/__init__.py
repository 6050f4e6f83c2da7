# SPDX-License-Identifier: LGPL-2.1-or-later
"""Look into a kernel's sockets, live or in a vmcore."""

from __future__ import annotations

__version__ = "0.1.0"
