# SPDX-License-Identifier: LGPL-2.1-or-later
"""What many sockets share and people know by name: the control group and the network device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn

from sockcrash.kernel import devices
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.view import Kernel

__all__ = ("cgroup_path", "device_name")

_NO_DEVICE = Absent(Reason.NOT_APPLICABLE, "not bound to a device")


def cgroup_path(kernel: Kernel, pointer: int | Absent) -> str | Absent:
    """The cgroup v2 path of ``sk_cgrp_data``; before v5.15 an odd value is a class id and stands for the root."""
    if isinstance(pointer, Absent):
        return pointer
    if pointer == 0 or pointer & 3:
        return "/"
    memo: dict[int, str | Absent] = kernel.cache.setdefault("cgroups", {})
    if pointer not in memo:
        memo[pointer] = _cgroup_path(kernel, pointer)
    return memo[pointer]


def _cgroup_path(kernel: Kernel, pointer: int) -> str | Absent:
    from drgn.helpers.linux.cgroup import cgroup_path as path

    try:
        return path(drgn.Object(kernel.prog, "struct cgroup *", pointer)).decode("utf-8", "backslashreplace")
    except drgn.FaultError as error:
        return kernel.unreadable(error)


def device_name(kernel: Kernel, net: int | Absent, ifindex: int | Absent) -> str | Absent:
    """The name of the device with that index in the namespace, Absent when the socket is bound to none."""
    if isinstance(ifindex, Absent):
        return ifindex
    if isinstance(net, Absent):
        return net
    if ifindex == 0:
        return _NO_DEVICE
    return devices.device_name(kernel, net, ifindex)
