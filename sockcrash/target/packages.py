# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which package of a distribution holds the debug information of a kernel, as far as the release tells."""

from __future__ import annotations

import re

DEBIAN_ARCHITECTURES = "amd64|arm64|686|686-pae|armmp|armmp-lpae|s390x|powerpc64le|riscv64|loong64"

DEBUG_PACKAGES = (
    (r".+\.fc\d+\.\w+", "kernel-debuginfo-{release} (dnf debuginfo-install kernel-core-{release})"),
    (r".+\.el\d+uek\.\w+", "kernel-uek-debuginfo-{release}"),
    (r".+\.(el\d+(_\d+)*|amzn\d+)(\.\w+)*", "kernel-debuginfo-{release} (from the debuginfo repository)"),
    (r"(?P<version>.+)-(?P<flavour>default|preempt|64kb)", "kernel-{flavour}-debuginfo of version {version}"),
    (
        r"(?P<version>\d.*-\d+(\.\d+)+)-(?P<flavour>azure|rt)",
        "kernel-{flavour}-debuginfo of version {version}",
    ),
    (rf".+-({DEBIAN_ARCHITECTURES})", "linux-image-{release}-dbg"),
    (
        r"\d+\.\d+\.\d+-\d+-[a-z][a-z0-9-]*",
        "linux-image-{release}-dbgsym (from Ubuntu's debug symbol archive, ddebs)",
    ),
)
"""Release pattern and package: Fedora, Oracle UEK, RHEL and its kin and Amazon, SUSE, Debian, Ubuntu."""


def debug_package(release: str) -> str | None:
    """The package with the vmlinux of a kernel release, None if the release does not tell."""
    for pattern, package in DEBUG_PACKAGES:
        match = re.fullmatch(pattern, release)
        if match:
            return package.format(release=release, **match.groupdict())
    return None
