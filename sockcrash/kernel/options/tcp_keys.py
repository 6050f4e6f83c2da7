# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which keys a TCP socket has: MD5 signatures, the authentication option, Fast Open. Never the keys themselves."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import drgn

from sockcrash.kernel import uapi
from sockcrash.kernel.fields import row
from sockcrash.kernel.layout import Group
from sockcrash.kernel.options.chain import hlist
from sockcrash.kernel.options.codecs import BLOB, shown
from sockcrash.kernel.options.encode import encode
from sockcrash.kernel.options.origins import kernel, unsure
from sockcrash.kernel.options.row import SET_ONLY, Option, absent, field
from sockcrash.model import Absent, Reason

if TYPE_CHECKING:
    from sockcrash.kernel.options.context import Context

__all__ = ("KEY_ROWS",)


def _key_group(ctype: str, *more: str) -> Group:
    members = ("node.next", "family", "prefixlen", "l3index", "addr", *more)
    return Group(ctype, tuple(row(name, f"struct {ctype}") for name in members))


_MD5 = _key_group("tcp_md5sig_key")
_AO = _key_group("tcp_ao_key", "sndid", "rcvid")


def _peer(key: Any) -> dict[str, Any]:
    size = 16 if key["family"] == uapi.AF_INET6 else 4
    address = ipaddress.ip_address(bytes(key["addr"][:size]))
    return {"address": str(address), "prefix": key["prefixlen"], "ifindex": key["l3index"]}


def _keys(group: Group, *more: str) -> Any:
    """The peers of a list of keys; [] for a NULL pointer."""

    def value(context: Context, first: Any) -> Any:
        if not isinstance(first, int):
            return [] if first.reason is Reason.NOT_APPLICABLE else first
        try:
            keys = list(hlist(context.kernel, first, group))
        except drgn.FaultError as error:
            return context.kernel.unreadable(error)
        return [{**_peer(key), **{name: key[name] for name in more}} for key in keys]

    return value


def _keys_text(value: list[dict[str, Any]]) -> str:
    return ", ".join(f"a key for {key['address']}/{key['prefix']}" for key in value) or "none"


def _fastopen(_context: Context, count: Any) -> Any:
    if isinstance(count, int):
        return Absent(Reason.SECRET, f"{count} key{'s' if count > 1 else ''} of its own")
    return "" if count.reason is Reason.NOT_APPLICABLE else count


# struct tcp_ao_info_opt, as tcp_ao_get_sock_info() fills it
_AO_INFO = {
    "ao_required": "ao_required", "accept_icmps": "accept_icmps", "pkt_good": "counters.pkt_good.counter",
    "pkt_bad": "counters.pkt_bad.counter", "pkt_key_not_found": "counters.key_not_found.counter",
    "pkt_ao_required": "counters.ao_required.counter", "pkt_dropped_icmp": "counters.dropped_icmp.counter",
    "current_key": "current_key->sndid", "rnext": "rnext_key->rcvid",
}  # fmt: skip
_NO_AO = absent("ENOENT: the socket has no such keys")


def _ao_info(_context: Context, *members: Any) -> Any:
    values = dict(zip(_AO_INFO, members, strict=True))
    if isinstance(values["pkt_good"], Absent):
        return _NO_AO if values["pkt_good"].reason is Reason.NOT_APPLICABLE else values["pkt_good"]
    info = {name: value for name, value in values.items() if isinstance(value, int)}
    return {
        "set_current": int("current_key" in info),
        "set_rnext": int("rnext" in info),
        "current_key": 0,
        "rnext": 0,
        **info,
    }


_REPAIR_MEMBERS = ("lisn", "risn", "snd_sne", "rcv_sne")


def _ao_repair(_context: Context, repair: int, *members: Any) -> Any:
    if not isinstance(members[0], int):
        return _NO_AO if members[0].reason is Reason.NOT_APPLICABLE else members[0]
    if not repair:
        return absent("EPERM: TCP_REPAIR is off")
    return dict(zip(("snt_isn", "rcv_isn", "snd_sne", "rcv_sne"), members, strict=True))


def _pairs(value: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in value.items())


def _option(name: str, number: int, codec: Any, fields: Any, value: Any, **more: Any) -> Option:
    return Option(
        "IPPROTO_TCP", name, number, codec, fields, value, kinds=("tcp",), lenient=True, fresh=True, **more
    )


_KEYS = shown("list", _keys_text)
KEY_ROWS = (
    _option(
        "TCP_MD5SIG", 14, _KEYS, (field("tcp_sock", "md5sig_info->head.first"),), _keys(_MD5), default=[],
        raw=SET_ONLY
    ),
    _option(
        "TCP_FASTOPEN_KEY", 33, BLOB,
        (field("inet_connection_sock", "icsk_accept_queue.fastopenq.ctx->num", name="fastopenq.ctx->num"),),
        _fastopen, default="",
    ),
    _option(
        "TCP_AO_ADD_KEY", 38, _KEYS, (field("tcp_sock", "ao_info->head.first"),), _keys(_AO, "sndid", "rcvid"),
        default=[],
        origin=unsure, raw=SET_ONLY,
    ),
    _option(
        "TCP_AO_INFO", 40, shown("object", _pairs),
        tuple(field("tcp_sock", f"ao_info->{path}") for path in _AO_INFO.values()), _ao_info, origin=kernel,
        bytes_of=lambda context, value, *_: encode(context.kernel, "struct tcp_ao_info_opt", value),
    ),
    _option(
        "TCP_AO_GET_KEYS", 41, BLOB, (field("tcp_sock", "ao_info->head.first"),),
        lambda _context, first: Absent(Reason.SECRET, "the call gives the keys") if isinstance(first,
            int) and first else _NO_AO,
        origin=kernel,
    ),
    _option(
        "TCP_AO_REPAIR", 42, shown("object", _pairs),
        (field("tcp_sock", "repair"), *(field("tcp_sock", f"ao_info->{name}") for name in _REPAIR_MEMBERS)),
        _ao_repair,
        origin=kernel, bytes_of=lambda context, value, *_: encode(context.kernel, "struct tcp_ao_repair", value),
    ),
)  # fmt: skip
