# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level AF_VSOCK, for streams and sequenced packets (net/vmw_vsock/af_vsock.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sockcrash.kernel import uapi
from sockcrash.kernel.options.codecs import U64, Codec, with_text
from sockcrash.kernel.options.row import Option, absent, field
from sockcrash.kernel.options.timeouts import TIMEVAL, timeval, timeval_text

if TYPE_CHECKING:
    from sockcrash.kernel.layout import Field
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

_TYPE = field("sock", "sk_type")
_DATAGRAM = absent("EOPNOTSUPP: datagrams have no such options")
_BYTES = with_text(U64, lambda value: f"{value} bytes")
_DEFAULT_BUFFER, _DEFAULT_MINIMUM, _DEFAULT_SECONDS = 262144, 128, 2


def _of_streams(_context: Context, type_: int, value: int) -> Any:
    return _DATAGRAM if type_ == uapi.SOCK_DGRAM else value


def _timeout(context: Context, type_: int, jiffies: int) -> Any:
    return _DATAGRAM if type_ == uapi.SOCK_DGRAM else timeval(context, jiffies)


def _row(name: str, number: int, codec: Codec, member: str, default: Any, **more: Any) -> Option:
    fields: tuple[Field, ...] = (_TYPE, field("vsock_sock", member))
    more.setdefault("value", _of_streams)
    return Option(
        "AF_VSOCK", name, number, codec, fields, default=default, kinds=("vsock",), carried=1, **more
    )


_TIMEOUT = {"sec": _DEFAULT_SECONDS, "usec": 0}

ROWS = (
    _row("SO_VM_SOCKETS_BUFFER_SIZE", 0, _BYTES, "buffer_size", _DEFAULT_BUFFER),
    _row("SO_VM_SOCKETS_BUFFER_MIN_SIZE", 1, _BYTES, "buffer_min_size", _DEFAULT_MINIMUM),
    _row("SO_VM_SOCKETS_BUFFER_MAX_SIZE", 2, _BYTES, "buffer_max_size", _DEFAULT_BUFFER),
    _row("SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD", 6, TIMEVAL, "connect_timeout", _TIMEOUT, value=_timeout,
        text=timeval_text),
    # 4c1e34c0dbff (v5.16), as sk_reserved_mem
    _row(
        "SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW", 8, TIMEVAL, "connect_timeout", _TIMEOUT, value=_timeout,
        text=timeval_text,
        given=(field("sock", "sk_reserved_mem"),),
    ),
)  # fmt: skip
