# SPDX-License-Identifier: LGPL-2.1-or-later
"""setsockopt(2) calls as they happen: kprobe events of tracefs in an instance of our own, and what they say."""
