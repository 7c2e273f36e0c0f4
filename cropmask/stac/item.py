"""The STAC item of one tile and period, made and read back.

It is written last, so its presence means that the dataset is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from odc.geo.geobox import GeoBox

from cropmask.core.cropmap import ValidArea
from cropmask.errors import Rejected
from cropmask.grid import CRS, EPSG, Tile
from cropmask.product import EXTRA_BANDS, PROB
from cropmask.region.attribution import NOTICE, Attribution, parse_attribution
from cropmask.stac import assets
from cropmask.stac.facts import (
    AreaFacts,
    Document,
    FileFacts,
    ItemFacts,
    MapFacts,
    ModelFacts,
    area_assets,
    find_assets,
    mark_title,
)
from cropmask.stac.footprint import describe_footprint, thumbnail_box
from cropmask.stac.links import ITEM_TYPE, is_document, is_shallow, make_link

_EXTENSIONS: Final = (
    *("projection", "raster", "classification", "processing"),
    *("file", "render", "grid", "version"),
)
_AREA_EXTENSIONS: Final = tuple(name for name in _EXTENSIONS if name not in ("grid", "version"))
_UP: Final = "../../../../"
"""From a dataset's folder (version, column, row, period) to its product's."""


def make_item(
    facts: ItemFacts, files: Mapping[str, FileFacts], valid: ValidArea | None = None
) -> Document:
    """STAC 1.1.0 item of one dataset; ``files`` are those of all its assets, by key.

    ``valid`` says where the bands are not nodata; without it the item covers the tile.

    Raises ValueError if a file is missing, too many, or has another name than its asset.
    """
    expected = {key: facts.file_name(key) for key in find_assets(facts.data_bands)}
    if {key: file.name for key, file in files.items()} != expected:
        raise ValueError(f"an item needs exactly these files: {expected}")
    return {
        "type": "Feature",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": assets.extensions(*_EXTENSIONS),
        "id": facts.id,
        "collection": facts.product.name,
        **describe_footprint(valid, facts.box),
        "properties": {
            **_describe(facts),
            "version": facts.product.version,
            **_place(facts),
            **_provenance(facts),
            "renders": assets.describe_renders(facts.data_bands),
        },
        "links": _links(facts),
        "assets": {key: _asset(key, facts, files[key], valid) for key in expected},
    }


def make_area_item(
    facts: AreaFacts, files: Mapping[str, FileFacts], valid: ValidArea | None = None
) -> Document:
    """STAC 1.1.0 item of an area of one's own: of no collection, with the area's geometry.

    ``files`` are those of all its assets, by key; ``valid`` says where the bands are not
    nodata.
    """
    return {
        "type": "Feature",
        "stac_version": assets.STAC_VERSION,
        "stac_extensions": assets.extensions(*_AREA_EXTENSIONS),
        "id": facts.id,
        "geometry": facts.geometry,
        "bbox": list(facts.bounds),
        "properties": {
            **_describe(facts),
            "proj:code": CRS,
            "proj:epsg": EPSG,
            **_pixels(facts.box),
            "proj:bbox": list(facts.box.boundingbox.bbox),
            **_process(facts, *facts.models.values()),
            "cropmask:area": {"name": facts.name, "sha256": facts.digest},
            **_key(facts),
            "cropmask:models": {
                product.name: {"version": product.version, **_name_model(model)}
                for product, model in facts.models.items()
            },
            **_figures(facts),
            "renders": assets.describe_renders(facts.data_bands),
        },
        "links": [*_source_links(facts), *assets.license_links(facts.attribution)],
        "assets": {key: _asset(key, facts, files[key], valid) for key in area_assets(facts.bands)},
    }


def _describe(facts: MapFacts) -> Document:
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
        **assets.describe_terms(facts.attribution),
    }


def _place(facts: ItemFacts) -> Document:
    """Grid of the data assets, whatever part of it holds data."""
    left, bottom, right, top = facts.tile.bounds
    ring = [[left, top], [left, bottom], [right, bottom], [right, top], [left, top]]
    return {
        "grid:code": f"AFRICA10-{facts.tile}",
        "proj:code": CRS,
        "proj:epsg": EPSG,
        **_pixels(facts.box),
        "proj:bbox": [left, bottom, right, top],
        "proj:geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def _provenance(facts: ItemFacts) -> Document:
    return {
        "odc:product": facts.product.name,
        "odc:product_family": facts.product.family,
        "odc:region_code": str(facts.tile),
        "odc:file_format": "GeoTIFF",
        "odc:dataset_version": facts.product.version,
        "odc:processing_datetime": facts.as_of,
        "odc:lineage": facts.lineage,
        **_process(facts, facts.model),
        **_key(facts),
        "cropmask:model": _name_model(facts.model),
        **_figures(facts),
        **({"cropmask:series": facts.series} if facts.series is not None else {}),
    }


def _process(facts: MapFacts, *models: ModelFacts) -> Document:
    recipes = " and ".join(sorted({f"'{model.recipe}'" for model in models}))
    lineage = (
        f"Model {recipes} on two semiannual Sentinel-2 GeoMADs, rain and slope; image segmentation "
        "and a majority vote for 'filtered'"
    )
    if facts.is_series:
        lineage = (
            "States of each year given the cropland maps of all years: a hidden Markov model, "
            "forward-backward and Viterbi, with rates of change and evidence fitted to the region"
        )
    return {
        "processing:software": {"cropmask": facts.software},
        "processing:version": facts.software,
        "processing:datetime": facts.as_of,
        "processing:lineage": lineage,
    }


def _key(facts: MapFacts) -> Document:
    return {
        "cropmask:run_key": str(facts.run_key),
        "cropmask:run_key_parts": dict(sorted(facts.run_key_parts.items())),
        "cropmask:resolution": facts.resolution,
        "cropmask:synthetic": facts.synthetic,
    }


def _name_model(model: ModelFacts) -> Document:
    return {"recipe": model.recipe, "sha256": model.sha256}


def _figures(facts: MapFacts) -> Document:
    return {
        "cropmask:masks_not_applied": dict(sorted(facts.masks_not_applied.items())),
        **(
            {"cropmask:input_versions": dict(sorted(facts.input_versions.items()))}
            if facts.input_versions
            else {}
        ),
        "cropmask:statistics": {
            name: None if value is None else round(value, 4)
            for name, value in facts.statistics.figures.items()
        },
        **_extras(facts),
    }


def _extras(facts: MapFacts) -> Document:
    """What was asked for beside the published: extra bands, and objects across seams."""
    said: Document = {"cropmask:bands": list(facts.bands)} if facts.bands else {}
    if facts.seamless is not None:
        said["cropmask:seamless"] = facts.seamless
    if facts.half_years is not None:
        said["cropmask:half_years"] = facts.half_years
    if facts.calibrations:
        said["cropmask:calibration"] = dict(sorted(facts.calibrations.items()))
    return said


def _pixels(box: GeoBox) -> Document:
    return {"proj:shape": list(box.shape), "proj:transform": list(box.transform[:6])}


def _asset(key: str, facts: MapFacts, file: FileFacts, valid: ValidArea | None) -> Document:
    bands = {band.name: band for band in facts.data_bands}
    described: Document = {"href": f"./{file.name}"}
    if key in bands:
        described |= assets.describe_band(bands[key], facts.resolution)
    else:
        described |= assets.describe_file(key, is_series=facts.is_series)
    if key == PROB.name or key in facts.bands:
        described |= _statistics(facts, facts.statistics.means.get(key))
    if key == "visual":
        described |= _pixels(facts.visual_box)
    if key == "thumbnail":
        described |= _pixels(thumbnail_box(valid, facts.box))
    return described | {"file:size": file.size, "file:checksum": file.multihash}


def _statistics(facts: MapFacts, mean: float | None) -> Document:
    left, bottom, right, top = facts.box.boundingbox.bbox
    hectares = (right - left) * (top - bottom) / 10_000
    known = {"valid_percent": round(100 * facts.statistics.mapped_hectares / hectares, 4)}
    if mean is not None:
        known = {"mean": round(mean, 4), **known}
    return {"statistics": known}


def _links(facts: ItemFacts) -> list[Document]:
    links = [
        make_link("root", f"{_UP}../catalog.json"),
        make_link("collection", f"{_UP}collection.json"),
        make_link("parent", f"{_UP}collection.json"),
    ]
    links += _source_links(facts)
    if facts.model.href is not None:
        title = f"Model: {facts.product.region}, {facts.model.recipe}"
        links.append(make_link("derived_from", facts.model.href, ITEM_TYPE, title))
    if facts.attribution.license_url is not None:
        links += assets.license_links(facts.attribution)
    return links


def _source_links(facts: MapFacts) -> list[Document]:
    return [make_link("derived_from", s.href, ITEM_TYPE, s.title) for s in facts.sources]


_READ: Final = {
    "start_datetime": str,
    "end_datetime": str,
    "version": str,
    "gsd": int,
    "odc:region_code": str,
    "cropmask:run_key": str,
    "cropmask:synthetic": bool,
    "cropmask:resolution": int,
    "cropmask:statistics": dict,
    "cropmask:model": dict,
}
"""Properties that are read of an item, and their types."""
_MAX_TITLE: Final = 300
"""Characters of a title; one of ours has about 80."""


@dataclass(frozen=True, slots=True)
class ResultItem:
    """An item of ours that was read back; everything that is read of it is there."""

    key: str
    """Key below the root of the results."""
    document: Document
    id: str
    product: str
    """Name of the product."""
    tile: Tile
    period: str
    """Folder of the period, as ``2019--P1Y``."""
    version: str
    """Version of the product."""
    run_key: str
    resolution: int
    """Pixel size in meters."""
    synthetic: bool
    """Whether it shows the made-up world."""
    model: Document
    """Recipe and digest of the model."""
    statistics: Document
    """Figures of the tile."""
    properties: Document
    assets: Document

    @property
    def title(self) -> str:
        """Its title, if it has a line of text for one."""
        said = self.properties.get("title")
        if isinstance(said, str) and said.isprintable() and len(said) <= _MAX_TITLE:
            return said
        return mark_title(f"{self.tile} {self.period}", synthetic=self.synthetic)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of its extra bands."""
        return tuple(band.name for band in EXTRA_BANDS if band.name in self.assets)

    @property
    def seamless(self) -> bool:
        """Whether its objects go across its edges."""
        return "cropmask:seamless" in self.properties

    @property
    def attribution(self) -> Attribution:
        """What it says of license and providers, and the years of the Sentinel data in it."""
        said = parse_attribution(self.document)
        years = {self.properties[f"{end}_datetime"][:4] for end in ("start", "end")}
        noticed = NOTICE in str(self.properties.get("attribution"))
        if not (noticed and all(map(str.isdecimal, years))):
            return replace(said, sensed=None)
        return replace(said, sensed=tuple(sorted(map(int, years))))


