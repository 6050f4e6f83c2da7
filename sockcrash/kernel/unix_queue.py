# SPDX-License-Identifier: LGPL-2.1-or-later
"""What waits in the receive queue of a UNIX socket: messages, or of a listener the clients to be accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockcrash.kernel.chains import Complain, pointer
from sockcrash.kernel.fields_queue import QUEUES, UNIX_CB
from sockcrash.kernel.skbuff import cb_part, listed

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
    head = address + kernel.offsets(QUEUES)["receive"]
    part = cb_part(kernel, UNIX_CB)
    found: list[Message] = []
    for skb in listed(kernel, pointer(kernel, head), head, complain):
        own = part(skb.cb)
        found.append(Message(skb.len - own["consumed"], skb.sk, own["fp"]))
    return found
