# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of network devices: by index in a namespace, and all that there are."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import drgn

from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("device_name", "device_names")

_MAX = 1 << 20


def device_name(kernel: Kernel, net: int, ifindex: int) -> str | Absent:
    """The name of device ``ifindex`` (not 0) of the ``struct net *`` ``net``; read once for each."""
    memo: dict[tuple[int, int], str | Absent] = kernel.cache.setdefault("device_names", {})
    if (net, ifindex) not in memo:
        memo[net, ifindex] = _device_name(kernel, net, ifindex)
    return memo[net, ifindex]


def _device_name(kernel: Kernel, net: int, ifindex: int) -> str | Absent:
    from drgn.helpers.linux.net import netdev_get_by_index

    try:
        device = netdev_get_by_index(drgn.Object(kernel.prog, "struct net *", net), ifindex)
        if not device:
            return Absent(Reason.NOT_ASSIGNED, f"no device {ifindex} in its namespace")
        return str(device.name.string_().decode("utf-8", "backslashreplace"))
    except drgn.FaultError as error:
        return kernel.unreadable(error)


def device_names(kernel: Kernel) -> Iterator[str]:
    """Of all namespaces. Raises drgn.FaultError."""
    from drgn.helpers.linux.net import for_each_net, for_each_netdev

    for net in islice(for_each_net(kernel.prog), _MAX):
        for device in islice(for_each_netdev(net), _MAX):
            yield device.name.string_().decode("utf-8", "backslashreplace")
