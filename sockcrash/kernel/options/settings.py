# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sysctls from which untouched sockets take their options: members of a namespace's struct net, and globals."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.layout import Convert, Field, Group, Place
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.kernel.view import Kernel

__all__ = ("NAMESPACE_SETTINGS", "Setting", "read_settings")


@dataclass(frozen=True, slots=True)
class Setting:
    """A sysctl as sysctl(8) names it: ``path`` below struct net, or a global ``symbol`` of 32 bits."""

    name: str
    path: str = ""
    symbol: str = ""
    by: str = ""


def _ipv4(name: str, path: str = "", by: str = "") -> Setting:
    return Setting(f"net.ipv4.{name}", f"ipv4.{path or 'sysctl_' + name}", by=by)


TCP_WMEM = _ipv4("tcp_wmem", "sysctl_tcp_wmem[1]")
TCP_RMEM = _ipv4("tcp_rmem", "sysctl_tcp_rmem[1]")
# The four in jiffies (proc_dointvec_jiffies).
TCP_KEEPALIVE_TIME = _ipv4("tcp_keepalive_time")
TCP_KEEPALIVE_INTVL = _ipv4("tcp_keepalive_intvl")
TCP_FIN_TIMEOUT = _ipv4("tcp_fin_timeout")
TCP_KEEPALIVE_PROBES = _ipv4("tcp_keepalive_probes")
TCP_SYN_RETRIES = _ipv4("tcp_syn_retries")
TCP_SYNACK_RETRIES = _ipv4("tcp_synack_retries")
TCP_SYN_LINEAR_TIMEOUTS = _ipv4("tcp_syn_linear_timeouts")
TCP_RETRIES2 = _ipv4("tcp_retries2")
TCP_ORPHAN_RETRIES = _ipv4("tcp_orphan_retries")
TCP_THIN_LINEAR_TIMEOUTS = _ipv4("tcp_thin_linear_timeouts")
TCP_CONGESTION_CONTROL = _ipv4("tcp_congestion_control", "tcp_congestion_control->name", by="text")
TCP_PINGPONG_THRESH = _ipv4("tcp_pingpong_thresh")
TCP_RTO_MIN_US = _ipv4("tcp_rto_min_us")
TCP_RTO_MAX_MS = _ipv4("tcp_rto_max_ms")
IP_DEFAULT_TTL = _ipv4("ip_default_ttl")
IP_NO_PMTU_DISC = _ipv4("ip_no_pmtu_disc")
TXREHASH = Setting("net.core.txrehash", "core.sysctl_txrehash")
BINDV6ONLY = Setting("net.ipv6.bindv6only", "ipv6.sysctl.bindv6only")
AUTO_FLOWLABELS = Setting("net.ipv6.auto_flowlabels", "ipv6.sysctl.auto_flowlabels")
HOP_LIMIT = Setting("net.ipv6.conf.all.hop_limit", "ipv6.devconf_all->hop_limit")
WMEM_DEFAULT = Setting("net.core.wmem_default", symbol="sysctl_wmem_default")
RMEM_DEFAULT = Setting("net.core.rmem_default", symbol="sysctl_rmem_default")
WMEM_MAX = Setting("net.core.wmem_max", symbol="sysctl_wmem_max")
RMEM_MAX = Setting("net.core.rmem_max", symbol="sysctl_rmem_max")
BUSY_READ = Setting("net.core.busy_read", symbol="sysctl_net_busy_read")

_ALL = tuple(value for value in globals().values() if isinstance(value, Setting))


def _field(setting: Setting) -> Field:
    if setting.by:
        path = (Place(setting.path),)
        return Field(
            f"{setting.name} raw", "struct net", path, (Convert(setting.name, setting.by),), shared=True
        )
    return Field(setting.name, "struct net", (Place(setting.path),), shared=True)


NAMESPACE_SETTINGS = Group("settings", tuple(_field(setting) for setting in _ALL if setting.path))
_GLOBALS = tuple(setting for setting in _ALL if setting.symbol)


def read_settings(kernel: Kernel, net: int) -> Mapping[str, Any]:
    """All settings of the namespace whose ``struct net *`` is given, by name; Absent where this kernel has none.

    Read once per namespace; on a live kernel once a second.
    """
    memo: dict[int, tuple[int, Mapping[str, Any]]] = kernel.cache.setdefault("settings", {})
    now, second = kernel.clock().ticks, kernel.clock().rate
    if net not in memo or (kernel.live and now - memo[net][0] > second):
        memo[net] = (now, _read(kernel, net))
    return memo[net][1]


def _read(kernel: Kernel, net: int) -> Mapping[str, Any]:
    try:
        (section,) = kernel.reader(NAMESPACE_SETTINGS).sections(net)
        values: dict[str, Any] = dict(section)
    except drgn.FaultError as error:
        lost = kernel.unreadable(error)
        values = {setting.name: lost for setting in _ALL}
    values.update((setting.name, _global(kernel, setting.symbol)) for setting in _GLOBALS)
    return values


def _global(kernel: Kernel, symbol: str) -> int | Absent:
    try:
        address = kernel.prog.symbol(symbol).address
        return int(struct.unpack(kernel.byte_order + "I", kernel.read(address, 4))[0])
    except LookupError:
        return Absent(Reason.NOT_IN_KERNEL)
    except drgn.FaultError as error:
        return kernel.unreadable(error)
