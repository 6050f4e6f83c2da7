# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the kernel itself says of sockets, brought into a form that sockcrash's records can be compared with."""
