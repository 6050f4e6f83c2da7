# SPDX-License-Identifier: LGPL-2.1-or-later
"""RAW sockets, which are two structs: raw_sock and raw6_sock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.decode.computed import amend
from sockcrash.kernel import uapi
from sockcrash.kernel.fields_datagram import RAW, RAW6

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields",)


def fields(kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The raw section."""
    reader = kernel.reader(RAW if parts.identity["skc_family"] == uapi.AF_INET else RAW6)
    try:
        (own,) = reader.sections(parts.address)
    except drgn.FaultError:
        (own,) = reader.salvaged(parts.address)
    return {"raw": amend(own, parts.memory_queues())}
