"""The Open Data Cube's own document of a dataset (EO3), beside the item and with its id."""

from __future__ import annotations

import yaml

from cropmask.grid import CRS
from cropmask.product import BANDS, FAMILY
from cropmask.stac.facts import Document, ItemFacts


def make_eo3(facts: ItemFacts) -> str:
    """Text of the ``.odc-metadata.yaml``; every path in it is relative to it."""
    document: Document = {
        "$schema": "https://schemas.opendatacube.org/dataset",
        "id": facts.id,
        "label": facts.title,
        "product": {"name": facts.product.name},
        "crs": CRS,
        "grids": {
            "default": {
                "shape": list(facts.box.shape),
                "transform": list(facts.box.transform),
            }
        },
        "properties": _properties(facts),
        "measurements": {band.name: {"path": facts.file_name(band.name)} for band in BANDS},
        "lineage": facts.lineage,
        "accessories": {
            "thumbnail": {"path": facts.file_name("thumbnail")},
            "checksum:sha1": {"path": facts.file_name("checksums")},
        },
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def _properties(facts: ItemFacts) -> Document:
    start, end = facts.period.interval
    return {
        "datetime": start,
        "dtr:start_datetime": start,
        "dtr:end_datetime": end,
        "eo:gsd": facts.resolution,
        "eo:instrument": "MSI",
        "eo:platform": "sentinel-2",
        "odc:dataset_version": facts.product.version,
        "odc:file_format": "GeoTIFF",
        "odc:processing_datetime": facts.as_of,
        "odc:product_family": FAMILY,
        "odc:region_code": str(facts.tile),
        "cropmask:run_key": str(facts.run_key),
        "cropmask:synthetic": facts.synthetic,
    }
