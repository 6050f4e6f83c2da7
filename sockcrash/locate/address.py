# SPDX-License-Identifier: LGPL-2.1-or-later
"""Is what lies at an address a socket? The proof, and the way from a socket's other objects to its struct sock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import drgn

from sockcrash.errors import NotASocketError
from sockcrash.kernel.fields import FILE, FULL, SOCKET, SOCKFS
from sockcrash.kernel.proto import Proto, proto_at, protocols
from sockcrash.kernel.sockets import Kind, kind_at

if TYPE_CHECKING:
    from sockcrash.kernel.selection import Index
    from sockcrash.kernel.view import Kernel

__all__ = ("KERNEL_SPACE", "NOT_IN_SNAPSHOT", "Handle", "by_socket", "handle_at", "prove", "sock_of")

# The kernel's half of the address space with five-level page tables; with four it begins at 0xffff800000000000.
KERNEL_SPACE = 0xFF00000000000000
NOT_IN_SNAPSHOT = "sockcrash info FILE shows what was selected when it was taken"


class Handle(NamedTuple):
    """A socket object: its address, kind, how it was named, whether it is proved to be one, and what to say of it.

    ``content``: its first bytes, if a walk has just read them; a record is begun from these.
    """

    address: int
    kind: Kind
    how: str
    proved: bool = True
    note: str = ""
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Object:
    """The slab object around an address."""

    base: int
    cache: int
    cache_name: str
    allocated: bool


def handle_at(
    kernel: Kernel,
    address: int,
    how: str,
    *,
    proved: bool = True,
    note: str = "",
) -> Handle:
    """The handle of an object that is known to be in a socket table; its kind is read from it.

    Of a snapshot of half a socket the index tells the kind.
    """
    among = () if kernel.index is None else (kernel.index[address].kind,)
    return Handle(address, kind_at(kernel, address, among), how, proved, note)


def prove(kernel: Kernel, address: int, how: str, *, force: bool = False) -> Handle:
    """A handle of the socket that an address names, proved; NotASocketError says why there is none.

    Accepted are ``struct sock *`` of any kind, addresses inside such an object, ``struct socket *`` and the
    ``struct file *`` of a socket. With ``force`` the address is read as a socket without proof.
    """
    if kernel.index is not None:
        return _held(kernel, kernel.index, address, how)
    try:
        return _prove(kernel, address, how)
    except NotASocketError:
        if not force:
            raise
    try:
        return handle_at(kernel, address, how, proved=False, note="read without proof (--force)")
    except drgn.FaultError as error:
        raise NotASocketError(how, f"{how}: no memory there: {error}") from None


def _held(kernel: Kernel, index: Index, address: int, how: str) -> Handle:
    entry = index.get(address)
    if entry is None or not entry.selected:
        raise NotASocketError(
            how,
            f"{how}: the snapshot doesn't hold a socket at {address:#x}",
            hint=NOT_IN_SNAPSHOT,
        )
    try:
        return handle_at(kernel, address, how, proved=entry.proved, note=entry.note)
    except drgn.FaultError as error:
        raise NotASocketError(how, f"{how}: the snapshot is damaged there: {error}") from None


def _prove(kernel: Kernel, address: int, how: str) -> Handle:
    if address == 0:
        raise NotASocketError(
            how, f"{how}: NULL is no socket", hint="an address of 0 in a log is a hidden pointer"
        )
    if address < KERNEL_SPACE:
        raise NotASocketError(
            how,
            f"{how}: {address:#x} is no kernel address",
            hint="kernel addresses begin with ff; ss -e prints cookies since Linux 4.1: name them sk:NUMBER",
        )
    found = _object(kernel, address, how)
    if not found.allocated:
        raise NotASocketError(
            how,
            f"{how}: the object at {found.base:#x} (slab {found.cache_name}) is freed",
            hint="the socket is gone; --force reads what is left of it, as far as the allocator kept it",
        )
    for attempt in (_as_sock, _as_kmalloc_sock, _as_socket, _as_file):
        handle = attempt(kernel, found, address, how)
        if handle is not None:
            return handle
    try:
        kernel.reader(FULL).fetch(found.base)
    except drgn.FaultError as error:
        raise NotASocketError(
            how,
            f"{how}: {address:#x} can't be proved a socket: a part of what would tell is unreadable: {error}",
            hint="inspect --all shows what is left of it, if it is one and in a table",
        ) from None
    raise NotASocketError(
        how,
        f"{how}: {address:#x} is no socket, but {_offset(address - found.base)} an object of slab {found.cache_name}",
        hint="--force reads it as struct sock nevertheless",
    )


def _offset(distance: int) -> str:
    return f"{distance} bytes inside" if distance else "the start of"


def _object(kernel: Kernel, address: int, how: str) -> _Object:
    from drgn.helpers.linux.slab import slab_object_info

    try:
        info = slab_object_info(kernel.prog, address)
    except (drgn.FaultError, ValueError, LookupError) as error:
        raise NotASocketError(how, f"{how}: {address:#x} can't be proved a socket: {error}") from None
    if info is None:
        raise NotASocketError(
            how,
            f"{how}: {address:#x} is not memory of a kernel object",
            hint="sockets come from slab caches; this is elsewhere (kernel text, data, a stack, a free page, nothing)",
        )
    cache = int(info.slab_cache)
    name = info.slab_cache.name.string_().decode("ascii", "backslashreplace")
    return _Object(int(info.address), cache, name, bool(info.allocated))


def _as_sock(kernel: Kernel, found: _Object, address: int, how: str) -> Handle | None:
    """A socket of a protocol with a slab: TCP, UDP, UNIX, RAW, and mini sockets."""
    for proto in protocols(kernel).values():
        if found.cache in (proto.twsk_slab, proto.rsk_slab):
            handle = _inside(handle_at(kernel, found.base, how), address)
            if not handle.kind.full:
                return handle
    creator = _creator(kernel, found.base)
    if creator is None or creator.slab != found.cache:
        return None
    return _inside(handle_at(kernel, found.base, how), address)


def _as_kmalloc_sock(kernel: Kernel, found: _Object, address: int, how: str) -> Handle | None:
    """A socket of a protocol without a slab (NETLINK, PACKET, XDP): its struct socket points back."""
    creator = _creator(kernel, found.base)
    if creator is None or creator.slab:
        return None
    (full,) = kernel.reader(FULL).sections(found.base)
    if not full["sk_socket"] or sock_of(kernel, full["sk_socket"]) != found.base:
        return None
    return _inside(handle_at(kernel, found.base, how), address)


def _inside(handle: Handle, address: int) -> Handle:
    if handle.address == address:
        return handle
    note = f"{address:#x} lies {address - handle.address} bytes inside of the socket at {handle.address:#x}"
    return Handle(handle.address, handle.kind, handle.how, handle.proved, note)


def _creator(kernel: Kernel, address: int) -> Proto | None:
    try:
        (full,) = kernel.reader(FULL).sections(address)
    except drgn.FaultError:
        return None
    return proto_at(kernel, full["sk_prot_creator"])


def sock_of(kernel: Kernel, socket: int) -> int:
    """The ``struct sock *`` of a ``struct socket *``; 0 if there is none, or it can't be read."""
    try:
        (row,) = kernel.reader(SOCKET).sections(socket)
    except drgn.FaultError:
        return 0
    return int(row["sk"])


