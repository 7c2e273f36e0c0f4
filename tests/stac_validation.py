"""Validate STAC documents without the network.

The core schemas come with pystac; those of the extensions are read from the shared data folder
and are no part of the project. Whatever has no schema here is counted, never passed over.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cropmask.catalog.schemas import Schemas

SHARED = Path(os.environ.get("CROPMASK_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
SCHEMAS = SHARED / "stac-schemas"


@cache
def offline_schemas() -> Schemas:
    """The schemas, read once."""
    return Schemas(SCHEMAS)


def find_unchecked(document: dict[str, Any]) -> tuple[str, ...]:
    """Check a document against the core schema and all extension schemas at hand.

    Returns
    -------
    tuple of str
        Extensions that could not be checked, for want of their schema.

    Raises
    ------
    AssertionError
        If the document breaks a schema.
    """
    verdict = offline_schemas().check(document)
    assert verdict.problem is None, verdict.problem
    return verdict.unchecked


def assert_valid(document: dict[str, Any]) -> None:
    """Check a document; skip the test, with a count, if extension schemas are not at hand."""
    unchecked = find_unchecked(document)
    if unchecked:
        declared = len(document["stac_extensions"])
        pytest.skip(f"core is valid; {len(unchecked)} of {declared} extensions have no schema here")
