# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records as JSON, schema 1 (sockcrash/schema.json): absent values are null, with the reason in ``absent``."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from sockcrash.model import (
    EMPTY,
    SECTIONS,
    Absent,
    Endpoint,
    OptionValue,
    OtherEnd,
    Owner,
    Section,
    SocketRecord,
    Timer,
)
from sockcrash.render.holders import owner_object
from sockcrash.render.json_queues import gives_up_object, queues_object
from sockcrash.render.nulls import or_null
from sockcrash.render.time_left import ACTIONS

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockcrash.kernel.registry import LayoutRow

__all__ = (
    "dumps",
    "fields_object",
    "layout_object",
    "members_object",
    "only_options",
    "record_json",
    "record_object",
)

SCHEMA = 1
# An object of JSON, whose absent values are told to the second argument.
Make: TypeAlias = "Callable[[Any, dict[str, str]], Any]"
# Members of sections that are pointers: shown as addresses, or as whether there is one.
_ADDRESSES = {
    "sock": ("sk_drop_counters",),
    "minisock": ("listener", "child"),
    "unix": ("peer", "listener", "oob_skb"),
    "mptcp": ("first", "subflows"),
}
_ARMED = {"minisock": ("tw_timer_armed", "rsk_timer_armed")}
_POINTERS = _ADDRESSES.keys() | _ARMED.keys()
_OF_OTHER = ("netns", "owners")


def dumps(value: Any) -> str:
    """One line of JSON. orjson knows no integers of more than 64 bits, and is not made for every platform."""
    if orjson is not None:
        try:
            return orjson.dumps(value, _hexadecimal).decode()
        except TypeError:
            pass
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_hexadecimal)


def _hexadecimal(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"no JSON for {type(value).__name__}")


def record_json(record: SocketRecord) -> str:
    """One record as JSON. What many sockets have alike is written once, where orjson can do it."""
    if orjson is not None:
        try:
            return orjson.dumps(_object(record, _written), _hexadecimal).decode()
        except TypeError:
            pass
    return dumps(record_object(record))


def record_object(record: SocketRecord) -> dict[str, Any]:
    """The JSON object of one record."""
    return _object(record, _made_anew)


def _object(record: SocketRecord, shared: Callable[[Any, Make, dict[str, str]], Any]) -> dict[str, Any]:
    absent: dict[str, str] = {}
    plain = partial(or_null, absent)
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "address": f"{record.address:#x}",
        "kind": record.kind,
        "family": record.family,
        "type": record.type,
        "protocol": record.protocol,
        "state": record.state,
        "local": record.local,
        "peer": record.peer,
        "inode": record.inode,
        "cookie": record.cookie,
        "netns": record.netns,
        "uid": record.uid,
        "cgroup": record.cgroup,
        "container": record.container,
        "mark": record.mark,
        "v6only": record.v6only,
        "ifindex": record.ifindex,
        "device": record.device,
        "torn": record.torn,
        "proved": record.proved,
        "how": record.how,
        "note": record.note,
        "owners": record.owners,
    }
    for name, value in out.items():
        kind = value.__class__
        if kind is Absent:
            out[name] = plain(name, value)
        elif kind is Endpoint:
            out[name] = _endpoint(value, name, plain)
    out["cookie"] = _hex(out["cookie"])
    out["owners"] = _owners(out["owners"])
    if record.other_end is not None:
        out["other_end"] = _other_end(plain("other_end", record.other_end), plain)
    if record.netns_names is not None:
        out["netns_names"] = list(record.netns_names)
        out["netns_processes"] = plain("netns_processes", record.netns_processes)
    for name, section in record.sections().items():
        out[name] = _section(name, section, absent)
    if isinstance(record.cc, Absent):
        out["cc"] = plain("cc", record.cc)
    elif record.cc:
        out["cc"] = _section("cc", record.cc, absent)
    if record.timers is not None:
        out["timers"] = shared(record.timers, _timers, absent)
    if record.gives_up is not None:
        out["gives_up"] = gives_up_object(plain("gives_up", record.gives_up))
    if record.queues is not None:
        if not any(queue.skbs for queue in record.queues):
            out["queues"] = shared(record.queues, queues_object, absent)
        else:
            out["queues"] = queues_object(record.queues, absent)
    if isinstance(record.options, Absent):
        out["options"] = plain("options", record.options)
    elif record.options is not None:
        out["options"] = _options(record.options, shared, absent)
    out["absent"] = absent
    return out


def _other_end(
    ends: tuple[OtherEnd, ...] | None, plain: Callable[[str, Any], Any]
) -> list[dict[str, Any]] | None:
    if ends is None:
        return None
    made = []
    for one in ends:
        address = f"{one.address:#x}"
        netns, owners = (plain(f"other_end.{address}.{name}", getattr(one, name)) for name in _OF_OTHER)
        made.append({"address": address, "kind": one.kind, "netns": netns, "owners": _owners(owners)})
    return made


def _section(name: str, section: Section, absent: dict[str, str]) -> dict[str, Any]:
    """The members of a section as JSON has them; most values need nothing done, and are not looked at one by one."""
    made = section.plain()
    never = section.never()
    if never:
        nulls, texts = _never(name, never)
        made |= nulls
        absent |= texts
    for key, why in section.lost().items():
        absent[f"{name}.{key}"] = str(why)
        made[key] = None
    if name in _POINTERS:
        _show_pointers(name, made)
    return made


def _show_pointers(name: str, made: dict[str, Any]) -> None:
    """Addresses in place of pointers, or whether there is one."""
    for key in _ADDRESSES.get(name, ()):
        if key in made:
            value = made[key]
            made[key] = [_hex(one) for one in value] if isinstance(value, tuple) else _hex(value)
    for key in _ARMED.get(name, ()):
        if key in made:
            made[key] = None if made[key] is None else bool(made[key])


