# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of level SOL_TLS, of TCP sockets with the ULP ``tls`` (net/tls/tls_main.c). Never keys."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.options.codecs import SWITCH, Codec, shown, unpacked
from sockcrash.kernel.options.origins import kernel
from sockcrash.kernel.options.row import Option, absent, field
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("ROWS",)

_T = "struct tls_context"
_CONTEXT = Group(
    "tls_context",
    (
        *(
            row(f"{way}.{name}", _T, f"crypto_{side}.info.{name}")
            for way, side in (("tx", "send"), ("rx", "recv"))
            for name in ("version", "cipher_type")
        ),
        row("version", _T, "prot_info.version"),
        *(
            row(name, _T)
            for name in ("tx_conf", "rx_conf", "zerocopy_sendfile", "rx_no_pad", "tx_max_payload_len")
        ),
    ),
)
# include/uapi/linux/tls.h
_VERSIONS = {0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
_CIPHERS = {
    51: "AES_GCM_128", 52: "AES_GCM_256", 53: "AES_CCM_128", 54: "CHACHA20_POLY1305", 55: "SM4_GCM", 56: "SM4_CCM",
    57: "ARIA_GCM_128", 58: "ARIA_GCM_256",
}  # fmt: skip
_CONFIGURATIONS = {0: "base", 1: "software", 2: "device", 3: "device record"}
_TLS_1_3 = 0x0304
_SOFTWARE, _DEVICE = 1, 2
_KEYS = Absent(Reason.SECRET, "the call gives the keys")


def _in_context(member: str, then: Any) -> Any:
    """A value made of one member of the struct tls_context, by ``then(section, member's value)``."""

    def value(context: Context, pointer: int) -> Any:
        if not pointer:
            return absent("EBUSY: no TLS context")
        try:
            (section,) = context.kernel.reader(_CONTEXT).sections(pointer)
        except drgn.FaultError as error:
            return context.kernel.unreadable(error)
        found = section[member]
        return found if isinstance(found, Absent) else then(section, found)

    return value


def _keys(way: str) -> Any:
    def then(section: Any, version: int) -> Any:
        if not section[f"{way}.cipher_type"]:
            return absent("EBUSY: no keys are set")
        configuration = section[f"{way}_conf"]
        return {
            "version": version,
            "cipher_type": section[f"{way}.cipher_type"],
            "offload": _CONFIGURATIONS.get(configuration, str(configuration)),
        }

    return _in_context(f"{way}.version", then)


def _keys_text(value: dict[str, Any]) -> str:
    version, cipher = value["version"], value["cipher_type"]
    return f"{_VERSIONS.get(version, hex(version))} {_CIPHERS.get(cipher, cipher)}, {value['offload']}"


def _no_pad(section: Any, own: int) -> Any:
    if section["version"] != _TLS_1_3 or section["rx_conf"] not in (_SOFTWARE, _DEVICE):
        return absent("EINVAL: for receiving TLS 1.3 only")
    return own


def _row(name: str, number: int, codec: Codec, value: Any, **more: Any) -> Option:
    member = (field("inet_connection_sock", "icsk_ulp_data"),)
    return Option("SOL_TLS", name, number, codec, member, value, kinds=("tcp",), fresh=True, **more)


_SHORT = Codec(
    "integer",
    lambda value, order: struct.pack(order + "H", value),
    str,
    lambda content, order: unpacked("H", content, order)[0],
)

ROWS = (
    _row("TLS_TX", 1, shown("object", _keys_text), _keys("tx"), default=absent("none"), raw=_KEYS),
    _row("TLS_RX", 2, shown("object", _keys_text), _keys("rx"), default=absent("none"), raw=_KEYS),
    _row(
        "TLS_TX_ZEROCOPY_RO",
        3,
        SWITCH,
        _in_context("zerocopy_sendfile", lambda _section, own: own),
        default=0,
    ),
    _row("TLS_RX_EXPECT_NO_PAD", 4, SWITCH, _in_context("rx_no_pad", _no_pad), default=0),
    _row(
        "TLS_TX_MAX_PAYLOAD_LEN",
        5,
        _SHORT,
        _in_context("tx_max_payload_len", lambda _section, own: own),
        origin=kernel,
    ),
)
