"""Map services, in the form of Digital Earth Africa's configuration.

For ``datacube-ows`` a Python module that holds ``layers``, for Terria a group with one layer a
region.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any, Final

from cropmask.grid import CRS
from cropmask.product import (
    CHANGE_CLASS,
    EXTRA_BANDS,
    FILTERED,
    MASK,
    METHOD_URL,
    PROB,
    Band,
    Product,
    find_band,
    hex_color,
)
from cropmask.region.attribution import OTHER_LICENSE, UNSTATED, Attribution
from cropmask.stac.facts import Bounds, Document, mark_title

OWS_FILE: Final = "services/ows_crop_mask_cfg.py"
TERRIA_FILE: Final = "services/terria.json"
OWS_URL: Final = "https://ows.digitalearth.africa"
"""Digital Earth Africa's map service."""
STYLE_NAMES: Final = {MASK.name: "green", FILTERED.name: "filtered_yellow", PROB.name: "prob"}
"""Names of the published styles, the default one first; extra bands have their own names."""
_NO_REGION: Final = Product("", "")
_LIMITS: Final = {
    "wms": {"zoomed_out_fill_colour": [150, 180, 200, 160], "min_zoom_factor": 10.0},
    "wcs": {"max_datasets": 16},
}


@dataclass(frozen=True, slots=True)
class MapLayer:
    """One map layer: the product of a region."""

    product: Product
    title: str
    """The region in words."""
    countries: tuple[str, ...]
    bounds: Bounds
    """``(west, south, east, north)`` in degrees."""
    resolution: int
    """Pixel size in meters."""
    synthetic: bool = False
    """Whether the maps show a made-up world."""
    attribution: Attribution = UNSTATED
    """Whom the maps are owed to, and on which terms."""
    bands: tuple[str, ...] = ()
    """Extra bands that all of its maps have."""

    @property
    def name(self) -> str:
        """What a map calls it."""
        what = "Change of cropland" if self.product.is_series else "Cropland extent"
        return mark_title(f"{what}, {self.title}", synthetic=self.synthetic)

    @property
    def drawn(self) -> tuple[str, ...]:
        """Bands that have a style of the layer, the default one first."""
        return (CHANGE_CLASS.name,) if self.product.is_series else (*STYLE_NAMES, *self.bands)

    @property
    def abstract(self) -> str:
        """What the layer shows, as text of several paragraphs."""
        where = f" The region covers {_listed(self.countries)}." if self.countries else ""
        named = self.product.bands(self.bands)
        bands = "\n".join(f"- {band.name}: {band.description}" for band in named)
        credit = f"\nCredit: {self.attribution.line}." if self.attribution.line else ""
        if self.product.is_series:
            return f"Change of cropland of {self.title} between years.{where}\n\n{bands}{credit}"
        return (
            f"Annual cropland extent of {self.title} from two half-years of Sentinel-2 GeoMAD."
            f"{where}\n\n{bands}\n\nMethod: {METHOD_URL}{credit}"
        )

    @property
    def terms(self) -> str:
        """Its license, as a line of text."""
        names = ", ".join(provider.name for provider in self.attribution.providers)
        terms = self.attribution.license or OTHER_LICENSE
        return f"{terms}, credit: {names}" if names else terms


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def make_ows_config(layers: Iterable[MapLayer]) -> str:
    """Python module for ``datacube-ows``: name ``{module}.layers`` in the service's layers."""
    layers = [*layers]
    extras = [band.name for band in EXTRA_BANDS if any(band.name in each.bands for each in layers)]
    names = {
        name: f"style_crop_mask_{style}"
        for name, style in [*STYLE_NAMES.items(), *((name, name) for name in extras)]
    }
    if any(layer.product.is_series for layer in layers):
        names[CHANGE_CLASS.name] = f"style_crop_series_{CHANGE_CLASS.name}"
    parts = [
        '"""Layers of the cropland masks for datacube-ows: printed, not to be edited by hand."""',
        *(_assign(name, value) for name, value in _band_lists(layers).items()),
        _assign("reslim_crop_mask", _LIMITS),
        *(_assign(names[name], _style(find_band(name))) for name in names),
        _assign("layers", _group(layers, names)),
    ]
    return "\n\n".join(parts) + "\n"


