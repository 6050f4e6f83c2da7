# SPDX-License-Identifier: LGPL-2.1-or-later
"""Does what memory says of socket options equal what getsockopt(2) says? Asked of a running kernel, or of a record."""
