# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which part of the kernel uses a socket: told by the functions that it had put into it, and their module.

Whoever takes a socket into the kernel replaces its callbacks, or has itself called for packets (encap_rcv) or messages
(netlink_rcv); net/core and the protocol put the others there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockcrash.kernel.control_sockets import control_sockets
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.names import module_at, name_at
from sockcrash.kernel.sunrpc import Remote, client, server
from sockcrash.model import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockcrash.kernel.view import Kernel

__all__ = ("kernel_user",)

_S = "struct sock"
_CALLBACKS = Group(
    "callbacks",
    (
        row("sk_data_ready", _S),
        row("sk_state_change", _S),
        row("sk_write_space", _S),
        row("sk_error_report", _S),
        row("sk_user_data", _S),
    ),
)
_OF_KIND = {
    "udp": Group("udp_callbacks", (row("encap_rcv", "struct udp_sock"),)),
    "netlink": Group("netlink_callbacks", (row("netlink_rcv", "struct netlink_sock"),)),
}
# Functions of net/ that are there without any user, or belong to a mechanism that has an owner of its own.
_USUAL = ("sock_def_", "sock_no_", "sk_stream_", "tcp_", "unix_", "tls_", "sk_psock_", "udp_", "udpv6_", "subflow_",
          "mptcp_", "netlink_", "packet_", "xsk_", "vsock_", "virtio_", "sock_")  # fmt: skip
# What people know a user by, where the module's name or the function does not say it.
_SAID = {
    "xs_": "sunrpc client", "svc_": "sunrpc server", "iscsi_sw_tcp_": "iSCSI initiator", "iscsit_": "iSCSI target",
    "iscsi_target_": "iSCSI target", "nvme_tcp_": "NVMe over TCP host", "nvmet_tcp_": "NVMe over TCP target",
    "ceph_sock_": "ceph", "o2net_": "ocfs2", "lowcomms_": "dlm", "rds_tcp_": "rds", "smc_": "smc",
    "vxlan_": "vxlan", "geneve_": "geneve", "gtp": "gtp", "wg_receive": "wireguard", "l2tp_": "l2tp",
    "fou_": "fou", "gue_": "fou", "bareudp_": "bareudp", "amt_": "amt", "ovpn_": "openvpn", "rxrpc_": "rxrpc",
    "xfrm4_udp_encap": "IPsec", "xfrm6_udp_encap": "IPsec", "tipc_": "tipc", "kcm_": "kcm", "espintcp_": "IPsec",
    "rtnetlink_rcv": "rtnetlink", "genl_rcv": "generic netlink", "sock_diag_rcv": "sock_diag",
    "audit_receive": "audit", "uevent_net_rcv": "kobject_uevent", "nl_fib_input": "fib_lookup",
    "xfrm_netlink_rcv": "xfrm", "nfnetlink_rcv": "nfnetlink", "cn_rx_skb": "connector", "scsi_nl_rcv": "scsi",
    "iscsi_if_rx": "iSCSI", "crypto_netlink_rcv": "crypto", "rdma_nl_rcv": "rdma", "selnl_": "selinux",
}  # fmt: skip
_RPC: dict[str, Callable[[Kernel, int], Remote | None]] = {"sunrpc client": client, "sunrpc server": server}


def kernel_user(kernel: Kernel, sk: int, kind: str) -> Owner:
    """Who in the kernel uses a full socket, without ``user`` if nobody left a mark. Raises drgn.FaultError."""
    (section,) = kernel.reader(_CALLBACKS).sections(sk)
    functions = [section[name] for name in section if name != "sk_user_data"]
    if kind in _OF_KIND:
        (own,) = kernel.reader(_OF_KIND[kind]).sections(sk)
        functions = [*own.values(), *functions]
    for function in functions:
        name = name_at(kernel, function) if isinstance(function, int) and function else None
        said = name and next((_SAID[start] for start in _SAID if name.startswith(start)), None)
        if name is None or (not said and name.startswith(_USUAL)):
            continue
        module = module_at(kernel, function)
        found = said or module or name
        remote = _RPC[found](kernel, section["sk_user_data"]) if found in _RPC else None
        program, address = (remote.program, remote.address) if remote else (None, None)
        return Owner("kernel", user=found, callback=name, module=module, program=program, remote=address)
    return Owner("kernel", user=control_sockets(kernel).get(sk))