def _bands_name(product: Product, bands: tuple[str, ...]) -> str:
    return "_".join((f"bands_{product.family}", *bands))


def _band_lists(layers: Iterable[MapLayer]) -> Document:
    """Bands and their aliases, by the name of the list: of products without extra bands first."""
    kinds = {_bands_name(_NO_REGION, ()): _NO_REGION.bands()}
    kinds |= {
        _bands_name(layer.product, layer.bands): layer.product.bands(layer.bands)
        for layer in layers
    }
    return {
        name: {band.name: list(band.aliases) for band in bands}
        for name, bands in sorted(kinds.items())
    }


class _Name:
    """A name of the printed module where a value would stand."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _assign(name: str, value: Any) -> str:  # noqa: ANN401 (any literal)
    return f"{name} = {pformat(value, width=96, sort_dicts=False)}"


def _style_name(band: str) -> str:
    return STYLE_NAMES.get(band, band)


def _style(band: Band) -> Document:
    known: Document = {
        "name": _style_name(band.name),
        "title": band.title,
        "abstract": band.description,
    }
    if band.classes:
        shown = [found for found in band.classes if found.color[3]]
        values = [
            {"title": found.title, "color": hex_color(found.color), "values": [found.value]}
            for found in shown
        ]
        return known | {"value_map": {band.name: values}}
    first, last = band.ramp[0][0], band.ramp[-1][0]
    ticks = "20" if last - first <= 100 else "77"
    return known | {
        "needed_bands": [band.name],
        "index_function": {
            "function": "datacube_ows.band_utils.single_band",
            "mapped_bands": True,
            "kwargs": {"band": band.name},
        },
        "color_ramp": [
            {"value": value, "color": hex_color(color).lower()} for value, color in band.ramp
        ],
        "range": [first, last],
        "legend": {"begin": str(first), "end": str(last), "ticks_every": ticks},
    }


def _group(layers: Iterable[MapLayer], names: Mapping[str, str]) -> Document:
    return {
        "title": "Cropland extent",
        "abstract": f"Annual cropland extent, one layer per region. Method: {METHOD_URL}",
        "layers": [
            {
                "title": layer.name,
                "name": layer.product.name,
                "abstract": layer.abstract,
                "product_name": layer.product.name,
                "time_resolution": "summary",
                "bands": _Name(_bands_name(layer.product, layer.bands)),
                "resource_limits": _Name("reslim_crop_mask"),
                "image_processing": {
                    "extent_mask_func": "datacube_ows.ogc_utils.mask_by_val",
                    "always_fetch_bands": [],
                    "manual_merge": False,
                },
                "native_crs": CRS,
                "native_resolution": [layer.resolution, -layer.resolution],
                "styling": {
                    "default_style": _style_name(layer.drawn[0]),
                    "styles": [_Name(name) for band, name in names.items() if band in layer.drawn],
                },
            }
            for layer in layers
        ],
    }


def make_terria_group(layers: Iterable[MapLayer], service: str = OWS_URL) -> Document:
    """Catalog of a Terria map: a group of layers, drawn by the ``datacube-ows`` at ``service``."""
    return {
        "catalog": [
            {
                "type": "group",
                "id": "crop_mask",
                "name": "Cropland extent",
                "description": f"Annual cropland extent by region. [Method]({METHOD_URL})",
                "members": [_terria_layer(layer, service) for layer in layers],
            }
        ]
    }


def _terria_layer(layer: MapLayer, service: str) -> Document:
    west, south, east, north = layer.bounds
    return {
        "type": "wms",
        "id": layer.product.name,
        "name": layer.name,
        "description": layer.abstract,
        "url": f"{service}/wms",
        "layers": layer.product.name,
        "styles": _style_name(layer.drawn[0]),
        "linkedWcsUrl": f"{service}/wcs",
        "linkedWcsCoverage": layer.product.name,
        "opacity": 1,
        "tileErrorHandlingOptions": {"ignoreUnknownTileErrors": True},
        "leafletUpdateInterval": 750,
        "rectangle": {"west": west, "south": south, "east": east, "north": north},
        "info": [
            {"name": "License", "content": layer.terms},
            {"name": "Method", "content": METHOD_URL},
        ],
    }
