# SPDX-License-Identifier: LGPL-2.1-or-later
"""VSOCK sockets, between a virtual machine and its host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.model import Absent, Endpoint, Section

if TYPE_CHECKING:
    from sockcrash.decode.parts import Parts
    from sockcrash.kernel.view import Kernel

__all__ = ("fields",)


def fields(_kernel: Kernel, parts: Parts) -> dict[str, Any]:
    """The vsock section and its ends."""
    return {
        "vsock": parts.own,
        "local": _end(parts.own, "local_addr"),
        "peer": _end(parts.own, "remote_addr"),
    }


def _end(own: Section, name: str) -> Endpoint | Absent:
    """CID and port; 0xffffffff (VMADDR_CID_ANY, VMADDR_PORT_ANY) where there is none."""
    cid, port = own[f"{name}.svm_cid"], own[f"{name}.svm_port"]
    return cid if isinstance(cid, Absent) else Endpoint(cid=cid, port=port)
