# SPDX-License-Identifier: LGPL-2.1-or-later
"""What callers of helpers may give: objects of drgn, addresses, SPECs; and drgn's objects for handles."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import drgn

from sockcrash.errors import NotASocketError, UsageError
from sockcrash.locate import locate
from sockcrash.locate.address import Handle, handle_at, prove
from sockcrash.locate.netns import find_netns
from sockcrash.locate.spec import FORMS, parse_spec
from sockcrash.model import SocketRecord
from sockcrash.target.adopt import adopt

if TYPE_CHECKING:
    from drgn import Object, Program

    from sockcrash.kernel.view import Kernel

__all__ = ("complain", "handle_of", "handles_of", "kernel_of_program", "netns_inode", "object_of")

logger = logging.getLogger("sockcrash")


_LED_TO = ("struct socket", "struct file")


def complain(message: str) -> None:
    """What could not be read, on the way to an answer."""
    logger.warning("%s", message)


def kernel_of_program(prog: Program) -> Kernel:
    """The Kernel of any Program of a Linux kernel. UsageError if it is of something else."""
    if not prog.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise UsageError("this program is no Linux kernel")
    return adopt(prog)


def handle_of(kernel: Kernel, sk: Object | SocketRecord | int | str) -> Handle:
    """The one socket that ``sk`` is or names.

    An Object of a socket's struct is believed, as drgn's helpers do; everything else is proved. Raises
    NotASocketError, and UsageError if several sockets go by a SPEC.
    """
    found = handles_of(kernel, sk)
    if len(found) > 1:
        addresses = ", ".join(f"{handle.address:#x}" for handle in found)
        raise UsageError(f"{sk}: {len(found)} sockets go by it: {addresses}", hint="name one of them")
    return found[0]


def handles_of(kernel: Kernel, sk: Object | SocketRecord | int | str) -> list[Handle]:
    """All sockets that ``sk`` names; never none."""
    if isinstance(sk, str):
        return _named(kernel, sk)
    if isinstance(sk, drgn.Object):
        return [_of_object(kernel, sk)]
    address = sk.address if isinstance(sk, SocketRecord) else sk
    return [prove(kernel, address, f"{address:#x}")]


def _named(kernel: Kernel, text: str) -> list[Handle]:
    spec = parse_spec(text)
    if spec.form == "text":
        raise UsageError(f"{text!r} names a text, not a socket", hint=FORMS)
    (located,) = locate(kernel, [spec], complain)
    if located.error is not None:
        raise located.error
    return located.handles


def _of_object(kernel: Kernel, sk: Object) -> Handle:
    pointer = sk.type_.kind == drgn.TypeKind.POINTER
    address = sk.value_() if pointer else sk.address_
    if address is None:
        raise NotASocketError(repr(sk), "it is a value, not an object in the kernel's memory")
    name = (sk.type_.type if pointer else sk.type_).type_name()
    if name in _LED_TO or kernel.index is not None:
        return prove(kernel, address, f"{address:#x}")
    return handle_at(kernel, address, f"{address:#x}")


def netns_inode(kernel: Kernel, netns: Object | int | str | None) -> int | None:
    """The inode of a network namespace. Raises NotASocketError if none is called that."""
    if netns is None or isinstance(netns, int):
        return netns
    if isinstance(netns, str):
        return find_netns(kernel, netns, complain)
    return int(netns.ns.inum)


def object_of(kernel: Kernel, handle: Handle) -> Object:
    """``struct sock *`` of a full socket; of a mini socket a pointer to its own, shorter, struct."""
    ctype = "struct sock" if handle.kind.full else handle.kind.ctype
    return drgn.Object(kernel.prog, f"{ctype} *", handle.address)
