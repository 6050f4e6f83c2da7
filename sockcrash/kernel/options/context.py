# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the functions of option rows may look at beside the members of the socket itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockcrash.kernel.clock import Clock
    from sockcrash.kernel.options.settings import Setting
    from sockcrash.kernel.view import Kernel

__all__ = ("Context",)


@dataclass(frozen=True, slots=True)
class Context:
    """One socket's surroundings.

    ``accepted``: it was made by a listener, None where that can't be told. ``variant`` is the upper layer protocol of a
    TCP socket; of packet and inet sockets the type or protocol that answers other options. ``address`` is its struct
    sock, or 0 for rows that don't look beyond fields.
    """

    kernel: Kernel
    clock: Clock
    kind: str
    family: int
    net: int
    settings: Mapping[str, Any]
    accepted: bool | None = False
    variant: str = ""
    address: int = 0

    def setting(self, setting: Setting) -> Any:
        """A sysctl of the socket's namespace; Absent where this kernel has none."""
        return self.settings[setting.name]
