# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which container a control group stands for, by the names that container engines give."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ("container_of",)

# docker, containerd, cri-o, podman and kubernetes name 64 hexadecimal digits, with a prefix and .scope under systemd;
# LXC and systemd-nspawn names that people gave.
_ID = re.compile(r"(?:^|[-/:])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_NAME = re.compile(r"/(?:lxc\.payload[./]|lxc/|machine\.slice/machine-)([^/]+?)(?:\.scope)?(?:/|$)")


@lru_cache(maxsize=256)
def container_of(cgroup: str) -> str | None:
    """The id or name in a path of a control group, the innermost if containers are nested; None if it is none's."""
    ids = _ID.findall(cgroup)
    if ids:
        return str(ids[-1])
    names = _NAME.findall(cgroup)
    return names[-1].replace("\\x2d", "-") if names else None
