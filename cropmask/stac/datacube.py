"""Documents of the Open Data Cube: datasets (EO3), product definitions, and the list of these."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

import yaml

from cropmask.grid import CRS
from cropmask.product import Band, Product
from cropmask.region.attribution import OTHER_LICENSE, UNSTATED, Attribution
from cropmask.stac.facts import Document, ItemFacts


def make_eo3(facts: ItemFacts) -> str:
    """Text of the ``.odc-metadata.yaml`` beside an item; paths in it are relative to it."""
    document: Document = {
        "$schema": "https://schemas.opendatacube.org/dataset",
        "id": facts.id,
        "label": facts.label,
        "product": {"name": facts.product.name},
        "crs": CRS,
        "grids": {
            "default": {
                "shape": list(facts.box.shape),
                "transform": list(facts.box.transform),
            }
        },
        "properties": _dataset_properties(facts),
        "measurements": {
            band.name: {"path": facts.file_name(band.name)} for band in facts.data_bands
        },
        "lineage": facts.lineage,
        "accessories": {
            "thumbnail": {"path": facts.file_name("thumbnail")},
            "checksum:sha1": {"path": facts.file_name("checksums")},
        },
    }
    return _encode_yaml(document)


def _dataset_properties(facts: ItemFacts) -> Document:
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
        "odc:product_family": facts.product.family,
        "odc:region_code": str(facts.tile),
        "cropmask:run_key": str(facts.run_key),
        "cropmask:synthetic": facts.synthetic,
    }


def _encode_yaml(document: Document) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def product_file(name: str) -> str:
    """Key of a product definition below the root of the catalog."""
    return f"{name}/{name}.odc-product.yaml"


def make_odc_product(
    region_title: str,
    product: Product,
    resolution: int = 10,
    attribution: Attribution = UNSTATED,
    bands: Iterable[str] = (),
) -> str:
    """Text of an ``.odc-product.yaml``, as ``datacube product add`` takes it.

    ``resolution`` is the pixel size in meters that ``datacube.load`` uses by default. ``bands`` are
    extra ones, which all datasets must have: one without is not indexed.
    """
    credit = f" Credit: {attribution.line}." if attribution.line else ""
    what = "Change of cropland between years" if product.is_series else "Annual cropland extent"
    document: Document = {
        "name": product.name,
        "description": f"{what} of {region_title}.{credit}",
        "metadata_type": "eo3",
        "license": attribution.license or OTHER_LICENSE,
        "metadata": {"product": {"name": product.name}},
        "storage": {"crs": CRS, "resolution": {"x": resolution, "y": -resolution}},
        "measurements": [
            _describe_measurement(band, has_flags=product.is_series)
            for band in product.bands(bands)
        ],
    }
    return _encode_yaml(document)


def _describe_measurement(band: Band, *, has_flags: bool) -> Document:
    """A measurement; masks have no flags, as published."""
    known: Document = {
        "name": band.name,
        "aliases": list(band.aliases),
        "dtype": band.dtype,
        "nodata": band.nodata,
        "units": band.unit,
    }
    if has_flags and band.classes:
        values = {found.value: found.name for found in band.classes}
        flag = {"description": band.title, "bits": list(range(8)), "values": values}
        known["flags_definition"] = {band.name: flag}
    return known


def make_products_csv(places: Mapping[str, str]) -> str:
    """Text of ``products.csv``: product name and address of its definition."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("product", "definition"))
    writer.writerows(sorted(places.items()))
    return text.getvalue()
