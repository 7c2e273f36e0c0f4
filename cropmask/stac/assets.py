"""How each band and file is described, in items and in collections alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from cropmask.product import (
    COG_TYPE,
    GROUND,
    METHOD_URL,
    NODATA,
    NODATA_TITLE,
    Band,
    ClassValue,
    Rgba,
    hex_color,
)
from cropmask.region.attribution import OTHER_LICENSE, Attribution
from cropmask.stac.facts import Document
from cropmask.stac.links import make_link

STAC_VERSION: Final = "1.1.0"
_EXTENSIONS: Final = {
    "projection": "1.2.0",  # version 2 forbids proj:epsg, which Open Data Cube tools still need
    "raster": "2.0.0",
    "classification": "1.1.0",
    "processing": "1.2.0",
    "file": "2.1.0",
    "render": "2.0.0",
    "grid": "1.1.0",
    "version": "1.2.0",
    "mlm": "1.5.2",
}
METHOD_LINK: Final = make_link("about", METHOD_URL, "text/html", "Published method")
_CREATIVE_COMMONS: Final = re.compile(r"CC-(BY[A-Z-]*)-(\d\.\d)")


def describe_terms(attribution: Attribution) -> Document:
    """License, providers and credit line, as items and collections have them."""
    known: Document = {}
    if attribution.providers:
        dumped = (each.model_dump(exclude_defaults=True) for each in attribution.providers)
        known["providers"] = [
            {key: list(value) if key == "roles" else value for key, value in provider.items()}
            for provider in dumped
        ]
    known["license"] = attribution.license or OTHER_LICENSE
    if attribution.line:
        known["attribution"] = attribution.line
    return known


def license_links(attribution: Attribution) -> list[Document]:
    """Link to the text of the license, if there is one to link to."""
    if attribution.license_url is not None:
        return [make_link("license", attribution.license_url, "text/html", "License")]
    if attribution.license in (None, OTHER_LICENSE):
        return []
    title = str(attribution.license)
    url = f"https://spdx.org/licenses/{title}.html"
    if found := _CREATIVE_COMMONS.fullmatch(title):
        title = title.replace("CC-BY", "CC BY").replace(f"-{found[2]}", f" {found[2]}")
        url = f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/"
    return [make_link("license", url, "text/html", title)]


def extensions(*names: str) -> list[str]:
    """Addresses of the schemas of STAC extensions."""
    root = "https://stac-extensions.github.io"
    return [f"{root}/{name}/v{_EXTENSIONS[name]}/schema.json" for name in names]


def describe_band(band: Band, resolution: int | None = None) -> Document:
    """Asset fields of a data band; with its pixel size in meters where there is just one."""
    described: Document = {
        "type": COG_TYPE,
        "title": band.title,
        "description": band.description,
        "roles": ["data"],
        "bands": [{"name": band.name}],
        "data_type": band.dtype,
        "nodata": band.nodata,
        "unit": band.unit,
        "raster:sampling": "area",
    }
    if resolution is not None:
        described |= {"gsd": resolution, "raster:spatial_resolution": resolution}
    if band.classes:
        described["classification:classes"] = [
            *map(_describe_class, band.classes),
            {
                "value": NODATA,
                "name": "no-data",
                "title": NODATA_TITLE,
                "description": "Outside the region, masked, or without input",
                "nodata": True,
            },
        ]
    return described


FILE_ASSETS: Final[dict[str, Document]] = {
    "visual": {
        "type": COG_TYPE,
        "title": "Cropland map in color",
        "description": "Reduced picture of the mask: cropland in its color, the rest transparent",
        "roles": ["overview", "visual"],
    },
    "thumbnail": {"type": "image/png", "title": "Thumbnail", "roles": ["thumbnail"]},
    "odc_metadata": {
        "type": "text/yaml",
        "title": "Open Data Cube dataset document (EO3)",
        "roles": ["metadata"],
    },
    "checksums": {"type": "text/plain", "title": "SHA-1 of the files", "roles": ["metadata"]},
}
"""Asset fields of the files that are not data."""
_SERIES_VISUAL: Final = {
    "title": "Map of change in color",
    "description": "Reduced picture of the class: change and cropland in color, the rest "
    "transparent",
}


def describe_file(key: str, *, is_series: bool) -> Document:
    """Asset fields of a file that is no band."""
    known = FILE_ASSETS[key]
    return {**known, **_SERIES_VISUAL} if is_series and key == "visual" else known


def describe_renders(bands: Iterable[Band]) -> Document:
    """How to draw each band: the ``renders`` of the render extension."""
    return {band.name: _describe_render(band) for band in bands}


def _describe_class(found: ClassValue) -> Document:
    # The schema wants a description of every class.
    text = {"title": found.title, "description": found.title}
    color = found.color if found.color[3] else GROUND  # as in thumbnails; hints are opaque
    hint = {"color_hint": hex_color(color)[1:]}
    return {"value": found.value, "name": found.name, **text, **hint}


def _describe_render(band: Band) -> Document:
    described: Document = {"title": band.title, "assets": [band.name], "nodata": band.nodata}
    if band.classes:
        colors = {str(value): _code(color) for value, color in band.palette.items()}
        return {**described, "resampling": "nearest", "colormap": colors}
    (low, _), *_, (high, _) = band.ramp
    ramp = {"rescale": [[low, high]], "colormap_name": band.ramp_name}
    resampling = "average" if band.overview == "average" else "nearest"
    return {**described, "resampling": resampling, **ramp}


def _code(color: Rgba) -> str:
    return f"{hex_color(color)}{color[3]:02X}"
