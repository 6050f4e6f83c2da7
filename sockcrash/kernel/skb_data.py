# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first bytes of the data in a sk_buff: in its head, then in the pages of its fragments (skb_copy_bits)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn
from drgn.helpers.linux.mm import page_to_virt

from sockcrash.kernel.fields_queue import DATA, FRAGMENT, SHARED
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("first_bytes",)

_MOST_FRAGMENTS = 64  # MAX_SKB_FRAGS is 45 at most
_NET_IOV = 1  # the bit of a netmem_ref that is no page
_ELSEWHERE = Absent(Reason.UNREADABLE, "the data are in a device's memory")


def first_bytes(kernel: Kernel, address: int, skip: int, count: int) -> bytes | Absent:
    """At most ``count`` bytes of a sk_buff's data behind the first ``skip``; its frag_list is not followed."""
    try:
        return _first_bytes(kernel, address, skip, count)
    except drgn.FaultError as error:
        return kernel.unreadable(error)


def _first_bytes(kernel: Kernel, address: int, skip: int, count: int) -> bytes | Absent:
    (skb,) = kernel.reader(DATA).sections(address)
    in_head = max(0, skb["len"] - skb["data_len"])
    found = b""
    if skip < in_head:
        found = kernel.read(skb["data"] + skip, min(count, in_head - skip))
    skip = max(0, skip - in_head)
    if len(found) == count or not skb["data_len"]:
        return found
    end = skb["end"]
    shared = end if end > skb["head"] else skb["head"] + end  # an offset where pointers have 64 bits
    (info,) = kernel.reader(SHARED).sections(shared)
    stride = drgn.sizeof(kernel.prog.type("skb_frag_t"))
    for number in range(min(info["nr_frags"], _MOST_FRAGMENTS)):
        (fragment,) = kernel.reader(FRAGMENT).sections(shared + number * stride)
        if fragment["page"] & _NET_IOV:
            return found or _ELSEWHERE
        start = min(skip, fragment["size"])
        skip -= start
        length = min(count - len(found), fragment["size"] - start)
        if length:
            page = drgn.Object(kernel.prog, "struct page *", value=fragment["page"])
            at = int(page_to_virt(page)) + fragment["offset"] + start
            found += kernel.read(at, length)
        if len(found) == count:
            break
    return found