def parse_item(key: str, text: bytes) -> ResultItem | None:
    """The item of ours in the file of a key; None if it is something else, or damaged."""
    try:
        return recognize_item(key, json.loads(text))
    except (ValueError, RecursionError):
        return None


def recognize_item(key: str, document: object) -> ResultItem | None:
    """The same for a file that was decoded before."""
    if not is_document(document) or document["type"] != "Feature" or not is_shallow(document):
        return None
    properties, bbox = document.get("properties"), document.get("bbox")
    if not (isinstance(properties, dict) and isinstance(bbox, list) and len(bbox) == 4):
        return None
    if not all(isinstance(value, int | float) for value in bbox):
        return None
    if any(type(properties.get(name)) is not kind for name, kind in _READ.items()):
        return None
    try:
        tile = Tile.parse(properties["odc:region_code"])
    except Rejected:
        return None
    return ResultItem(
        key=key,
        document=document,
        id=document["id"],
        product=key.partition("/")[0],
        tile=tile,
        period=key.split("/")[-2],
        version=properties["version"],
        run_key=properties["cropmask:run_key"],
        resolution=properties["cropmask:resolution"],
        synthetic=properties["cropmask:synthetic"],
        model=properties["cropmask:model"],
        statistics=properties["cropmask:statistics"],
        properties=properties,
        assets=document.get("assets", {}),
    )
