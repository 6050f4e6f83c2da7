# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Linux looks like: the only rooms that know that kernels differ."""
