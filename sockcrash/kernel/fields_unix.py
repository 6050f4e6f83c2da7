# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of UNIX sockets (include/net/af_unix.h)."""

from __future__ import annotations

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group, Place

__all__ = ("UNIX", "UNIX_ADDRESS")

_U = "struct unix_sock"

UNIX = Group(
    "unix",
    (
        row("addr", _U),
        row("peer", _U),
        # "af_unix: Save listener for embryo socket.", v6.10 and stable kernels
        row("listener", _U, Place("listener", since="v6.10")),
        row("path_inode", _U, "path.dentry->d_inode->i_ino"),
        row("path_device", _U, "path.dentry->d_sb->s_dev"),
        row("scm_stat.nr_fds", _U, "scm_stat.nr_fds.counter"),
        row("oob_skb", _U),
        row("inq_len", _U),
    ),
)

UNIX_ADDRESS = Group("unix_address", (row("len", "struct unix_address"), row("name", "struct unix_address")))
