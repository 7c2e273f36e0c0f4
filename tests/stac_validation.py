"""Validate STAC documents without the network.

The core schemas come with pystac; those of the extensions are read from the shared data folder
and are no part of the project. Whatever has no schema here is counted, never passed over.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pyproj.datadir
import pytest
from pystac import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator

SHARED = Path(os.environ.get("CROPMASK_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
_KINDS = {
    "Feature": STACObjectType.ITEM,
    "Collection": STACObjectType.COLLECTION,
    "Catalog": STACObjectType.CATALOG,
}


class OfflineValidator(JsonSchemaSTACValidator):
    """pystac's validator with every schema that is at hand, and never another."""

    def __init__(self, schemas: Path) -> None:
        super().__init__()
        self.schema_cache = dict(self.schema_cache)
        for path in sorted(schemas.glob("*/*/schema.json")):
            name = path.relative_to(schemas).as_posix()
            self.schema_cache[f"https://stac-extensions.github.io/{name}"] = _load(path)
        projjson = _load(Path(pyproj.datadir.get_data_dir()) / "projjson.schema.json")
        # Extensions name other minor versions of the same schema.
        for version in ("0.5", "0.7"):
            self.schema_cache[f"https://proj.org/schemas/v{version}/projjson.schema.json"] = (
                projjson
            )

    def _get_schema(self, schema_uri: str) -> dict[str, Any]:
        if schema_uri not in self.schema_cache:
            raise LookupError(f"no schema offline: {schema_uri}")
        return super()._get_schema(schema_uri)


def _load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@cache
def offline_validator() -> OfflineValidator:
    """The validator, made once."""
    return OfflineValidator(SHARED / "stac-schemas")


def find_unchecked(document: dict[str, Any]) -> list[str]:
    """Check a document against the core schema and all extension schemas at hand.

    Returns
    -------
    list of str
        Extensions that could not be checked, for want of their schema.

    Raises
    ------
    pystac.errors.STACValidationError
        If the document breaks a schema.
    """
    validator = offline_validator()
    kind, version = _KINDS[document["type"]], document["stac_version"]
    checked = validator.validate_core(document, kind, version)
    assert checked in validator.schema_cache, f"no core schema for {kind} {version}"
    unchecked = []
    for extension in document.get("stac_extensions", ()):
        if extension in validator.schema_cache:
            validator.validate_extension(document, kind, version, extension)
        else:
            unchecked.append(extension)
    return unchecked


def assert_valid(document: dict[str, Any]) -> None:
    """Check a document; skip the test, with a count, if extension schemas are not at hand."""
    unchecked = find_unchecked(document)
    if unchecked:
        declared = len(document["stac_extensions"])
        pytest.skip(f"core is valid; {len(unchecked)} of {declared} extensions have no schema here")
