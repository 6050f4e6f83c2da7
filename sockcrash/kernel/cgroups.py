# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which control groups there are (cgroup v2, ``cgrp_dfl_root``)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockcrash.kernel.view import Kernel

__all__ = ("cgroup_paths",)

_MAX_CGROUPS = 1 << 20


def cgroup_paths(kernel: Kernel) -> Iterator[str]:
    """The path of every control group, those included that only a socket keeps. Raises drgn.FaultError."""
    from drgn.helpers.linux.cgroup import cgroup_path, css_for_each_descendant_pre

    root = kernel.prog["cgrp_dfl_root"].cgrp.self.address_of_()
    for css in islice(css_for_each_descendant_pre(root), _MAX_CGROUPS):
        yield cgroup_path(css.cgroup).decode("utf-8", "backslashreplace")
