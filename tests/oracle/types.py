# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a kernel without BTF of modules can't tell without debug files."""

from __future__ import annotations

from typing import Any

NO_TYPES = "no_type_info"
Record = dict[str, Any]


def without_module_types(record: Record, absent: dict[str, str]) -> Record:
    """A record without what is absent for want of types."""
    lost = {path for path, why in absent.items() if why.startswith(NO_TYPES)}
    kept = {key: value for key, value in record.items() if key not in lost}
    kept["absent"] = {path: why for path, why in record["absent"].items() if path not in lost}
    kept["options"] = [
        one for one in record.get("options") or () if f"options.{one['level']}.{one['name']}" not in lost
    ]
    return kept
