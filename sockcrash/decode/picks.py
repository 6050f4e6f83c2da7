# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a record of a TCP socket has by a short expression over rows, compiled with what reads these."""

from __future__ import annotations

from itertools import chain
from string import Formatter
from typing import TYPE_CHECKING, Any, TypeAlias

from sockcrash.decode.common import NO_INODE, NOT_WANTED, cookie_of, name_in, v6only_of
from sockcrash.decode.endpoint import end, host_order
from sockcrash.decode.tcp import COMPUTED
from sockcrash.kernel import uapi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sockcrash.kernel.clock import Clock
    from sockcrash.kernel.view import Kernel, Reader

__all__ = ("PICKS", "Pick", "picker", "rows_of")

# Bytes of an object, the clock, the address of the object -> attributes by name
Pick: TypeAlias = "Callable[[bytes, Clock, int], dict[str, Any]]"

_COMPUTED = {
    name: (f"{name}(c, {', '.join(f'{{{member}}}' for member in inputs)})", function)
    for name, inputs, function in COMPUTED
}
# Attribute of a record: an expression in which a name in braces is a row of one of the first four sections.
PICKS: dict[str, str] = {
    "family": "families[{skc_family}]",
    "state": "states[{skc_state}]",
    "local": "end(kernel, {skc_family}, {skc_rcv_saddr}, {skc_v6_rcv_saddr}, {skc_num})",
    "peer": "end(kernel, {skc_family}, {skc_daddr}, {skc_v6_daddr}, host_order(kernel, {skc_dport}))",
    "cookie": "cookie_of({skc_cookie})",
    "netns": "{netns}",
    "ifindex": "{skc_bound_dev_if}",
    "v6only": "v6only_of({skc_family}, {skc_ipv6only})",
    "type": "types[{sk_type}]",
    "inode": "{inode} if {sk_socket} else no_inode",
    "uid": "{sk_uid}",
    "mark": "{sk_mark}",
    "recv_q": f"{{sk_ack_backlog}} if {{skc_state}} == listen else {_COMPUTED['receive_queue_bytes'][0]}",
    "send_q": f"{{sk_max_ack_backlog}} if {{skc_state}} == listen else {_COMPUTED['send_queue_bytes'][0]}",
}


class _Named(dict[int, Any]):
    """Names of numbers; of others what stands for them."""

    def __missing__(self, number: Any) -> Any:
        return name_in(self, number)


def rows_of(attributes: Iterable[str]) -> set[str]:
    """The rows that these attributes are made of."""
    return {row for name in attributes for _, row, *_ in Formatter().parse(PICKS[name]) if row}


def picker(kernel: Kernel, reader: Reader, attributes: Sequence[str]) -> Pick:
    """A function like the ``decode`` of a reader that gives those attributes by name."""

    def wanted(groups: Sequence[Mapping[str, str]]) -> str:
        standing = _Standing(chain.from_iterable(one.items() for one in groups))
        return f"{{{', '.join(f'{name!r}: {PICKS[name].format_map(standing)}' for name in attributes)}}}"

    return reader.made(wanted, _surroundings(kernel))


class _Standing(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "not_wanted"


def _surroundings(kernel: Kernel) -> dict[str, Any]:
    return {
        "families": _Named(uapi.FAMILIES),
        "states": _Named(uapi.TCP_STATES),
        "types": _Named(uapi.TYPES),
        "kernel": kernel,
        "end": end,
        "host_order": host_order,
        "cookie_of": cookie_of,
        "v6only_of": v6only_of,
        "no_inode": NO_INODE,
        "not_wanted": NOT_WANTED,
        "listen": uapi.LISTEN,
        **{name: function for name, (_, function) in _COMPUTED.items()},
    }
