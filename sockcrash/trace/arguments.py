# SPDX-License-Identifier: LGPL-2.1-or-later
"""A traced call's arguments into words: option by name, value by the option's own type, socket by its members."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sockcrash.decode.endpoint import end, host_order
from sockcrash.kernel import uapi
from sockcrash.kernel.options.given import STORAGE, given, level_name
from sockcrash.kernel.probes import HEAD, runs
from sockcrash.model import Absent, Reason
from sockcrash.trace.call import Call, Head, Traced
from sockcrash.trace.load import SHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.options.given import Given
    from sockcrash.kernel.view import Kernel
    from sockcrash.trace.calls import Began, Finished

__all__ = ("Arguments", "late_memory", "put_together")

_SECRET = Absent(Reason.SECRET, "never fetched")
_UNKNOWN = Absent(Reason.NO_TYPE_INFO, "an unknown option: its value is not fetched")
_NOT_FETCHED = Absent(Reason.NOT_APPLICABLE, "not fetched")
_NO_SOCKET = Absent(Reason.NOT_APPLICABLE, "the descriptor is no socket")
_NULL = Absent(Reason.NOT_APPLICABLE, "a NULL pointer")
_LOST = Absent(Reason.UNREADABLE, "its page was not in memory when the call began")
_MOST_LATE = 512
_SHORT_REQUEST = 136  # struct group_req, which has no source
_MOST_SOCKETS = 4096


def late_memory(tid: int, address: int, size: int) -> bytes:
    """The memory of a thread after its call; b"" if it can't be read any more."""
    try:
        with Path(f"/proc/{tid}/mem").open("rb", buffering=0) as file:
            file.seek(address)
            return file.read(size) or b""
    except (OSError, ValueError, OverflowError):
        return b""


def put_together(value: bytes, source: bytes, length: int) -> bytes:
    """A multicast request of ``length`` bytes: its begin, and the source in the struct sockaddr_storage at its end."""
    if not source:
        return value[:length].ljust(length, b"\0")
    return value.ljust(length - STORAGE, b"\0") + source.ljust(STORAGE, b"\0")


class Arguments:
    """Makes Calls of what was seen; ``late`` reads the memory of a thread afterwards."""

    def __init__(
        self,
        kernel: Kernel,
        late: Callable[[int, int, int], bytes] = late_memory,
    ) -> None:
        self._kernel = kernel
        self._reader = kernel.reader(HEAD)
        self._runs = runs(kernel)
        self._late = late
        self._sockets: dict[tuple[Any, ...], Traced] = {}

    def call(self, finished: Finished) -> Call:
        """The call with names and values."""
        began = finished.began
        arguments = began.arguments
        level, number, length = arguments["level"], arguments["optname"], arguments["optlen"]
        option = given(level, number)
        raw, late = self._raw(began, option)
        value, text = self._value(raw, option)
        switch = None
        if option is not None and option.switch and isinstance(value, int):
            switch = bool(value)
        return Call(
            time=began.ns / 1e9,
            ns=finished.ns,
            comm=began.comm,
            pid=began.pid,
            tid=began.tid,
            via=began.via,
            fd=arguments["fd"],
            level=level_name(level),
            level_number=level,
            name=str(number) if option is None else option.name,
            number=number,
            length=length,
            value=value,
            text=text,
            raw=raw if isinstance(raw, Absent) else raw[:length],
            late=late,
            switch=switch,
            result=finished.result,
            socket=self._socket(began.socket),
        )

    def _raw(self, began: Began, option: Given | None) -> tuple[bytes | Absent, bool]:
        """The bytes of the value, and whether they were read after the call."""
        arguments = began.arguments
        if option is not None and option.secret:
            return _SECRET, False
        if "value" not in arguments:
            without = SHED if began.light else _NOT_FETCHED
            return _UNKNOWN if option is None else without, False
        address, length = arguments["at"], min(arguments["optlen"], _MOST_LATE)
        if not address:
            return _NULL, False
        if length <= 0:
            return b"", False
        if arguments["mapped"] is not None and length <= len(arguments["value"]):
            return arguments["value"][:length], False
        whole = began.source or length <= _SHORT_REQUEST
        if arguments["mapped"] is not None and option is not None and option.sparse and whole:
            return put_together(arguments["value"], began.source, length), False
        late = self._late(began.tid, address, length)
        if len(late) == length:
            return late, True
        return (_LOST if arguments["mapped"] is None else arguments["value"]), False

    def _value(self, raw: bytes | Absent, option: Given | None) -> tuple[Any, str]:
        if isinstance(raw, Absent):
            return raw, ""
        if option is None or option.read is None:
            return raw.hex(), raw.hex() or "none"
        try:
            value = option.read(raw, self._kernel.byte_order)
            return value, option.text(value)
        except (ValueError, KeyError, TypeError, IndexError, OverflowError):
            why = f"no value of {option.name}"
            return Absent(Reason.NOT_APPLICABLE, why), ""

    def _socket(self, fields: dict[str, Any] | None) -> Traced | Absent:
        if fields is None:
            return _NO_SOCKET
        key = tuple(fields.get(name) for name in ("sk", "inode", *self._runs))
        if key not in self._sockets:
            if len(self._sockets) >= _MOST_SOCKETS:
                self._sockets.clear()
            self._sockets[key] = Traced(fields["sk"], fields["inode"], self._head(fields))
        return self._sockets[key]

    def _head(self, fields: dict[str, Any]) -> Head | Absent:
        if not self._runs.keys() <= fields.keys():
            return SHED
        kernel = self._kernel
        content = bytearray(self._reader.size)
        for name, (offset, words) in self._runs.items():
            content[offset : offset + 8 * words] = fields[name]
        (head,) = self._reader.sections(fields["sk"], bytes(content))
        family, state = head["skc_family"], head["skc_state"]
        protocols = uapi.NETLINK_PROTOCOLS if family == uapi.AF_NETLINK else uapi.PROTOCOLS
        return Head(
            uapi.name_of(uapi.FAMILIES, family),
            uapi.name_of(uapi.TYPES, head["sk_type"]),
            uapi.name_of(protocols, head["sk_protocol"]),
            uapi.name_of(uapi.TCP_STATES, state),
            end(kernel, family, head["skc_rcv_saddr"], head["skc_v6_rcv_saddr"], head["skc_num"]),
            end(
                kernel, family, head["skc_daddr"], head["skc_v6_daddr"], host_order(kernel, head["skc_dport"])
            ),
        )