_made: dict[tuple[str, int], tuple[dict[str, Absent], dict[str, None], dict[str, str]]] = {}


def _never(name: str, never: dict[str, Absent]) -> tuple[dict[str, None], dict[str, str]]:
    """What a kernel never has, as nulls and as texts; remembered for the sections of each reader."""
    key = (name, id(never))
    if key not in _made:
        texts = {f"{name}.{member}": str(why) for member, why in never.items()}
        _made[key] = (never, dict.fromkeys(never), texts)
    return _made[key][1:]


def only_options(record: SocketRecord) -> SocketRecord:
    """A record without sections but its options."""
    sections: dict[str, Any] = dict.fromkeys(SECTIONS, EMPTY)
    return dataclasses.replace(record, **sections, cc=EMPTY, timers=None, gives_up=None, queues=None)


# Of objects that many records share, by their identities: the object, its JSON, what is absent in it.
_kept: dict[int, tuple[Any, Any, dict[str, str]]] = {}
_MOST_KEPT = 4096


def _made_anew(value: Any, make: Make, absent: dict[str, str]) -> Any:
    return make(value, absent)


def _written(value: Any, make: Make, absent: dict[str, str]) -> Any:
    """``make(value, absent)`` as JSON, kept for a while, but for the one empty tuple, which may stand for anything."""
    if not value:
        return make(value, absent)
    found = _kept.get(id(value)) or _keep(value, make)
    absent |= found[2]
    return found[1]


def _keep(value: Any, make: Make) -> tuple[Any, Any, dict[str, str]]:
    if len(_kept) >= _MOST_KEPT:
        _kept.clear()
    why: dict[str, str] = {}
    text = orjson.Fragment(orjson.dumps(make(value, why), _hexadecimal))
    kept = _kept[id(value)] = (value, text, why)
    return kept


def _options(
    options: tuple[OptionValue, ...],
    shared: Callable[[Any, Make, dict[str, str]], Any],
    absent: dict[str, str],
) -> list[Any]:
    if shared is not _written:
        return [_option_object(option, absent) for option in options]
    find = _kept.get
    found = [find(id(option)) or _keep(option, _option_object) for option in options]
    for _, _, why in found:
        if why:
            absent |= why
    return [text for _, text, _ in found]


def _option_object(option: OptionValue, absent: dict[str, str]) -> dict[str, Any]:
    where = f"options.{option.level}.{option.name}"
    value, raw = option.value, option.raw
    if isinstance(value, Absent):
        absent[where] = str(value)
    elif isinstance(raw, Absent):
        absent[f"{where}.raw"] = str(raw)
    return {
        "level": option.level,
        "name": option.name,
        "number": option.number,
        "value": None if isinstance(value, Absent) else value,
        "text": None if isinstance(value, Absent) else option.text,
        "origin": option.origin,
        "raw": None if isinstance(raw, Absent) else raw.hex(),
        "member": option.member,
        "default": None if isinstance(option.default, Absent) else option.default,
        "default_from": option.default_from,
        "inherited_from": _hex(option.inherited_from),
    }


def fields_object(record: SocketRecord, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of one record with chosen fields (-f)."""
    absent = {name: str(value) for name, value in fields.items() if isinstance(value, Absent)}
    values = {name: None if isinstance(value, Absent) else _value(value) for name, value in fields.items()}
    return {
        "schema": SCHEMA,
        "address": f"{record.address:#x}",
        "kind": record.kind,
        "fields": values,
        "absent": {f"fields.{name}": why for name, why in absent.items()},
    }


def members_object(values: Mapping[str, Any]) -> dict[str, Any]:
    """``members`` and ``absent`` of raw members that may be unreadable."""
    absent = {f"members.{name}": str(value) for name, value in values.items() if isinstance(value, Absent)}
    members = {name: None if isinstance(value, Absent) else value for name, value in values.items()}
    return {"members": members, "absent": absent}


def layout_object(row: LayoutRow) -> dict[str, Any]:
    """One row of ``sockcrash layout``."""
    return {
        "group": row.group,
        "name": row.name,
        "struct": row.ctype,
        "path": row.path,
        "offset": row.offset,
        "where": row.where,
        "absent": row.absent,
    }


def _hex(value: int | None) -> str | None:
    return None if value is None else f"{value:#x}"


def _value(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _endpoint(end: Endpoint, which: str, plain: Callable[[str, Any], Any]) -> dict[str, Any]:
    if end.address is not None and end.port is not None:
        return end.members()
    return {name: plain(f"{which}.{name}", value) for name, value in end.members().items()}


def _owners(owners: tuple[Owner, ...] | None) -> list[dict[str, Any]] | None:
    if owners is None:
        return None
    return [owner_object(owner) for owner in owners]


def _timers(timers: tuple[Timer, ...], absent: dict[str, str]) -> list[dict[str, Any]]:
    made = []
    for timer in timers:
        shown, why = _timer_object(timer.name, timer.pending, timer.expires_in_ms)
        absent |= why
        made.append(shown)
    return made


@lru_cache(maxsize=1024)
def _timer_object(
    name: str, pending: bool | Absent, left: int | Absent
) -> tuple[dict[str, Any], dict[str, str]]:
    """Most timers of most sockets don't run, and are alike."""
    values = {"pending": pending, "expires_in_ms": left}
    why = {f"timers.{name}.{key}": str(value) for key, value in values.items() if isinstance(value, Absent)}
    shown = {key: None if isinstance(value, Absent) else value for key, value in values.items()}
    return {"name": name, **shown, "does": ACTIONS[name]}, why