def _as_socket(kernel: Kernel, found: _Object, address: int, how: str) -> Handle | None:
    """A struct socket, or its inode: both lie in one ``struct socket_alloc`` (net/socket.c, sock_alloc_inode)."""
    for socket in (address, found.base, *_socket_candidates(kernel, found.base)):
        handle = _through_socket(kernel, socket, how)
        if handle is not None:
            note = (
                f"{address:#x} belongs to struct socket {socket:#x}, whose struct sock is {handle.address:#x}"
            )
            return Handle(handle.address, handle.kind, how, note=note)
    return None


def _socket_candidates(kernel: Kernel, base: int) -> tuple[int, ...]:
    """Where the struct socket lies in its inode's slab object: after the xattrs of ``struct sockfs_inode`` in 7.2."""
    return tuple(base + offset for offset in kernel.offsets(SOCKFS).values())


def _through_socket(kernel: Kernel, socket: int, how: str) -> Handle | None:
    sk = sock_of(kernel, socket)
    if sk < KERNEL_SPACE:
        return None
    try:
        (full,) = kernel.reader(FULL).sections(sk)
        if full["sk_socket"] != socket:
            return None
        return _prove_sock(kernel, sk, how)
    except drgn.FaultError:
        return None


def _prove_sock(kernel: Kernel, sk: int, how: str) -> Handle | None:
    try:
        found = _object(kernel, sk, how)
    except NotASocketError:
        return None
    if not found.allocated or found.base != sk:
        return None
    return _as_sock(kernel, found, sk, how) or _as_kmalloc_sock(kernel, found, sk, how)


def _as_file(kernel: Kernel, found: _Object, address: int, how: str) -> Handle | None:
    operations = int(kernel.prog["socket_file_ops"].address_ or 0)
    try:
        (row,) = kernel.reader(FILE).sections(found.base)
    except drgn.FaultError:
        return None
    if row["f_op"] != operations:
        return None
    handle = _through_socket(kernel, row["private_data"], how)
    if handle is None:
        return None
    note = f"{address:#x} is a struct file of struct socket {row['private_data']:#x}, struct sock {handle.address:#x}"
    return Handle(handle.address, handle.kind, how, note=note)


def by_socket(kernel: Kernel, socket: int, how: str) -> Handle | None:
    """The handle of the socket behind a ``struct socket *`` that a descriptor led to (which is proof enough)."""
    sk = sock_of(kernel, socket)
    return handle_at(kernel, sk, how) if sk else None
