# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which BPF sockmaps hold a socket (net/core/skmsg.c, net/core/sock_map.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockcrash.kernel.chains import Complain, ring
from sockcrash.kernel.fields import FULL, IDENTITY, row
from sockcrash.kernel.layout import Group

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("USER_DATA_FLAGS", "SockMap", "sockmaps_of")

USER_DATA_FLAGS = 7  # in the low bits of sk_user_data: SK_USER_DATA_NOCOPY, _BPF, _PSOCK
_PSOCK = Group("sk_psock", (row("sk", "struct sk_psock"),))
_LINKS = Group("sk_psock_links", (row("link", "struct sk_psock"), row("list", "struct sk_psock_link")))
_LINK = Group(
    "sk_psock_link",
    (
        row("map", "struct sk_psock_link"),
        row("id", "struct sk_psock_link", "map->id"),
        row("map_name", "struct sk_psock_link", "map->name", to="name", by="text"),
    ),
)


@dataclass(frozen=True, slots=True)
class SockMap:
    """A map: its ``struct bpf_map *``, the number that bpftool knows it by, and its name."""

    address: int
    id: int
    name: str


def sockmaps_of(kernel: Kernel, sk: int, user_data: int, complain: Complain) -> list[SockMap]:
    """The maps that a full socket is in. Raises drgn.FaultError.

    What sk_user_data leads to is a sk_psock if that points back and the protocol's operations were replaced.
    """
    psock = user_data & ~USER_DATA_FLAGS
    identity, full = kernel.reader(IDENTITY, FULL).sections(sk)
    if not psock or identity["skc_prot"] == full["sk_prot_creator"]:
        return []
    (section,) = kernel.reader(_PSOCK).sections(psock)
    if section["sk"] != sk:
        return []
    offsets = kernel.offsets(_LINKS)
    links = ring(kernel, psock + offsets["link"], offsets["list"], complain)
    found = [section for link in links for section in kernel.reader(_LINK).sections(link)]
    return [SockMap(one["map"], one["id"], one["name"]) for one in found if isinstance(one["id"], int)]
