"""The floor plan: few rooms, arrows down only, no circles of files, one meaning for each name."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "cropmask"
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imports_of(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, inside functions as well; for types alone as well."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cropmask"):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ({name if name in MODULES else str(node.module) for name in inner})


def room_of(module: str) -> str:
    """The folder or single module below ``cropmask``; the front door is above them all."""
    return module.split(".")[1] if "." in module else "the front door"


@cache
def arrows() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        for target in imports_of(path):
            # The package itself is imported by all: it loads nothing but the contract.
            if target != "cropmask" and room_of(module) != room_of(target):
                found[room_of(module)].add(room_of(target))
    return found


def test_few_rooms_are_seen_from_the_root() -> None:
    rooms = {room_of(module) for module in MODULES} - {"the front door"}
    beside = {"benchmarks", "catalogs", "infra", "jobs"}
    assert len(rooms | beside) <= 30


def test_at_most_ten_floors() -> None:
    graph = arrows()

    @cache
    def floor(room: str) -> int:
        return 1 + max((floor(below) for below in graph.get(room, ())), default=0)

    tuple(TopologicalSorter(graph).static_order())  # raises if rooms form a circle
    assert max(map(floor, set(graph) - {"the front door"})) <= 10


def test_no_circles_of_files() -> None:
    graph = {
        module: {target for target in imports_of(path) if target not in (module, "cropmask")}
        for module, path in MODULES.items()
        if module != "cropmask"
    }
    tuple(TopologicalSorter(graph).static_order())


def test_every_room_says_what_it_is() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        text = ast.get_docstring(tree_of(path)) or ""
        assert len(text.splitlines()) >= 3, f"{path.parent.name} does not say what lives in it"
        assert "To come." not in text


def public_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from () if node.name.startswith("_") else (node.name,)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and re.match(r"[A-Z][a-z]", target.id):
                yield target.id  # aliases of types


def test_one_word_one_meaning() -> None:
    """Public classes and types have names that no other one has."""
    homes = defaultdict(list)
    for module, path in MODULES.items():
        for name in public_names(tree_of(path)):
            homes[name].append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_the_page_says_where_everyday_changes_go() -> None:
    """Each of twenty changes has its place: at most two files, and they exist."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Where do I put")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in table.splitlines() if "`" in line]
    assert len(rows) >= 20
    for places in rows:
        named = re.findall(r"`([^`]+)`", places)
        assert 1 <= len(named) <= 2
        assert all((REPOSITORY / name).exists() for name in named if "NAME" not in name), places


def test_the_page_shows_the_floors_that_are_held() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {room_of(module) for module in MODULES}
    shown = [
        {word for word in line[16:60].split() if word in rooms}
        for line in page.splitlines()
        if line.startswith("floor")
    ]
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert shown == [set(re.findall(r"\w+", layer)) for layer in layers]
