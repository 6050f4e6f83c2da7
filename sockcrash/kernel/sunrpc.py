# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whom an RPC socket serves: NFS and its like, as client (net/sunrpc/xprtsock.c) or server (net/sunrpc/svcsock.c).

The types belong to the module sunrpc, so they may not be known.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.chains import pointer, ring
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place
from sockcrash.kernel.names import address_of
from sockcrash.kernel.namespaces import namespaces
from sockcrash.kernel.once import once

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("Remote", "client", "server")

_X = "struct rpc_xprt"
_CLIENT = Group("rpc_xprt", (row("addr", _X),))
_V = "struct svc_sock"
_SERVER = Group(
    "svc_sock",
    (
        row("xpt_remote", _V, "sk_xprt.xpt_remote"),
        # "SUNRPC: replace program list with program array" (v6.12)
        row("pg_name", _V, Place("sk_xprt.xpt_server->sv_programs->pg_name", since="v6.12"),
            "sk_xprt.xpt_server->sv_program->pg_name"),
    ),
)  # fmt: skip
_OF_NET = Group("sunrpc_net", (row("all_clients", "struct sunrpc_net"),))
_GENERIC = Group("net_generic_of_net", (row("gen", "struct net"),))
_ARRAY = Group("net_generic", (row("ptr", "struct net_generic"),))
_C = "struct rpc_clnt"
_CLNT = Group("rpc_clnt", (row("cl_xprt", _C), row("name", _C, "cl_program->name")))
_CLNT_LINK = Group("rpc_clnt_link", (row("cl_clients", _C),))
_MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Remote:
    """The program that speaks (nfs, nfsd, mount, ...), and the other side's address with its port."""

    program: str | None
    address: str | None


def client(kernel: Kernel, xprt: int) -> Remote | None:
    """Of the ``struct rpc_xprt *`` of a client's socket; None if the types are not known. Raises drgn.FaultError."""
    (section,) = kernel.reader(_CLIENT).sections(xprt)
    if not isinstance(section["addr"], bytes):
        return None
    return Remote(_programs(kernel).get(xprt), _address(kernel, section["addr"]))


def server(kernel: Kernel, sock: int) -> Remote | None:
    """Of the ``struct svc_sock *`` of a server's socket; likewise."""
    (section,) = kernel.reader(_SERVER).sections(sock)
    if not isinstance(section["xpt_remote"], bytes):
        return None
    return Remote(_name(kernel, section["pg_name"]), _address(kernel, section["xpt_remote"]))


def _address(kernel: Kernel, raw: bytes) -> str | None:
    """A ``struct sockaddr_storage``; None if it is of no family that has addresses, or empty."""
    (family,) = struct.unpack_from(kernel.byte_order + "H", raw)
    (port,) = struct.unpack_from(">H", raw, 2)
    if family == uapi.AF_INET and any(raw[4:8]):
        return f"{socket.inet_ntop(socket.AF_INET, raw[4:8])}:{port}"
    if family == uapi.AF_INET6 and any(raw[8:24]):
        return f"[{socket.inet_ntop(socket.AF_INET6, raw[8:24])}]:{port}"
    return None


def _name(kernel: Kernel, text: object) -> str | None:
    if not isinstance(text, int) or not text:
        return None
    return str(kernel.prog.read_c_string(text, max_size=_MAX_NAME).decode("ascii", "backslashreplace"))


@once
def _programs(kernel: Kernel) -> dict[int, str]:
    """The program of each ``struct rpc_xprt *`` that a client uses, in all namespaces."""
    return dict(_find_programs(kernel))


def _find_programs(kernel: Kernel) -> Iterator[tuple[int, str]]:
    clients, link = kernel.offsets(_OF_NET).get("all_clients"), kernel.offsets(_CLNT_LINK).get("cl_clients")
    if clients is None or link is None:
        return
    address = address_of(kernel, "sunrpc_net_id", of_module=True)
    if address is None:
        return
    (number,) = struct.unpack(kernel.byte_order + "I", kernel.read(address, 4))
    trouble: list[str] = []
    for net in namespaces(kernel, trouble.append):
        try:
            (generic,) = kernel.reader(_GENERIC).sections(net)
            own = pointer(kernel, generic["gen"] + kernel.offsets(_ARRAY)["ptr"] + 8 * number)
            for one in ring(kernel, own + clients, link, trouble.append):
                (section,) = kernel.reader(_CLNT).sections(one)
                name = _name(kernel, section["name"])
                if name is not None:
                    yield section["cl_xprt"], name
        except drgn.FaultError:
            continue
