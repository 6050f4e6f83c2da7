# SPDX-License-Identifier: LGPL-2.1-or-later
"""Releases as distributions really write them, and the package that holds their debug information."""

from __future__ import annotations

import pytest

from sockcrash.target.packages import debug_package


@pytest.mark.parametrize(
    ("release", "package"),
    [
        ("6.1.0-56-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64-dbg"),
        ("5.10.0-43-amd64", "linux-image-5.10.0-43-amd64-dbg"),
        ("6.12.117+deb13-cloud-amd64", "linux-image-6.12.117+deb13-cloud-amd64-dbg"),
        ("6.1.0-9-rt-arm64", "linux-image-6.1.0-9-rt-arm64-dbg"),
        ("5.15.0-91-generic", "linux-image-5.15.0-91-generic-dbgsym"),
        ("6.8.0-1012-aws", "linux-image-6.8.0-1012-aws-dbgsym"),
        ("6.8.0-31-generic-64k", "linux-image-6.8.0-31-generic-64k-dbgsym"),
        ("6.5.6-300.fc39.x86_64", "kernel-debuginfo-6.5.6-300.fc39.x86_64"),
        ("5.14.0-362.8.1.el9_3.x86_64", "kernel-debuginfo-5.14.0-362.8.1.el9_3.x86_64"),
        ("3.10.0-1160.el7.x86_64", "kernel-debuginfo-3.10.0-1160.el7.x86_64"),
        ("6.1.56-82.125.amzn2023.x86_64", "kernel-debuginfo-6.1.56-82.125.amzn2023.x86_64"),
        ("5.15.0-101.103.2.1.el8uek.x86_64", "kernel-uek-debuginfo-5.15.0-101.103.2.1.el8uek.x86_64"),
        ("5.14.21-150500.55.7-default", "kernel-default-debuginfo of version 5.14.21-150500.55.7"),
        ("6.5.4-1-default", "kernel-default-debuginfo of version 6.5.4-1"),
        ("5.14.21-150500.33.11-azure", "kernel-azure-debuginfo of version 5.14.21-150500.33.11"),
        ("6.5.0-1010-azure", "linux-image-6.5.0-1010-azure-dbgsym"),
    ],
)
def test_package(release: str, package: str) -> None:
    assert str(debug_package(release)).split(" (")[0] == package


@pytest.mark.parametrize(
    "release", ["6.5.5-arch1-1", "6.6.1-zen1-1-zen", "6.18.44-fc-v669", "7.0.0", "", "x" * 64]
)
def test_no_package(release: str) -> None:
    assert debug_package(release) is None
