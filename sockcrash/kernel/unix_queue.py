# SPDX-License-Identifier: LGPL-2.1-or-later
"""What waits in the receive queue of a UNIX socket: messages, or of a listener the clients to be accepted."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockcrash.kernel.chains import Complain, ring
from sockcrash.kernel.fields_unix import UNIX_CB, UNIX_QUEUE, UNIX_SKB

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("Message", "messages")


@dataclass(frozen=True, slots=True)
class Message:
    """A sk_buff: payload bytes that were not read yet, the ``struct sock *`` it belongs to or 0.

    ``files``: the ``struct scm_fp_list *`` of what travels with it (SCM_RIGHTS), or 0.
    """

    unread: int
    sk: int
    files: int


def messages(kernel: Kernel, address: int, complain: Complain) -> list[Message]:
    """All sk_buffs in the receive queue of the socket at ``address``. Raises drgn.FaultError."""
    head = address + kernel.offsets(UNIX_QUEUE)["sk_receive_queue"]
    reader = kernel.reader(UNIX_SKB)
    link = kernel.offsets(UNIX_SKB)["next"]
    private = kernel.offsets(UNIX_CB)
    consumed_at = struct.Struct(kernel.byte_order + "I").unpack_from
    pointer_at = struct.Struct(kernel.byte_order + "Q").unpack_from
    found: list[Message] = []
    for skb in ring(kernel, head, link, complain):
        (section,) = reader.sections(skb)
        (consumed,) = consumed_at(section["cb"], private["consumed"])
        (files,) = pointer_at(section["cb"], private["fp"])
        found.append(Message(section["len"] - consumed, section["sk"], files))
    return found
