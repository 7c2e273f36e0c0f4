"""Validate STAC documents without the network.

The core schemas come with pystac; those of the extensions are read from the shared data folder
and are no part of the project. Whatever has no schema here is counted, never passed over.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from cropmask.catalog.schemas import Schemas
from tests.shareddata import SHARED, reason

SCHEMAS = "stac-schemas"


@cache
def offline_schemas() -> Schemas:
    """The schemas, read once."""
    return Schemas(SHARED / SCHEMAS)


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
        pytest.skip(f"{reason(SCHEMAS)}: {len(unchecked)} of {declared} extensions unchecked")
