# SPDX-License-Identifier: LGPL-2.1-or-later
"""How sphinx makes the site: pages in Markdown, the reference made from the data and the commands themselves."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from sockcrash import __version__  # noqa: E402 - found by the line above

project = "sockcrash"
version = release = __version__
author = copyright = "the sockcrash authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
# What drgn wraps has the signature of the wrapper; the names of types are as they are written.
autodoc_typehints = "none"
autodoc_member_order = "alphabetical"

smartquotes = False  # --all is two hyphens

html_theme = "furo"
html_title = f"sockcrash {release}"
html_copy_source = False
