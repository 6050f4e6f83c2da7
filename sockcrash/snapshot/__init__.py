# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small vmcores that hold selected sockets only: writing them, and reading them back."""
