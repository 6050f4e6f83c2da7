# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kinds of socket other than TCP have of their own: a section, and for some their ends and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.decode import mptcp, netlink, packet, raw, udp, unix, vsock, xdp

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("family_fields",)

_FIELDS: dict[str, Callable[[Kernel, Parts], dict[str, Any]]] = {
    "mptcp": mptcp.fields,
    "udp": udp.fields,
    "udplite": udp.fields,
    "raw": raw.fields,
    "unix": unix.fields,
    "packet": packet.fields,
    "netlink": netlink.fields,
    "vsock": vsock.fields,
    "xdp": xdp.fields,
}


def family_fields(kernel: Kernel, kind: str, parts: Parts) -> dict[str, Any]:
    """Fields of a SocketRecord that this kind of socket fills itself."""
    fields = _FIELDS.get(kind)
    return fields(kernel, parts) if fields else {}
