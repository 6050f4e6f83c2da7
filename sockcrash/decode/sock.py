# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the members of a struct sock say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.decode.computed import append
from sockcrash.model import Absent, Section

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("INPUTS", "sock_section")


INPUTS = ("sk_drops", "drops0", "drops1")


def sock_section(kernel: Kernel, sock: Section) -> Section:
    """The sock section with ``drops``: sk_drops_read(), the sum of sk_drop_counters if the socket has them.

    A section without the members that it is made of is left as it is.
    """
    if "drops0" not in sock:
        return sock
    first, second = sock["drops0"], sock["drops1"]
    own = isinstance(first, Absent) or isinstance(second, Absent)
    return append(kernel, sock, {"drops": sock["sk_drops"] if own else first + second})
