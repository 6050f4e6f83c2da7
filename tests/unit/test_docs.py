# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documentation has everything that there is: commands, their options, fields, socket options, helpers, pages."""

from __future__ import annotations

import inspect
import json
import re
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from sockcrash import helpers
from sockcrash.cli import COMMANDS, group
from sockcrash.cli.manual import manuals
from sockcrash.kernel.options import ROWS
from sockcrash.kernel.registry import GROUPS
from sockcrash.kernel.sockets import KINDS
from sockcrash.plugin.commands import COMMANDS as IN_DRGN

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import generated  # noqa: E402 - found by the line above

PAGES = dict(generated.pages())
WRITTEN = [path for path in DOCS.rglob("*.md") if not {"_build", "generated"} & set(path.parts)]


def plain(text: str) -> str:
    """Markdown as it is read."""
    return re.sub(r"\\(.)", r"\1", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    _, _, page = PAGES["commands"].partition(f"## sockcrash {name}\n")
    (manual,) = [one for one in manuals(group) if one.name == f"sockcrash {name}"]

    assert page
    section = plain(page.partition("\n## ")[0])
    assert [option for option, text in manual.options if f"`{option}`\n: {text}\n" not in section] == []
    assert [block for block in manual.blocks if block.text not in section] == []


def test_every_field_is_documented() -> None:
    definitions = json.loads((files("sockcrash") / "schema.json").read_text())["$defs"]
    page = PAGES["fields"]
    described = {
        name
        for _, definition, _ in generated.SECTIONS
        for name in generated._properties(definitions[definition])
    }

    assert [name for name in described if f"| `{name}` |" not in page] == []
    rows = {field.name for kind in KINDS.values() for g in kind.groups[2:] for field in GROUPS[g.name].fields}
    assert len(described) > len(rows) > 300


def test_every_section_of_the_schema_is_a_part_of_the_page() -> None:
    """A definition that a record refers to, and that has members, must not be forgotten."""
    definitions = json.loads((files("sockcrash") / "schema.json").read_text())["$defs"]
    referred = set(re.findall(r"#/\$defs/(\w+)", json.dumps(definitions["socket"])))
    with_members = {name for name in referred if generated._properties(definitions[name])}

    assert with_members <= {definition for _, definition, _ in generated.SECTIONS} | {
        "queues",
        "cc",
        "absent",
    }


def test_every_socket_option_is_documented() -> None:
    page = (DOCS / "options.md").read_text()

    assert [row.name for row in ROWS if f"| {row.name} |" not in page] == []


@pytest.mark.parametrize("name", helpers.__all__)
def test_every_helper_has_a_type_an_example_and_its_parameters(name: str) -> None:
    helper = getattr(helpers, name)
    text = inspect.getdoc(helper) or ""

    assert text.count(">>> ") >= 1
    for parameter in inspect.signature(inspect.unwrap(helper)).parameters:
        assert f":param {parameter}:" in text, parameter
    assert ":return: " in text


def test_every_command_of_the_plugin_is_documented() -> None:
    page = (DOCS / "reference" / "plugin.md").read_text()

    assert [name for name in IN_DRGN if f"`%{name} " not in page] == []


def test_every_page_is_reached_from_the_start() -> None:
    index = (DOCS / "index.md").read_text()
    names = {str(path.relative_to(DOCS).with_suffix("")) for path in WRITTEN} - {"index"}
    names |= {f"generated/{name}" for name in PAGES}

    assert [name for name in sorted(names) if f"\n{name}\n" not in index] == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for path in WRITTEN:
        for link in re.findall(r"\]\(([^)#]+\.md)[^)]*\)", path.read_text()):
            target = (path.parent / link).resolve()
            if not target.exists() and not (target.parent.name == "generated" and target.stem in PAGES):
                broken.append(f"{path.name}: {link}")

    assert broken == []
