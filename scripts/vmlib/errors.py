# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can go wrong in the laboratory, and how a caller tells a skip from a failure."""

from __future__ import annotations


class VmError(Exception):
    """Something the archive or the machine should have given did not come: a failure."""

    exit_code = 1


class NotCarried(VmError):
    """No suite of the archive has a kernel of this series any more: a skip that callers must print."""

    exit_code = 77


class GuestError(VmError):
    """The guest did not boot, crashed, or did not answer within its deadline."""


class FileGone(VmError):
    """The archive lists a package whose file is no longer there."""
