# SPDX-License-Identifier: LGPL-2.1-or-later
"""A live socket looked at again and again: is it still the same one, and what has changed."""
