"""STAC documents against their schemas, without the network.

The core schemas come with pystac. Those of extensions are read from a folder, or fetched if that
is asked for; whatever has no schema at hand is named, never passed over.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyproj.datadir

from cropmask.errors import CropmaskError, Interrupted, Misconfigured, Reason, not_installed
from cropmask.remote.fetch import ReadOptions, load_json
from cropmask.stac.facts import Document

EXTENSIONS: Final = "https://stac-extensions.github.io/"
_PROJJSON: Final = "https://proj.org/schemas/v{}/projjson.schema.json"
_PROJJSON_VERSIONS: Final = ("0.5", "0.7")


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """What the schemas say of a document."""

    problem: str | None
    """The first thing that is wrong, in one line."""
    unchecked: tuple[str, ...]
    """Extensions that have no schema at hand."""


class Schemas:
    """Schemas at hand: those of the core, and those of extensions as far as they are given.

    ``folder`` has schemas of extensions as ``{extension}/{version}/schema.json``; ``fetch`` says
    whether to fetch others.
    """

    def __init__(self, folder: Path | None = None, *, fetch: bool = False) -> None:
        self._fetch = fetch
        self._missed = threading.local()  # documents are checked in several threads
        self._validator = _open_validator()
        cache = self._validator.schema_cache
        self._validator._get_schema = self._find
        if folder is not None:
            for path in sorted(folder.glob("*/*/schema.json")):
                cache[f"{EXTENSIONS}{path.relative_to(folder).as_posix()}"] = _load(path)
        cache |= {uri: schema for uri, schema in _stand_ins(cache) if uri not in cache}

    def check(self, document: Mapping[str, Any]) -> SchemaCheck:
        """Check an item, collection or catalog against the core and its extensions at hand."""
        import pystac
        from pystac.errors import STACValidationError

        kinds = {
            "Feature": pystac.STACObjectType.ITEM,
            "Collection": pystac.STACObjectType.COLLECTION,
            "Catalog": pystac.STACObjectType.CATALOG,
        }
        kind, version = kinds.get(str(document.get("type"))), str(document.get("stac_version"))
        if kind is None:
            return SchemaCheck("it is no STAC item, collection or catalog", ())
        try:
            self._validator.validate_core(dict(document), kind, version)
        except STACValidationError as error:
            return SchemaCheck(_one_line(error), ())
        except LookupError:
            return SchemaCheck(f"no schema of STAC {version} is at hand", ())
        unchecked: list[str] = []
        for extension in document.get("stac_extensions", ()):
            self._missed.here = False
            try:
                self._validator.validate_extension(dict(document), kind, version, extension)
            except STACValidationError as error:
                return SchemaCheck(_one_line(error), tuple(unchecked))
            except Exception:
                if not self._missed.here:
                    raise
                unchecked.append(extension)
        return SchemaCheck(None, tuple(unchecked))

    def _find(self, uri: str) -> Document:
        cache: dict[str, Document] = self._validator.schema_cache
        if uri not in cache:
            if not self._fetch:
                self._missed.here = True
                raise LookupError(f"no schema at hand: {uri}")
            cache[uri] = _fetch(uri)
        return cache[uri]


def _open_validator() -> Any:  # noqa: ANN401 (pystac makes it only with jsonschema)
    try:
        from pystac.validation.stac_validator import JsonSchemaSTACValidator

        validator = JsonSchemaSTACValidator()
    except ImportError:
        raise not_installed("jsonschema") from None
    validator.schema_cache = dict(validator.schema_cache)
    logging.getLogger("pystac.validation.stac_validator").setLevel(logging.CRITICAL)
    return validator


def _stand_ins(cache: Mapping[str, Document]) -> Iterator[tuple[str, Document]]:
    """Schemas that others refer to by an older version or another address."""
    projjson = _load(Path(pyproj.datadir.get_data_dir()) / "projjson.schema.json")
    for version in _PROJJSON_VERSIONS:
        yield _PROJJSON.format(version), projjson
    processing = f"{EXTENSIONS}processing/v1.2.0/schema.json"
    if processing in cache:
        # Of version 1.1.0 the MLM extension uses an object that has not changed since.
        yield processing.replace("v1.2.0", "v1.1.0"), cache[processing]
    for uri, schema in cache.items():
        if uri.endswith("/data-values.json"):
            # STAC 1.1 took the list of data types from raster 1.1.0, whose other parts nobody uses.
            kinds = {"properties": {"data_type": schema["properties"]["data_type"]}}
            yield (
                f"{EXTENSIONS}raster/v1.1.0/schema.json",
                {"$schema": schema["$schema"], "definitions": {"bands": {"items": kinds}}},
            )


def _load(path: Path) -> Document:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"schema {path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise Misconfigured(f"{path} is no JSON schema")
    return found


def _fetch(uri: str) -> Document:
    try:
        found = load_json(uri, ReadOptions().at(EXTENSIONS))  # a document says where
    except CropmaskError as error:
        raise Interrupted(
            f"schema {uri} cannot be fetched ({error}): try again later, or give --schemas a "
            "folder of schemas",
            reason=Reason.UNREACHABLE,
        ) from None
    if not isinstance(found, dict):
        raise Interrupted(f"{uri} is no JSON schema", reason=Reason.UNREACHABLE)
    return found


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])
