"""The STAC item of one tile and period: written last, so its presence means "done"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from odc.geo.geobox import GeoBox

from cropmask.grid import CRS, EPSG
from cropmask.product import BANDS, FAMILY, LICENSE, PROB
from cropmask.stac import assets
from cropmask.stac.facts import (
    ASSET_SUFFIXES,
    Document,
    FileFacts,
    ItemFacts,
    lonlat_bounds,
    visual_box,
)

_EXTENSIONS = (
    *("projection", "raster", "classification", "processing"),
    *("file", "render", "grid", "version"),
)
_UP = "../../../../"
"""From a dataset's folder (version, column, row, period) to its product's."""


def make_item(facts: ItemFacts, files: Mapping[str, FileFacts]) -> Document:
    """STAC 1.1.0 item of one dataset.

    Parameters
    ----------
    facts
        What the item says.
    files
        The written files by asset key: all of ``ASSET_SUFFIXES``.

    Raises
    ------
    ValueError
        If a file is missing, too many, or has another name than its asset.
    """
    expected = {key: facts.file_name(key) for key in ASSET_SUFFIXES}
    if {key: file.name for key, file in files.items()} != expected:
        raise ValueError(f"an item needs exactly these files: {expected}")
    west, south, east, north = lonlat_bounds(facts.tile)
    ring = [[west, north], [west, south], [east, south], [east, north], [west, north]]
    return {
        "type": "Feature",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": assets.extensions(*_EXTENSIONS),
        "id": facts.id,
        "collection": facts.product.name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {
            **_describe(facts),
            **_place(facts),
            **_provenance(facts),
            "renders": assets.describe_renders(),
        },
        "links": _links(facts),
        "assets": {key: _asset(key, facts, files[key]) for key in ASSET_SUFFIXES},
    }


def _describe(facts: ItemFacts) -> Document:
    start, end = facts.period.interval
    return {
        "title": facts.title,
        "datetime": start,
        "start_datetime": start,
        "end_datetime": end,
        "created": facts.as_of,
        "gsd": facts.resolution,
        "platform": "sentinel-2",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "providers": list(assets.PROVIDERS),
        "license": LICENSE,
        "version": facts.product.version,
    }


def _place(facts: ItemFacts) -> Document:
    return {
        "grid:code": f"AFRICA10-{facts.tile}",
        "proj:code": CRS,
        "proj:epsg": EPSG,
        **_pixels(facts.box),
        "proj:bbox": list(facts.tile.bounds),
    }


def _provenance(facts: ItemFacts) -> Document:
    return {
        "odc:product": facts.product.name,
        "odc:product_family": FAMILY,
        "odc:region_code": str(facts.tile),
        "odc:file_format": "GeoTIFF",
        "odc:dataset_version": facts.product.version,
        "odc:processing_datetime": facts.as_of,
        "odc:lineage": facts.lineage,
        "processing:software": {"cropmask": facts.software},
        "processing:version": facts.software,
        "processing:datetime": facts.as_of,
        "processing:lineage": (
            f"Model '{facts.model.recipe}' on two semiannual Sentinel-2 GeoMADs, rain and slope; "
            "image segmentation and a majority vote for 'filtered'"
        ),
        "cropmask:run_key": str(facts.run_key),
        "cropmask:run_key_parts": dict(sorted(facts.run_key_parts.items())),
        "cropmask:resolution": facts.resolution,
        "cropmask:synthetic": facts.synthetic,
        "cropmask:model": {"recipe": facts.model.recipe, "sha256": facts.model.sha256},
        "cropmask:masks_not_applied": dict(sorted(facts.masks_not_applied.items())),
        "cropmask:statistics": {
            name: None if value is None else round(value, 4)
            for name, value in asdict(facts.statistics).items()
        },
    }


def _pixels(box: GeoBox) -> Document:
    return {"proj:shape": list(box.shape), "proj:transform": list(box.transform[:6])}


def _asset(key: str, facts: ItemFacts, file: FileFacts) -> Document:
    bands = {band.name: band for band in BANDS}
    described: Document = {"href": f"./{file.name}"}
    if key in bands:
        described |= assets.describe_band(bands[key], facts.resolution)
    else:
        described |= assets.FILES[key]
    if key == PROB.name:
        described |= _statistics(facts)
    if key == "visual":
        described |= _pixels(visual_box(facts.box))
    return described | {"file:size": file.size, "file:checksum": file.multihash}


def _statistics(facts: ItemFacts) -> Document:
    left, bottom, right, top = facts.tile.bounds
    hectares = (right - left) * (top - bottom) / 10_000
    known = {"valid_percent": round(100 * facts.statistics.mapped_hectares / hectares, 4)}
    mean = facts.statistics.mean_probability
    if mean is not None:
        known = {"mean": round(mean, 4), **known}
    return {"statistics": known}


def _links(facts: ItemFacts) -> list[Document]:
    item, json = "application/geo+json", "application/json"
    links = [
        assets.make_link("root", f"{_UP}../catalog.json", json),
        assets.make_link("collection", f"{_UP}collection.json", json),
        assets.make_link("parent", f"{_UP}collection.json", json),
    ]
    links += [assets.make_link("derived_from", s.href, item, s.title) for s in facts.sources]
    if facts.model.href is not None:
        title = f"Model: {facts.product.region}, {facts.model.recipe}"
        links.append(assets.make_link("derived_from", facts.model.href, item, title))
    return links
