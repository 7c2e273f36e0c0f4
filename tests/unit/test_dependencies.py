"""What pyproject.toml declares for run time is what the package imports, no less and no more."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from cropmask.errors import OPTIONAL_PACKAGES, not_installed

REPOSITORY = Path(__file__).parents[2]
IMPORTED_AS = {
    "odc-geo": "odc.geo",
    "odc-stac": "odc.stac",
    "pystac-client": "pystac_client",
    "pyyaml": "yaml",
    "rio-cogeo": "rio_cogeo",
    "scikit-learn": "sklearn",
}
COME_WITH = {
    "affine": "rasterio",
    "botocore": "boto3",
    "llvmlite": "numba",
    "typing_extensions": "pydantic",
    "urllib3": "requests",
}
"""What is imported without being declared, by what brings it."""
ELSEWHERE = {"datacube"}
"""Imported by a file that runs in the environment of Open Data Cube's programs, not in ours."""
USED_BY_OTHERS = {
    "jsonschema": "pystac validates with it",
    "odc-stac": "users load results with it, and tests compare our resampling with it",
}


BROUGHT_BY_SCIKIT_LEARN = {"scipy", "threadpoolctl"}


def declared() -> dict[str, set[str]]:
    """Modules of the dependencies, by extra; those of the package itself under an empty name."""
    return {
        extra: {IMPORTED_AS.get(one, one) for one in ones if one not in USED_BY_OTHERS}
        for extra, ones in packages().items()
    }


def packages() -> dict[str, set[str]]:
    """Names of the same on PyPI."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {re.split(r"[<>=\[]", one)[0] for one in ones} for extra, ones in groups.items()}


@cache
def imported() -> set[str]:
    """Every module of others that a file of the package imports, with its full name."""
    found = set()
    for file in (REPOSITORY / "cropmask").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = {"cropmask", *sys.stdlib_module_names}
    return {name for name in found if name.partition(".")[0] not in ours}


def covers(module: str, name: str) -> bool:
    return name == module or name.startswith(f"{module}.")


@pytest.mark.parametrize("extra", declared())
def test_what_is_declared_is_imported(extra: str) -> None:
    names = imported()
    unused = {
        module for module in declared()[extra] if not any(covers(module, name) for name in names)
    }
    assert unused == set()


def test_what_is_imported_is_declared_or_comes_with_what_is() -> None:
    modules = set().union(*declared().values())
    assert set(COME_WITH.values()) <= modules
    known = {*modules, *COME_WITH, *ELSEWHERE}
    unknown = {name for name in imported() if not any(covers(module, name) for module in known)}
    assert unknown == set()


def test_every_optional_package_says_what_needs_it_and_make_setup_brings_it() -> None:
    optional = {extra: names for extra, names in packages().items() if extra}
    assert set().union(*optional.values()) - BROUGHT_BY_SCIKIT_LEARN == set(OPTIONAL_PACKAGES)
    rule = (REPOSITORY / "Makefile").read_text().partition("\n.venv/.dev:")[2].partition("\n\n")[0]
    assert set(re.findall(r"--extra (\w+)", rule)) == set(optional)
    assert str(not_installed("starlette", "uvicorn")) == (
        "serving results needs the packages starlette and uvicorn: 'make setup' in a clone of "
        "cropmask brings them, elsewhere 'pip install starlette uvicorn'"
    )


def test_nobody_is_sent_to_the_other_package_of_our_name_on_pypi() -> None:
    told = [REPOSITORY / "README.md", *(REPOSITORY / "cropmask").rglob("*.py")]
    told += (REPOSITORY / "docs").rglob("*.md")
    for path in told:
        assert not re.search(r"pip install[^`\n]*[\s'\"]cropmask", path.read_text()), path
