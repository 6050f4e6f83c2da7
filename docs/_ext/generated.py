# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages that are made from the data when the site is built: commands, fields, the glossary, the JSON Schema.

None of them is kept.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sockcrash.cli import COMMANDS, group
from sockcrash.cli.manual import ENVIRONMENT, EXIT_STATUS, Manual, manual_of, manuals
from sockcrash.glossary import Entry, entries, meaning

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parents[1]
GENERATED = HERE / "generated"

# Parts of a record that the schema describes: the key in a record, the definition, what it is.
SECTIONS = (
    ("", "socket", "The record itself"),
    ("", "endpoint", "local, peer"),
    ("", "owner", "Each of owners"),
    ("", "option", "Each of options"),
    ("", "timer", "Each of timers"),
    ("", "gives_up", "gives_up"),
    ("", "queue", "Each of queues"),
    ("", "segment", "Each buffer of a queue"),
    ("sock", "sock", "Of every full socket: struct sock"),
    ("tcp", "tcp", "TCP: struct tcp_sock, inet_connection_sock"),
    ("minisock", "timewait", "TIME_WAIT: struct tcp_timewait_sock"),
    ("minisock", "request", "NEW_SYN_RECV: struct tcp_request_sock"),
    ("mptcp", "mptcp", "MPTCP: struct mptcp_sock"),
    ("udp", "udp", "UDP and UDP-Lite: struct udp_sock"),
    ("raw", "raw", "RAW: struct raw_sock"),
    ("unix", "unix", "UNIX: struct unix_sock"),
    ("packet", "packet", "PACKET: struct packet_sock"),
    ("netlink", "netlink", "NETLINK: struct netlink_sock"),
    ("vsock", "vsock", "VSOCK: struct vsock_sock"),
    ("xdp", "xdp", "XDP: struct xdp_sock"),
)


def pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each page."""
    yield "commands", _commands()
    yield "fields", _fields()
    yield "glossary", _glossary()
    yield "schema", _schema_page()


def setup(app: Sphinx) -> dict[str, bool]:
    """What sphinx calls."""
    app.connect("builder-inited", lambda _app: write())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write() -> None:
    """Write the pages that have changed."""
    GENERATED.mkdir(exist_ok=True)
    for name, text in pages():
        page = GENERATED / f"{name}.md"
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


# ---- commands


def _commands() -> str:
    whole = manual_of(group, click.Context(group, info_name="sockcrash"))
    lines = ["# Commands", "", "`sockcrash COMMAND --help` and `sockcrash man COMMAND` show the same.", ""]
    lines += ["| command | what it does |", "|---|---|"]
    lines += [f"| [{name}](#sockcrash-{name}) | {_cell(text)} |" for name, (_, text) in COMMANDS.items()]
    lines += ["", *_list("For all of them", whole.options)]
    for manual in manuals(group):
        lines += [f"## {manual.name}", "", *_manual(manual)]
    lines += _list("## Exit status", EXIT_STATUS) + _list("## Environment", ENVIRONMENT)
    return "\n".join(lines) + "\n"


def _manual(manual: Manual) -> Iterator[str]:
    yield from ("```text", manual.usage, "```", "")
    for block in manual.blocks:
        yield from ("```text", block.text, "```", "") if block.verbatim else (_text(block.text), "")
    for option, text in manual.options:
        yield from (f"`{option}`", f": {_text(text)}", "")


def _list(heading: str, items: Any) -> list[str]:
    return [heading, "", *(line for term, text in items for line in (f"`{term}`", f": {_text(text)}", ""))]


# ---- fields


def _fields() -> str:
    definitions = _schema()["$defs"]
    lines = [
        "# Fields",
        "",
        "Every key of a record, as `--json` has it, as `-f`, `-o` and filters name it, and as `sockcrash explain`",
        "explains it. A key that is named as a C member holds the raw member; converted values have names of their own",
        "with their unit. What is absent is null, and `absent` says why. Options have",
        "[a page of their own](../options.md).",
        "",
    ]
    for section, definition, title in SECTIONS:
        about = definitions[definition]
        lines += [f"## {title}", "", about.get("description", ""), ""]
        lines += ["| field | type | unit | meaning |", "|---|---|---|---|"]
        for name, field in _properties(about).items():
            entry = meaning("member", section or "record", name)
            unit, means = (entry.unit, entry.means) if entry else ("", field.get("description", ""))
            lines.append(f"| `{name}` | {_cell(_type(field))} | {_cell(unit)} | {_cell(means)} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def _properties(about: dict[str, Any]) -> dict[str, Any]:
    """The members of an object, of all its forms if it has several."""
    found = dict(about.get("properties", {}))
    for form in about.get("oneOf", ()):
        found = {**_properties(form), **found}
    return found


def _type(field: dict[str, Any]) -> str:
    reference = field.get("$ref")
    if reference:
        return str(reference).rpartition("/")[2]
    if "const" in field or "enum" in field:
        return "one of " + ", ".join(map(str, field.get("enum", [field.get("const")])))
    kind = field.get("type", "")
    names = kind if isinstance(kind, list) else [kind]
    return " or ".join(name for name in names if name != "null")


# ---- the glossary

_SORTS = {"member": "Members", "option": "Options", "state": "States", "timer": "Timers", "flag": "Flags"}


def _glossary() -> str:
    lines = ["# Glossary", "", "What `sockcrash explain NAME` says.", ""]
    for sort, title in _SORTS.items():
        lines += [f"## {title}", ""]
        for entry in sorted((one for one in entries() if one.sort == sort), key=lambda one: one.name.lower()):
            lines += _entry(entry)
    return "\n".join(lines) + "\n"


def _entry(entry: Entry) -> Iterator[str]:
    names = ", ".join(f"`{name}`" for name in (entry.name, *entry.also))
    where = f" ({_text(entry.section)})" if entry.section else ""
    yield f"{names}{where}"
    texts = [entry.means, entry.text, f"Misread: {entry.misread}" if entry.misread else ""]
    facts = (
        ("Unit", entry.unit),
        ("Implements", ", ".join(entry.implements)),
        ("See", ", ".join(entry.sources)),
    )
    texts += [" ".join(f"{label}: {text}." for label, text in facts if text)]
    written = [
        f"{', '.join(f'{name}()' for name in functions)} in {file}" for file, functions in entry.written
    ]
    texts += [f"Written by {'; '.join(written)}." if written else ""]
    first, *more = [_cell(text) for text in texts if text]
    yield f": {first}"
    for text in more:
        yield from ("", f"  {text}")
    yield ""


# ---- the schema


def _schema_page() -> str:
    schema = json.dumps(_schema(), indent=2)
    return "\n".join(
        (
            "# JSON Schema",
            "",
            "It describes every JSON document of every command (draft 2020-12), and is installed with the package:",
            "",
            "```text",
            'python3 -c \'import importlib.resources as r; print(r.files("sockcrash") / "schema.json")\'',
            "```",
            "",
            "`schema` in each document is its version. Keys are added without a new one; a key that changes its",
            "meaning or goes away brings a new one.",
            "",
            "```json",
            schema,
            "```",
            "",
        )
    )


def _schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((importlib.resources.files("sockcrash") / "schema.json").read_text())
    return found


def _text(text: str) -> str:
    """Plain text as Markdown: nothing in it is markup."""
    for mark in ("\\", "`", "*", "_", "[", "]", "<", ">", "|"):
        text = text.replace(mark, f"\\{mark}")
    return text


def _cell(text: str) -> str:
    return _text(" ".join(text.split()))
