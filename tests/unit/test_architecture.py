# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which room may lean on which, and what no file may hold."""

from __future__ import annotations

import ast
import graphlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "sockcrash"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400

# Imports go downward only. A room may import itself and every room of a lower floor.
FLOORS = (
    ("errors", "model", "__init__"),
    ("kernel", "memory", "glossary"),
    ("locate", "decode", "diagnose", "render", "target", "snapshot"),
    ("trace", "verify", "filter", "watch", "summary", "byhand"),
    ("cli", "plugin", "helpers"),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Neighbours on one floor where one leans on the other, never in a circle: (who, on whom).
ASIDE = {
    ("kernel", "memory"),
    ("target", "snapshot"),
    ("snapshot", "decode"),
    ("snapshot", "locate"),
    ("decode", "locate"),
    ("plugin", "helpers"),
    ("cli", "plugin"),
    ("cli", "helpers"),
    ("byhand", "filter"),
}
# Only these may use a library that costs start-up time or belongs to one task.
ONLY_IN = {"click": {"cli"}, "lark": {"filter"}, "orjson": {"render"}, "tabulate": {"render"}}
PRINTING_ROOMS = {"cli", "plugin", "trace"}
# Reading them needs no drgn: they work on records, on another machine.
PURE = {"errors", "model", "render", "diagnose", "glossary"}


def room(path: Path) -> str:
    """The room of a module: its first directory or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Full names that a module imports, and whether at run time (not only for type checking)."""
    tree = ast.parse(path.read_text())
    for_types = {id(node) for block in ast.walk(tree) if _is_type_checking(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name, id(node) not in for_types) for name in names)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def own_room(name: str) -> str | None:
    """The room that an import leads to, None if it is not ours."""
    top, _, rest = name.partition(".")
    if top != "sockcrash":
        return None
    first = rest.partition(".")[0]
    return first if (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").is_file() else "__init__"


def upward(path: Path) -> list[str]:
    """Imports of a module that go up or to a neighbour that is not allowed."""
    here = room(path)
    found = []
    for name, _ in imports(path):
        there = own_room(name)
        if there is None or there == here or (here, there) in ASIDE or FLOOR[there] < FLOOR[here]:
            continue
        found.append(f"{path.relative_to(PROJECT)} imports {name}")
    return found


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in MODULES} <= set(FLOOR)


def test_neighbours_lean_on_each_other_in_one_direction() -> None:
    assert list(
        graphlib.TopologicalSorter(
            {who: {whom for w, whom in ASIDE if w == who} for who, _ in ASIDE}
        ).static_order()
    )


def test_imports_go_downward_only() -> None:
    assert [line for path in MODULES for line in upward(path)] == []


def test_an_import_that_goes_up_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: a module of kernel/ that imports decode, under any disguise."""
    monkeypatch.setitem(globals(), "PROJECT", tmp_path)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "sockcrash")
    for name in ("kernel", "decode"):
        (tmp_path / "sockcrash" / name).mkdir(parents=True)
    bad = tmp_path / "sockcrash/kernel/bad.py"

    for text in (
        "import sockcrash.decode",
        "from sockcrash import decode",
        "def f():\n from sockcrash.decode import d",
    ):
        bad.write_text(text)
        assert upward(bad) == [f"sockcrash/kernel/bad.py imports {next(imports(bad))[0]}"]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_room(library: str) -> None:
    users = {room(path) for path in MODULES for name, _ in imports(path) if name.partition(".")[0] == library}

    assert users <= ONLY_IN[library]


def test_records_rules_and_renderers_know_no_drgn() -> None:
    users = {
        room(path)
        for path in MODULES
        for name, really in imports(path)
        if really and name.partition(".")[0] == "drgn"
    }

    assert not users & PURE


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()

    assert lines[0] == "# SPDX-License-Identifier: LGPL-2.1-or-later"
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(lines) <= MAX_LINES


def kernel_difference_tests(tree: ast.AST) -> Iterator[str]:
    """What tells one kernel from another: for kernel/ only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            if "AttributeError" in caught:
                yield f"line {node.lineno}: except AttributeError"
        elif isinstance(node, ast.Attribute) and node.attr == "has_member":
            yield f"line {node.lineno}: {node.attr}"
        elif isinstance(node, ast.Name) and node.id in ("hasattr", "has_member"):
            yield f"line {node.lineno}: {node.id}"


def version_comparisons(tree: ast.AST) -> Iterator[str]:
    """A comparison with the release or with what was made of it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        words = {n.id.lower() for n in ast.walk(node) if isinstance(n, ast.Name)}
        words |= {n.attr.lower() for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        words |= {str(n.value).lower() for n in ast.walk(node) if isinstance(n, ast.Constant)}
        if any(re.search(r"uts_?release|kernel_?version|linux_version|osrelease\b", word) for word in words):
            if all(isinstance(op, (ast.In, ast.NotIn, ast.Is, ast.IsNot)) for op in node.ops):
                continue
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_kernel_room_knows_that_kernels_differ(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert list(version_comparisons(tree)) == []
    if room(path) != "kernel":
        assert list(kernel_difference_tests(tree)) == []


@pytest.mark.parametrize(
    ("text", "guilty"),
    [
        ("try:\n x\nexcept AttributeError:\n y", True),
        ("try:\n x\nexcept (KeyError, AttributeError):\n y", True),
        ("type_.has_member('a')", True),
        ("hasattr(sk, 'a')", True),
        ("if prog['UTS_RELEASE'].string_() >= b'6.1': pass", True),
        ("if kernel_version > (5, 10): pass", True),
        ("try:\n x\nexcept KeyError:\n y", False),
        ("if version >= 3: pass", False),
    ],
)
def test_kernel_difference_tests_are_recognised(text: str, guilty: bool) -> None:
    tree = ast.parse(text)

    assert bool([*kernel_difference_tests(tree), *version_comparisons(tree)]) is guilty


def prints(tree: ast.AST) -> Iterator[str]:
    """Calls that write on the terminal."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        text = ast.unparse(node.func)
        if text in ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"):
            yield f"line {node.lineno}: {text}"


def test_only_some_rooms_print() -> None:
    found = {
        str(path.relative_to(PROJECT)): list(prints(ast.parse(path.read_text())))
        for path in MODULES
        if room(path) not in PRINTING_ROOMS
    }

    assert {name: lines for name, lines in found.items() if lines} == {}


# ---- every file of the repository


def tracked() -> list[Path]:
    """The files of the repository, those that will be added included; without git, what lies here."""
    command = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = (
        subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("git") else None
    )
    if listed and listed.returncode == 0:
        return [path for name in listed.stdout.split("\0") if name and (path := PROJECT / name).is_file()]
    return [path for path in PROJECT.rglob("*") if path.is_file() and not _hidden(path)]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") and part != ".ci" for part in path.relative_to(PROJECT).parts)


def texts() -> Iterator[tuple[Path, str]]:
    """Text files among them."""
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw[:4096]:
            yield path, raw.decode("utf-8", "replace")


# Written in pieces, or this file would accuse itself.
FORBIDDEN = {
    "a path of the machine it was written on": "/wor"
    + r"k/(main|shared|\.)|/root/"
    + r"\.|/tmp/"
    + "(venv|brief)|/opt/"
    + "(wheels|pypi)",
    "notes that are not part of the project": r"\.\./" + "shared",
    "a package registry's host": "(pypi"
    + r"\.org|files\.python"
    + r"hosted|deb\.debian"
    + r"\.org|\bproxy\.)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path.relative_to(PROJECT)}: {match[0]}"
        for path, text in texts()
        if path.name != "LICENSE" and (match := pattern.search(text))
    ]

    assert found == []


def _is_source(path: Path, text: str) -> bool:
    return path.suffix in (".py", ".sh", ".toml") or text.startswith("#!")


def test_every_source_says_its_licence() -> None:
    missing = [
        str(path.relative_to(PROJECT))
        for path, text in texts()
        if _is_source(path, text)
        and path.suffix != ".toml"
        and "SPDX-License-Identifier: LGPL-2.1-or-later" not in "\n".join(text.splitlines()[:2])
    ]

    assert missing == []


def test_no_kernel_or_debug_file_is_in_the_tree() -> None:
    big = [
        path.name
        for path in tracked()
        if path.read_bytes()[:4] == b"\x7fELF" or path.stat().st_size > 3 << 20
    ]

    assert big == []


def test_the_architecture_page_names_every_room() -> None:
    page = (PROJECT / "docs/architecture.md").read_text()
    rooms = {room(path) for path in MODULES} - {"__init__", "__main__"}

    assert {name for name in rooms if f"`{name}`" not in page and f"`{name}/`" not in page} == set()
